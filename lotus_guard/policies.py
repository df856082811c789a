"""Policies of rooms, remembered: fresh for a moment, usable for a while when Synapse is out."""

from collections.abc import Callable, Coroutine
from typing import Any, Generic, TypeVar

from attrs import define, field, frozen

from lotus_guard.core.knowledge import Recent
from lotus_guard.core.model import RoomId
from lotus_guard.core.policy import Reading
from lotus_guard.flight import SingleFlight, ignoring
from lotus_guard.ports import Now, Outage

P = TypeVar("P")

MOST_ROOMS = 20_000
MOST_AHEAD = 16
"""How many look-ups nobody has vouched for yet may be under way at once."""


@frozen
class Kept(Generic[P]):
    """A policy and when the look-up that read it was begun."""

    policy: P
    at: float


@define(eq=False)
class Policies(Generic[P]):
    """One kind of policy (limit or sources) of all rooms; each kind has look-ups of its own."""

    fetch: Callable[[RoomId], Coroutine[Any, Any, Reading[P]]]
    now: Now
    max_age: float
    """Seconds a policy is served without asking again."""
    stale: float
    """Seconds a last known policy may be used while Synapse is out."""
    on_complaint: Callable[[RoomId, str], None] = lambda _room, _text: None
    _kept: Recent[RoomId, Kept[P]] = field(init=False, factory=lambda: Recent(MOST_ROOMS))
    _flights: SingleFlight[RoomId, Kept[P]] = field(init=False, factory=SingleFlight)

    def ahead(self, room: RoomId) -> None:
        """Begin to look a policy up that will soon be needed, unless it is fresh.

        Whoever asks here has proved nothing yet, so only a few run at once: a flood of invented
        rooms must not delay the look-ups of those whom upstream has vouched for.
        """
        if self._fresh(room) is None and len(self._flights) < MOST_AHEAD:
            ignoring(self._flights.join(room, lambda: self._look_up(room)), Outage)

    async def get(self, room: RoomId) -> P:
        """Give the policy of a room, asking Synapse where what we have is not fresh.

        Raises Outage where Synapse does not answer; what was known last is then in `last`.
        """
        kept = self._fresh(room)
        if kept is None:
            kept = await self._flights.join(room, lambda: self._look_up(room))
            if self.now() - kept.at > self.max_age:
                # It was begun while upstream was still at work: too old now, so once more.
                kept = await self._flights.join(room, lambda: self._look_up(room))
        return kept.policy

    def last(self, room: RoomId) -> P | None:
        """Give what was known last, if it is not too old to be used during an outage."""
        kept = self._kept.get(room)
        return kept.policy if kept and self.now() - kept.at <= self.stale else None

    def _fresh(self, room: RoomId) -> Kept[P] | None:
        kept = self._kept.get(room)
        return kept if kept and self.now() - kept.at <= self.max_age else None

    async def _look_up(self, room: RoomId) -> Kept[P]:
        begun = self.now()
        reading = await self.fetch(room)
        before = self._kept.get(room)
        kept = Kept(reading.policy, begun)
        self._kept.put(room, kept)
        if before is None or before.policy != reading.policy:
            for complaint in reading.complaints:
                self.on_complaint(room, complaint)
        return kept
