"""A Synapse module that tells the guard of changes at once, and users of senseless policies.

    modules:
      - module: lotus_guard.synapse_module.LotusGuardModule
        config:
          guard_url: http://127.0.0.1:8072      # the guard's operators' port
          push_secret_path: /etc/lotus-guard/push-secret   # or push_secret: "..."
          reject_senseless: true                # the default
          members: true                         # the default: who joins and who leaves is told too
          carry_over: false                     # the default

It runs in Synapse's process, so it does nothing there that could hold an event up or let it fail:
`on_new_event` only puts the room's policies, or somebody's membership, in a queue, and one
background task sends them, with back-off while the guard is away. Of power levels it tells only
that they changed: the guard asks for them. A heartbeat goes out only while nothing is waiting, so
that the guard polls again by itself as soon as pushes do not get through.

With `carry_over`, the policies of a room that one of this server's users upgrades are copied into
the new room, by that user's own power: Synapse copies only what it knows itself (docs/facts.md,
Synapse: modules).

The wire is in `lotus_guard.rules.push`; for the callbacks see docs/facts.md, Synapse: modules.
"""

import logging
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen
from synapse.module_api.errors import Codes, ConfigError, SynapseError
from twisted.internet import defer
from twisted.web.client import readBody
from twisted.web.http_headers import Headers

from lotus_guard.core.ids import fits, is_room_id
from lotus_guard.core.membership import MEMBER, Membership, membership_of
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.power import CREATE, POWER_LEVELS, PowerLevels, read_power
from lotus_guard.core.server_url import url_fault
from lotus_guard.rules import RULES, Rules, by_event
from lotus_guard.rules.push import (
    HEADER,
    HEARTBEAT,
    MOST_PUSH,
    Member,
    sign_push,
    write_heartbeat,
    write_push,
)
from lotus_guard.rules.push_queue import PushQueue
from lotus_guard.rules.rule import Rule

logger = logging.getLogger(__name__)

LONGEST_PAUSE = 30.0
"""The longest pause between two tries to reach the guard, in seconds."""
GATHERING = 0.05
"""Seconds for which memberships are gathered after some went out: a busy homeserver has a hundred
changes a second, most of them in rooms without calls, and makes twenty requests of them."""
TOMBSTONE = "m.room.tombstone"


@frozen
class Settings:
    """The module's configuration."""

    guard_url: str
    push_secret: str = field(repr=False)
    reject_senseless: bool = True
    push_secret_path: str = ""
    """Where the secret was read; read again when the guard does not believe us."""
    members: bool = True
    """Whether the guard is told who joins and who leaves."""
    carry_over: bool = False
    """Whether a room's policies go along when it is upgraded."""

    def covered(self, rules: Rules) -> list[str]:
        """List the types of events of which changes are pushed."""
        members = [MEMBER] if self.members else []
        return [*by_event(rules), POWER_LEVELS, *members]


