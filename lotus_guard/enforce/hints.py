"""Hints from outside: LiveKit's webhooks and Synapse's pushes. They wake looks, no more."""

from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen
from twisted.logger import Logger

from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.token import KeyPair
from lotus_guard.core.webhook import Event, Forged, is_announced, read_event, write_event
from lotus_guard.enforce.condition import described
from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.policies import AllPolicies
from lotus_guard.enforce.ports import Now
from lotus_guard.rules import Rules
from lotus_guard.rules.push import HEARTBEAT, Member, Push, Unsigned, Untimely, read_push

_log = Logger()

CLOCKS = "the clocks of Synapse and the guard differ"
"""Said of a push whose signature is right and whose time is not."""

OLD_MODULE = (
    "the Synapse module is from another release and does not push everything the guard reads"
)


@define(eq=False)
class Webhooks:
    """Verifies LiveKit's webhooks and hands on each event once."""

    keys: Credential[KeyPair]
    now: Now
    on_event: Callable[[Event], None]
    on_genuine: Callable[[bytes, str], None] = lambda _body, _authorization: None
    """Told of each event that came to this guard, written anew and short, for the other guards."""
    last: float | None = field(default=None, init=False)
    """When the last genuine one came in."""
    genuine: int = field(default=0, init=False)
    forged: int = field(default=0, init=False)
    _seen: LruDict[str, bool] = field(init=False, factory=lambda: LruDict(10_000))
    _throttle: LogThrottle = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._throttle = LogThrottle(self.now)

    def describe(self) -> dict[str, Any]:
        """Describe this dependency (`observe.health`). LiveKit is silent while nobody calls."""
        if self.last is None:
            return described(
                "webhooks", "unknown", None, "none received yet; the guard polls rooms"
            )
        return described("webhooks", "ok", round(self.now() - self.last, 1), "")

    def are_livekits(self, authorization: str) -> bool:
        """Whether the head of a request announces a webhook, or at least something of ours.

        A client has no such token; so a body may be longer here, and waits in no client's line.
        """
        return any(
            is_announced(authorization, pair.key, pair.secret) for pair in self.keys.believed()
        )

    def take(self, body: bytes, authorization: str, *, is_heard: bool = False) -> None:
        """Take in a webhook, whoever sent it; never raises.

        `is_heard` where another guard passed it on.
        """
        try:
            event = self._read(body, authorization)
        except Forged as why:
            self._refused(str(why))
            return
        except Exception:  # whatever is in the body, upstream has been served already
            _log.failure("Could not read a webhook")
            return
        self.last = self.now()
        self.genuine += 1
        if event is None or (event.id and self._seen.get(event.id)):
            return
        self._seen.put(event.id, True)
        if not is_heard:
            self.on_genuine(*write_event(event, self.keys.value.key, self.keys.value.secret))
        self.on_event(event)

    def _refused(self, why: str) -> None:
        self.forged += 1
        more = self._throttle.more("forged")
        if more is not None:
            _log.warn(
                "Refused a webhook: {why}{more}. If LiveKit sent it: set LIVEKIT_KEY and "
                "LIVEKIT_SECRET to the pair it signs with.",
                why=why,
                more=more,
            )

    def _read(self, body: bytes, authorization: str) -> Event | None:
        """Read one that our secret signed, or our last one; raises Forged."""
        why = Forged("there is no secret to verify it with")
        for pair in self.keys.believed():
            try:
                return read_event(body, authorization, pair.key, pair.secret)
            except Forged as other:
                why = other
        raise why


@frozen
class Taken:
    """What a push has changed."""

    room: RoomId | None = None
    """The room with other policies or power levels than before."""
    members: tuple[Member, ...] = ()
    """Those with another membership."""
    power: bool = False
    """Whether the room has other power levels, which are to be asked for."""


