"""What the guard needs from outside, as protocols; `neighbours`, `memory` and `observe`
fulfil them."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from enum import StrEnum
from typing import Protocol

from attrs import define

from lotus_guard.core.membership import Standing
from lotus_guard.core.model import (
    Attendance,
    Grant,
    Identity,
    LiveKitRoom,
    Participant,
    RoomId,
    UserId,
)
from lotus_guard.core.power import PowerLevels
from lotus_guard.core.seats import Person
from lotus_guard.rules.decision import Ruling
from lotus_guard.rules.rule import P, Reading
from lotus_guard.rules.state_event import ReadsEvent

Now = Callable[[], float]
"""Seconds of a clock that never runs backwards."""


NO_LIVEKIT_ROOM = LiveKitRoom("lotus-guard")
"""A room that cannot be, for questions in which no client can have a hand: the names that
lk-jwt-service gives to LiveKit rooms are 43 characters long."""


class Reason(StrEnum):
    """Why something of ours could not answer; the `reason` label of the fail-open counter."""

    REFUSED = "refused"
    DNS = "dns"
    TIMEOUT = "timeout"
    RESET = "reset"
    SERVER_ERROR = "server_error"
    UNAUTHORIZED = "unauthorized"
    NOT_FOUND = "not_found"
    MAY_NOT_LOOK = "may_not_look"
    GARBAGE = "garbage"
    OVERSIZED = "oversized"
    SECRET = "secret"  # noqa: S105  (the reason "secret mismatch", not a secret)
    UNKNOWN_ROOM = "unknown_room"
    BUSY = "busy"
    OVERLOAD = "overload"
    BUG = "bug"


class Outage(Exception):
    """Something the guard depends on did not answer, or made no sense: calls go on without it.

    `detail` says in words what happened, and reads well after a colon.
    """

    def __init__(self, reason: Reason, detail: str) -> None:
        super().__init__(f"{detail} ({reason})")
        self.reason = reason
        self.detail = detail


def no_answer(whom: str, seconds: float) -> str:
    """Silence of so many seconds in words; two digits, as the rest is the guard's own lateness."""
    return f"no answer from {whom} within {max(0.0, seconds):.2g} s"


class Bug(Outage):
    """A mistake of ours, whose traceback is in the log: what it is about goes on without it."""

    def __init__(self) -> None:
        super().__init__(Reason.BUG, "a bug in lotus-guard, see the traceback in the log")


class Oversized(Outage):
    """The answer is longer than it may be. Clients wrote what is in it, so nobody is out."""

    def __init__(self, begins: bytes = b"") -> None:
        super().__init__(Reason.OVERSIZED, "the answer is too long")
        self.begins = begins
        """What was read of it."""


@define
class Allowance:
    """So many bytes may still be read, of one answer or of several."""

    left: int

    def take(self, count: int) -> bool:
        """Take some of it; False where there are not so many left."""
        self.left -= count
        return self.left >= 0


class MayNotLook(Outage):
    """The homeserver does not let us look there; that says nothing of what there is."""

    def __init__(self, detail: str) -> None:
        super().__init__(Reason.MAY_NOT_LOOK, detail)


class NotAsked(Outage):
    """A neighbour was not asked: too many questions wait for it, or it does not answer at all."""


class Flooded(Exception):
    """A room is too long to read, which is its clients' doing: no outage, and it lets nobody in."""


class Homeserver(Protocol):
    """A way to ask the homeserver: what a room's policies are, who is in it, and with what power.

    Each question raises Outage where there is no answer, and MayNotLook where this way is not
    allowed to give one.
    """

    async def policy(self, room: RoomId, rule: ReadsEvent[P]) -> Reading[P]:
        """Read the policy of a rule in a room."""
        ...

    async def membership(self, room: RoomId, user: UserId) -> Standing:
        """Ask how a user stands to a room; `Standing.is_local` says whose user they are."""
        ...

    async def power(self, room: RoomId) -> PowerLevels:
        """Read who has which power level in a room.

        Raises MayNotLook for a room that is not known as well: nothing is said of its levels then.
        """
        ...

    async def name(self, room: RoomId) -> str | None:
        """Look up a room's name, None where it has none; raises Outage."""
        ...

    async def rooms(self, start: int) -> tuple[Sequence[RoomId], int | None]:
        """List some rooms, and where to go on (None at the end); raises Outage."""
        ...

    async def ping(self) -> None:
        """Ask what no client has a hand in; raises Outage."""
        ...


