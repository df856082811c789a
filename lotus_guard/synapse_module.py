"""A Synapse module that tells the guard of changed policies at once, and users of senseless ones.

    modules:
      - module: lotus_guard.synapse_module.LotusGuardModule
        config:
          guard_url: http://127.0.0.1:8072      # the guard's operators' port
          push_secret_path: /etc/lotus-guard/push-secret   # or push_secret: "..."
          reject_senseless: true                # the default

It runs in Synapse's process, so it does nothing there that could hold an event up or let it fail:
`on_new_event` only puts the room's policies in a queue, and one background task sends them, with
back-off while the guard is away. A heartbeat goes out only while nothing is waiting, so that the
guard polls again by itself as soon as pushes do not get through.

The wire is in `lotus_guard.rules.push`. Source of the callbacks: Synapse's documentation, "Third
party rules callbacks"; that `check_event_allowed` may raise SynapseError is relied upon by other
modules and kept for them (docs/facts.md, Synapse: modules).
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

from lotus_guard.core.model import RoomId
from lotus_guard.core.server_url import url_fault
from lotus_guard.rules import RULES, Rules
from lotus_guard.rules.push import (
    HEADER,
    HEARTBEAT,
    MOST_PUSH,
    sign_push,
    write_heartbeat,
    write_push,
)

logger = logging.getLogger(__name__)

MOST_WAITING = 10_000
"""How many rooms may wait for the guard; the oldest is dropped, for the guard polls anyway."""
LONGEST_PAUSE = 30.0
"""The longest pause between two tries to reach the guard, in seconds."""


@frozen
class Settings:
    """The module's configuration."""

    guard_url: str
    push_secret: str = field(repr=False)
    reject_senseless: bool = True
    push_secret_path: str = ""
    """Where the secret was read; read again when the guard does not believe us."""


class LotusGuardModule:
    """What Synapse loads."""

    def __init__(self, config: Settings, api: Any, rules: Rules = RULES) -> None:
        self._settings = config
        self._rules = {rule.event: rule for rule in rules}
        self._secret = config.push_secret
        self._api = api
        self._waiting: dict[RoomId, bytes] = {}
        self._sending = False
        api.register_third_party_rules_callbacks(
            check_event_allowed=self.check_event_allowed, on_new_event=self.on_new_event
        )
        api.looping_background_call(self._heartbeat, HEARTBEAT * 1000, desc="lotus_guard_heartbeat")
        api.delayed_background_call(1000, self._heartbeat, desc="lotus_guard_heartbeat")

    @staticmethod
    def parse_config(config: Mapping[str, Any]) -> Settings:
        """Check the module's configuration; raises ConfigError with what is wanted."""
        unknown = config.keys() - {
            "guard_url",
            "push_secret",
            "push_secret_path",
            "reject_senseless",
        }
        if unknown:
            raise ConfigError(f"lotus_guard: unknown settings {', '.join(sorted(unknown))}")
        reject = config.get("reject_senseless", True)
        if not isinstance(reject, bool):
            raise ConfigError("lotus_guard: reject_senseless must be true or false")
        path = str(config.get("push_secret_path") or "")
        return Settings(_guard_url(config), _secret(config), reject, path)

    async def check_event_allowed(
        self, event: Any, _state: Mapping[Any, Any]
    ) -> tuple[bool, dict[str, Any] | None]:
        """Refuse a senseless policy of a user of this server, and say what is wrong with it."""
        rule = self._rules.get(event.type) if self._settings.reject_senseless else None
        if rule and event.is_state() and event.state_key == "" and self._api.is_mine(event.sender):
            complaints = rule.read(event.content).complaints
            if complaints:
                raise SynapseError(400, "; ".join(complaints), Codes.BAD_JSON)
        return True, None

    async def on_new_event(self, event: Any, state: Mapping[Any, Any]) -> None:
        """Have the guard told of a changed policy."""
        if event.type in self._rules and event.is_state() and event.state_key == "":
            contents = {name: _content(state, name) for name in self._rules}
            room = RoomId(event.room_id)
            body = write_push(room, contents, list(self._rules.values()))
            self._waiting.pop(room, None)
            if len(body) > MOST_PUSH:
                logger.warning(
                    "The policies of %s are too long to be pushed: they are polled", room
                )
                return
            self._waiting[room] = body
            if len(self._waiting) > MOST_WAITING:
                del self._waiting[next(iter(self._waiting))]
            if not self._sending:
                self._sending = True
                self._api.delayed_background_call(0, self._send_all, desc="lotus_guard_push")

    async def _send_all(self) -> None:
        pause = 1.0
        try:
            while self._waiting:
                room, body = next(iter(self._waiting.items()))
                if await self._send(body):
                    pause = 1.0
                    if self._waiting.get(room) is body:
                        del self._waiting[room]
                else:
                    await self._api.sleep(pause)
                    pause = min(2 * pause, LONGEST_PAUSE)
        finally:
            self._sending = False

    async def _heartbeat(self) -> None:
        if not self._waiting:
            await self._send(write_heartbeat(self._rules))

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
            logger.warning("The guard at %s was not told: %s", self._settings.guard_url, error)
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
        if not self._settings.push_secret_path:
            return
        try:
            self._secret = _secret({"push_secret_path": self._settings.push_secret_path})
        except ConfigError as error:
            logger.warning("%s; the last one is used on", error.msg)


def _guard_url(config: Mapping[str, Any]) -> str:
    url = config.get("guard_url")
    wrong = url_fault(url) if isinstance(url, str) else "is no text"
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


def _content(state: Mapping[Any, Any], event_type: str) -> dict[str, Any] | None:
    event = state.get((event_type, ""))
    return dict(event.content) if event else None