@define(eq=False)
class Pushes:
    """Verifies Synapse's pushes, keeps the policies up to date and knows whether they come."""

    secret: Credential[str]
    """Empty: pushes are off."""
    max_age: float
    """Seconds a policy is served without asking again where nobody pushes."""
    poll: float
    """The same while pushes come."""
    now: Now
    epoch: Callable[[], float]
    rules: Rules
    last: float | None = field(default=None, init=False)
    """When the last genuine push or heartbeat came in."""
    last_complete: float | None = field(default=None, init=False)
    """When the last one came in of a module that pushes the events of all our rules."""
    last_members: float | None = field(default=None, init=False)
    """When the last one came in of a module that pushes memberships."""
    last_power: float | None = field(default=None, init=False)
    """When the last one came in of a module that pushes changes of power levels."""
    members_since: float = field(default=0.0, init=False)
    """When the first one of those came in since there were none for a while."""
    taken: int = field(default=0, init=False)
    refused: int = field(default=0, init=False)
    last_refused: float | None = field(default=None, init=False)
    _why: str = field(default="", init=False)
    """Why the last one was refused."""
    _seen: LruDict[str, bool] = field(init=False, factory=lambda: LruDict(10_000))
    _sent: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(20_000))
    """When the last policies of each room were sent."""
    _members_sent: LruDict[tuple[RoomId, UserId], float] = field(
        init=False, factory=lambda: LruDict(20_000)
    )
    """When each one's last membership was sent."""

    def describe(self) -> dict[str, Any]:
        """Describe this dependency (`lotus_guard.observe.health`)."""
        age = None if self.last is None else round(self.now() - self.last, 1)
        if not self.secret.value:
            return described("pushes", "off", age, "LOTUS_GUARD_PUSH_SECRET is not set")
        if self.last_refused is not None and self.last_refused > (self.last or 0.0):
            return described("pushes", "trouble", age, self._why)
        if age is None:
            return described(
                "pushes", "unknown", None, "none received yet; the guard polls policies"
            )
        if self.are_coming():
            return described("pushes", "ok", age, "")
        why = "they have stopped" if self._is_old(self.last) else OLD_MODULE
        return described("pushes", "trouble", age, f"{why}; the guard polls policies")

    def refused_age(self) -> float | None:
        """How many seconds ago a push was last refused; None where none was."""
        return None if self.last_refused is None else round(self.now() - self.last_refused, 1)

    def are_coming(self) -> bool:
        """Whether Synapse pushes the changes of all our rules' events by itself."""
        return not self._is_old(self.last_complete)

    def members_are_coming(self) -> bool:
        """Whether Synapse pushes by itself who joins and who leaves; else that is to be asked."""
        return not self._is_old(self.last_members)

    def power_is_coming(self) -> bool:
        """Whether Synapse tells by itself where power levels change; else they are to be polled."""
        return not self._is_old(self.last_power)

    def policy_max_age(self) -> float:
        """For how many seconds a policy is served without asking again."""
        return self.poll if self.are_coming() else self.max_age

    def power_max_age(self) -> float:
        """For how many seconds a room's power levels are served without asking again."""
        return self.poll if self.power_is_coming() else self.max_age

    def take(self, body: bytes, header: str, policies: AllPolicies) -> Taken:
        """Take in a push; returns what it changed. Raises Unsigned."""
        try:
            push = self._believed(body, header)
        except Unsigned as why:
            self.refused += 1
            self.last_refused = self.now()
            self._why = "the last one was signed with another secret"
            if isinstance(why, Untimely):
                self._why = f"the last one was {why}: {CLOCKS}"
            raise
        self.last = self.now()
        self.taken += 1
        if push.is_complete:
            self.last_complete = self.last
        if push.covers_members:
            if self._is_old(self.last_members):
                self.members_since = self.last
            self.last_members = self.last
        if push.covers_power:
            self.last_power = self.last
        room = self._put(push, policies)
        # Power levels are asked for, so that an old push of them does no harm; a lost one would.
        return Taken(
            push.room if push.changes_power else room,
            tuple(filter(self._is_news(push), push.members)),
            push.changes_power,
        )

    def recall(self, body: bytes, header: str, policies: AllPolicies) -> None:
        """Take in a push that another guard got earlier, as old as it is."""
        try:
            sent = int(header.partition(".")[0]) / 1000.0
            push = self._read(body, header, sent)
        except Exception:  # kept where others may write as well: it is as good as its signature
            return
        if push.room is None or sent < (self._sent.get(push.room) or 0.0):
            return
        self._sent.put(push.room, sent)
        at = self.now() - max(0.0, self.epoch() - sent)
        policies.put(push.room, push.readings, at)

    def _put(self, push: Push, policies: AllPolicies) -> RoomId | None:
        """Take in policies, unless they are older than what a room has; returns the room."""
        if push.room is None or push.sent < (self._sent.get(push.room) or 0.0):
            return None
        self._sent.put(push.room, push.sent)
        policies.put(push.room, push.readings, self.now())
        return push.room

    def _is_news(self, push: Push) -> Callable[[Member], bool]:
        """Make what knows whether a membership is not older than what was told of them before."""

        def is_news(member: Member) -> bool:
            key = (member.room, member.user)
            if push.sent < (self._members_sent.get(key) or 0.0):
                return False
            self._members_sent.put(key, push.sent)
            return True

        return is_news

    def _is_old(self, heard: float | None) -> bool:
        return heard is None or self.now() - heard > 3 * HEARTBEAT

    def _believed(self, body: bytes, header: str) -> Push:
        try:
            push = self._read(body, header, self.epoch())
        except Unsigned:
            raise
        except Exception:
            raise Unsigned("it cannot be read") from None
        if self._seen.get(push.signature):
            raise Unsigned("it was received before")
        self._seen.put(push.signature, True)
        return push

    def _read(self, body: bytes, header: str, epoch: float) -> Push:
        """Read one that our secret signed, or our last one; raises Unsigned."""
        if not self.secret.value:
            raise Unsigned("LOTUS_GUARD_PUSH_SECRET is not set")
        why = Unsigned("there is no secret to verify it with")
        for secret in self.secret.believed():
            try:
                return read_push(body, header, secret, epoch, self.rules)
            except Untimely:
                raise
            except Unsigned as other:
                why = other
        raise why