class LotusGuardModule:
    """What Synapse loads."""

    def __init__(self, config: Settings, api: Any, rules: Rules = RULES) -> None:
        self._settings = config
        self._rules = by_event(rules)
        self._secret = config.push_secret
        self._api = api
        self._queue = PushQueue(config.covered(rules))
        self._sending = False
        api.register_third_party_rules_callbacks(
            check_event_allowed=self.check_event_allowed, on_new_event=self.on_new_event
        )
        api.looping_background_call(self._heartbeat, HEARTBEAT * 1000, desc="lotus_guard_heartbeat")
        api.delayed_background_call(1000, self._heartbeat, desc="lotus_guard_heartbeat")

    @staticmethod
    def parse_config(config: Mapping[str, Any]) -> Settings:
        """Check the module's configuration; raises ConfigError with what is wanted."""
        flags = {"reject_senseless": True, "members": True, "carry_over": False}
        unknown = config.keys() - {"guard_url", "push_secret", "push_secret_path", *flags}
        if unknown:
            raise ConfigError(f"lotus_guard: unknown settings {', '.join(sorted(unknown))}")
        path = str(config.get("push_secret_path") or "")
        chosen = {name: _flag(config, name, default) for name, default in flags.items()}
        return Settings(_guard_url(config), _secret(config), push_secret_path=path, **chosen)

    async def check_event_allowed(
        self, event: Any, state: Mapping[Any, Any]
    ) -> tuple[bool, dict[str, Any] | None]:
        """Refuse a senseless policy of a user of this server, and say what is wrong with it.

        `state` is the room's before the event.
        """
        rules = self._rules.get(event.type) if self._settings.reject_senseless else None
        if rules and event.is_state() and event.state_key == "" and self._api.is_mine(event.sender):
            complaints = [each for rule in rules for each in _complaints(rule, event, state)]
            if complaints:
                raise SynapseError(400, "; ".join(dict.fromkeys(complaints)), Codes.BAD_JSON)
        return True, None

    async def on_new_event(self, event: Any, state: Mapping[Any, Any]) -> None:
        """Have the guard told of a changed policy or membership; `state` is the room's now."""
        if not event.is_state():
            return
        if event.type == MEMBER and self._settings.members:
            self._queue_member(event, state)
        elif event.state_key == "" and event.type in (*self._rules, POWER_LEVELS):
            self._queue_policies(RoomId(event.room_id), state, event.type == POWER_LEVELS)
        elif event.state_key == "" and event.type == TOMBSTONE and self._settings.carry_over:
            self._replaced(event, state)
        if len(self._queue) and not self._sending:
            self._sending = True
            self._api.delayed_background_call(0, self._send_all, desc="lotus_guard_push")

    def _queue_policies(self, room: RoomId, state: Mapping[Any, Any], is_power: bool) -> None:
        rules = [rule for readers in self._rules.values() for rule in readers]
        power = is_power or self._queue.changes_power(room)
        contents = {name: _content(state, name) for name in self._rules}
        body = write_push(room, contents, rules, changes_power=power)
        if len(body) > MOST_PUSH:
            logger.warning("The policies of %s are too long to push; the guard polls them", room)
            body = write_push(room, {}, rules, changes_power=True) if power else body
        self._queue.put_policies(room, body, changes_power=power)

    def _queue_member(self, event: Any, state: Mapping[Any, Any]) -> None:
        # The room's state is asked first, for the event may have lost against another one. It is
        # empty where the last of our own users has gone (docs/facts.md, Synapse: modules).
        now = state.get((MEMBER, event.state_key)) or event
        membership = membership_of(now.content.get("membership"))
        is_sensible = is_room_id(event.room_id) and fits(event.state_key)
        if is_sensible and membership is not Membership.UNHEARD:
            room, user = RoomId(event.room_id), UserId(event.state_key)
            self._queue.put_member(Member(room, user, membership))

    def _replaced(self, tombstone: Any, state: Mapping[Any, Any]) -> None:
        """Have the policies of a room copied into the one that replaces it."""
        contents = {name: _content(state, name) for name in self._rules}
        held = {name: content for name, content in contents.items() if content}
        new = tombstone.content.get("replacement_room")
        is_room = isinstance(new, str) and is_room_id(new)  # else it would be written into the log
        if held and is_room and self._api.is_mine(tombstone.sender):
            self._api.delayed_background_call(
                0, self._carry_over, tombstone, new, held, desc="lotus_guard_carry_over"
            )

    async def _carry_over(self, tombstone: Any, new: str, held: Mapping[str, Any]) -> None:
        """Copy policies into a new room, unless it has some; never raises."""
        old, sender = tombstone.room_id, tombstone.sender
        try:
            wanted = [(name, "") for name in (CREATE, *self._rules)]
            state = await self._api.get_room_state(new, wanted)
            create = state.get((CREATE, ""))
            if create is None or not _succeeds(create, old, sender):
                logger.warning("%s does not replace %s: not carrying over any policy", new, old)
                return
            if any((name, "") in state for name in self._rules):
                return
            for name, content in held.items():
                await self._set(new, sender, name, content)
        except Exception as error:
            logger.warning("Could not carry the policies of %s over to %s: %s", old, new, error)

    async def _set(self, room: str, sender: str, name: str, content: Mapping[str, Any]) -> None:
        """Set a state event as one of this server's users; logs where they may not."""
        event = {"type": name, "state_key": "", "room_id": room, "sender": sender}
        try:
            sent = {**event, "content": dict(content)}
            await self._api.create_and_send_event_into_room(sent)
        except SynapseError as error:
            logger.warning("Could not carry %s over to %s: %s", name, room, error.msg)

    async def _send_all(self) -> None:
        pause = 1.0
        try:
            while parcel := self._queue.next():
                if await self._send(parcel.body):
                    pause = 1.0
                    self._queue.sent(parcel)
                    if parcel.members:
                        await self._api.sleep(GATHERING)
                else:
                    await self._api.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._sending = False

    async def _heartbeat(self) -> None:
        if not len(self._queue):
            await self._send(write_heartbeat(self._queue.covers))

    async def _send(self, body: bytes) -> bool:
        """Send one push; returns whether the guard took it."""
        signature = sign_push(body, self._secret, time.time())
        headers = Headers({HEADER: [signature], "Content-Type": ["application/json"]})
        try:
            response = await self._api.http_client.request(
                "POST", f"{self._settings.guard_url}/policy", data=body, headers=headers
            )
            answer: defer.Deferred[bytes] = readBody(response)
            text = await answer
        except Exception as error:
            logger.warning("Could not push to the guard at %s: %s", self._settings.guard_url, error)
            return False
        if response.code != 204:
            logger.warning(
                "The guard at %s answered %d: %s",
                self._settings.guard_url,
                response.code,
                text[:200].decode("utf-8", "replace").strip(),
            )
            self._renew()
        return bool(response.code == 204)

    def _renew(self) -> None:
        """Read the secret again, for the next try: the guard may have a new one."""
        path = self._settings.push_secret_path
        try:
            self._secret = _secret({"push_secret_path": path}) if path else self._secret
        except ConfigError as error:
            logger.warning("%s; keeping the last one", error.msg)