class Upgrades(Protocol):
    """A way to ask the homeserver which rooms replace others."""

    async def predecessor(self, room: RoomId) -> RoomId | None:
        """Ask which room this one replaced, None where it is the first; raises Outage."""
        ...


class Tallies(Protocol):
    """A way to ask the homeserver how many state events its rooms have."""

    async def tallies(self, start: int) -> tuple[Mapping[RoomId, int], int | None]:
        """Count the state events of some rooms, and say where to go on (None at the end).

        Raises Outage, and MayNotLook where this homeserver does not say.
        """
        ...


class RoomService(Protocol):
    """LiveKit: the one source of who is there, and the place where steps are carried out."""

    async def attendance(
        self, livekit_room: LiveKitRoom, allowance: Allowance | None = None
    ) -> Attendance:
        """List the people in a LiveKit room, nobody for an unknown one; raises Outage.

        Where their list is longer than the allowance, it is not whole: those with whom it begins.
        """
        ...

    async def participant(
        self, livekit_room: LiveKitRoom, identity: Identity, allowance: Allowance
    ) -> Participant | None:
        """Ask after one participant; None where there is no such person.

        Raises Outage, and Oversized where they say more than is read of one participant.
        """
        ...

    async def ping(self) -> None:
        """Ask what no client has a hand in; raises Outage."""
        ...

    async def existing(
        self, livekit_rooms: Sequence[LiveKitRoom] = ()
    ) -> Mapping[LiveKitRoom, int]:
        """Count the people in those of these LiveKit rooms that exist, or in all that exist.

        The counts may be some seconds old. Raises Outage.
        """
        ...

    async def permit(
        self, livekit_room: LiveKitRoom, participant: Participant, grant: Grant
    ) -> None:
        """Replace what a participant may publish, and leave the rest; raises Outage."""
        ...

    async def curb(self, livekit_room: LiveKitRoom, identity: Identity) -> None:
        """Take from a participant, unread, all that they can fill a room's list with.

        They keep their place and what they hear and see. Raises Outage.
        """
        ...

    async def remove(
        self, livekit_room: LiveKitRoom, participant: Participant, revoked: int
    ) -> None:
        """Put a participant out of the room; raises Outage.

        Their tokens that are valid from before `revoked` on (seconds since the epoch) let nobody in
        any more, where the server knows how to do that.
        """
        ...


class Rank(Protocol):
    """This guard's place among several: one of them runs the live loop."""

    def leads(self) -> bool:
        """Whether this guard runs the live loop at this moment."""
        ...

    def may_remove(self) -> bool:
        """Whether it knows all seats that were given, so that it may put people out."""
        ...


class Records(Protocol):
    """Where every decision goes."""

    def decided(
        self, ruling: Ruling, *, observed: bool = False, once: Hashable | None = None
    ) -> str:
        """Put a ruling on record and return its id; with the same `once`, once a minute."""
        ...

    def failed_open(
        self,
        rule: str,
        outage: Outage,
        room: RoomId | None = None,
        user: Person | None = None,
        *,
        again: bool = False,
    ) -> None:
        """Record that a rule let a token out because something of ours failed.

        `again` where the same is tried again and again: counted, but recorded once a minute.
        """
        ...

    def passed_elsewhere(self) -> None:
        """Count a token of another homeserver's service, which is not ours to judge."""
        ...

    def not_enforced(self, rule: str, outage: Outage) -> None:
        """Record that a rule could not be enforced in running calls; nobody asked for a token.

        Counted each time, recorded once a minute for each rule and reason.
        """
        ...
