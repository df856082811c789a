"""Policies of rooms, remembered: fresh for a moment, usable for a while when Synapse is out."""

from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from lotus_guard.core.directory import LruDict
from lotus_guard.core.model import RoomId
from lotus_guard.enforce.deferreds import SingleFlight, ignoring
from lotus_guard.enforce.ports import NO_ROOM, Now, Outage
from lotus_guard.rules.policy import Reading


class Restricting(Protocol):
    """A policy that may restrict something."""

    @property
    def restricts(self) -> bool:
        """Tell whether it does."""
        ...


P = TypeVar("P", bound=Restricting)


MOST_ROOMS = 20_000
UNKNOWN_SECONDS = 60.0
"""For so long a room that Synapse did not know counts as one that somebody has invented."""
MOST_AHEAD = 8
"""How many look-ups nobody has vouched for yet may be under way at once; see `pressure.TOKENS`."""


@frozen
class Kept(Generic[P]):
    """A policy and when the look-up that read it was begun."""

    policy: P
    at: float
    is_unknown: bool = False
    """Whether the homeserver does not know the room."""


@define(eq=False)
class Policies(Generic[P]):
    """One kind of policy (limit or sources) of all rooms; each kind has look-ups of its own."""

    fetch: Callable[[RoomId], Coroutine[Any, Any, Reading[P]]]
    now: Now
    max_age: Callable[[], float]
    """Seconds a policy is served without asking again; longer while Synapse pushes them."""
    stale: float
    """Seconds a last known policy may be used while Synapse is out."""
    on_complaint: Callable[[RoomId, str], None] = lambda _room, _text: None
    on_use: Callable[[bool], None] = lambda _was_kept: None
    """Told of each use whether the policy was at hand."""
    fetch_in_background: Callable[[RoomId], Coroutine[Any, Any, Reading[P]]] | None = None
    """Reads a policy for the background, in whose line nobody is to wait who has a deadline."""
    _kept: LruDict[RoomId, Kept[P]] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    _changes: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    _flights: SingleFlight[tuple[RoomId, bool], Kept[P]] = field(init=False, factory=SingleFlight)

    def ahead(self, room: RoomId) -> None:
        """Begin to look a policy up that will soon be needed, unless it is fresh.

        Whoever asks here has proved nothing yet, so only a few run at once: a flood of invented
        rooms must not delay the look-ups of those whom upstream has vouched for.
        """
        age = self.age(room)
        if (age is None or age > self.max_age()) and len(self._flights) < MOST_AHEAD:
            ignoring(self._join(room, False), Outage)

    async def get(
        self, room: RoomId, max_age: float | None = None, in_background: bool = False
    ) -> P:
        """Give the policy of a room, asking Synapse where what we have is not fresh.

        `max_age` in seconds replaces the ordinary one. Raises Outage where Synapse does not
        answer; what was known last is then in `last`.
        """
        oldest = self.now() - (self.max_age() if max_age is None else max_age)
        kept = self._kept.get(room)
        self.on_use(kept is not None and kept.at >= oldest)
        if kept is None or kept.at < oldest:
            kept = await self._asked(room, in_background)
            if kept.at < oldest:
                # We joined a look-up that was begun too early, while upstream was at work.
                kept = await self._asked(room, in_background)
        return kept.policy

    def at_hand(self, room: RoomId) -> P | None:
        """Give the policy of a room where what we have is fresh; None: it must be asked for."""
        kept = self._kept.get(room)
        if kept is None or kept.at < self.now() - self.max_age():
            return None
        self.on_use(True)
        return kept.policy

    def put(self, room: RoomId, reading: Reading[P], at: float) -> None:
        """Take in a policy read or pushed at `at`; an older one changes nothing."""
        before = self._kept.get(room)
        if before and before.at > at:
            return
        self._kept.put(room, Kept(reading.policy, at, reading.is_unknown))
        if before and before.policy != reading.policy and reading.set_at is not None:
            self._changes.put(room, reading.set_at)
        if before is None or before.policy != reading.policy:
            for complaint in reading.complaints:
                self.on_complaint(room, complaint)

    def sweep(self) -> None:
        """Drop what is too old to be used, even during an outage."""
        oldest = self.now() - max(self.stale, self.max_age())
        for room, kept in self._kept.items():
            if kept.at < oldest:
                self._kept.pop(room)

    def take_change(self, room: RoomId) -> float | None:
        """Tell once for each change when it was made, in seconds since the epoch."""
        return self._changes.pop(room)

    def last(self, room: RoomId) -> P | None:
        """Give what was known last, if it is not too old to be used during an outage."""
        kept = self._kept.get(room)
        return kept.policy if kept and self.now() - kept.at <= self.stale else None

    def known_to_restrict(self, room: RoomId) -> bool | None:
        """Tell whether a fresh policy restricts; None where what we have is not fresh."""
        age, kept = self.age(room), self._kept.get(room)
        return kept.policy.restricts if kept and age is not None and age <= self.max_age() else None

    def is_unknown(self, room: RoomId) -> bool:
        """Tell whether the homeserver did not know a room when it was asked a while ago."""
        kept = self._kept.get(room)
        return kept is not None and kept.is_unknown and self.now() - kept.at <= UNKNOWN_SECONDS

    async def ask_neutrally(self) -> None:
        """Look up what no client can have a hand in; raises Outage where the homeserver is out."""
        await (self.fetch_in_background or self.fetch)(NO_ROOM)

    def age(self, room: RoomId) -> float | None:
        """Tell how many seconds ago the policy of a room was read; None where it never was."""
        kept = self._kept.get(room)
        return self.now() - kept.at if kept else None

    async def _asked(self, room: RoomId, in_background: bool) -> Kept[P]:
        joined = (room, in_background) in self._flights
        try:
            return await self._join(room, in_background)
        except Outage:
            if not joined:
                raise
        # Somebody else's look-up failed, begun before we asked: that was not our try.
        return await self._join(room, in_background)

    def _join(self, room: RoomId, in_background: bool) -> Deferred[Kept[P]]:
        fetch = (self.fetch_in_background if in_background else None) or self.fetch
        return self._flights.join((room, in_background), lambda: self._look_up(room, fetch))

    async def _look_up(
        self, room: RoomId, fetch: Callable[[RoomId], Coroutine[Any, Any, Reading[P]]]
    ) -> Kept[P]:
        begun = self.now()
        self.put(room, await fetch(room), begun)
        kept = self._kept.get(room)
        assert kept is not None, "it was just put there"
        return kept