def _flag(config: Mapping[str, Any], name: str, default: bool) -> bool:
    value = config.get(name, default)
    if not isinstance(value, bool):
        raise ConfigError(f"lotus_guard: {name} must be true or false")
    return value


def _succeeds(create: Any, old: str, user: str) -> bool:
    """Whether a room was made by this user in place of the old one, as its first event says."""
    predecessor = create.content.get("predecessor")
    named = predecessor.get("room_id") if isinstance(predecessor, Mapping) else None
    return bool(named == old and create.sender == user)


def _guard_url(config: Mapping[str, Any]) -> str:
    url = config.get("guard_url")
    wrong = url_fault(url) if isinstance(url, str) else "is not a string"
    if not isinstance(url, str) or wrong:
        wanted = "guard_url must be http://host:port of the guard"
        raise ConfigError(f"lotus_guard: {wanted}; it {wrong}")
    return url.rstrip("/")


def _secret(config: Mapping[str, Any]) -> str:
    path, secret = config.get("push_secret_path"), config.get("push_secret")
    if path:
        try:
            secret = Path(path).read_text(encoding="utf-8").strip(" \r\n")
        except (OSError, ValueError) as error:
            raise ConfigError(f"lotus_guard: cannot read push_secret_path: {error}") from error
    if not isinstance(secret, str) or len(secret) < 16:
        raise ConfigError(
            "lotus_guard: push_secret, or the file at push_secret_path, must have 16 or more "
            "characters and be the guard's LOTUS_GUARD_PUSH_SECRET"
        )
    return secret


def _complaints(rule: Rule[Any], event: Any, state: Mapping[Any, Any]) -> tuple[str, ...]:
    """What is wrong with an event of a rule in a room with this state."""
    read = rule.read(event.content)
    return (*read.complaints, *rule.doubts(read.policy, _power(state)))


def _power(state: Mapping[Any, Any]) -> PowerLevels:
    levels, create = (state.get((name, "")) for name in (POWER_LEVELS, CREATE))
    first = {"sender": create.sender, "content": create.content} if create else None
    return read_power(levels.content if levels else None, first)


def _content(state: Mapping[Any, Any], event_type: str) -> dict[str, Any] | None:
    event = state.get((event_type, ""))
    return dict(event.content) if event else None
