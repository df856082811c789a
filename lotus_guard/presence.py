"""Who is in a Matrix room's calls, over all its LiveKit rooms; one look for all who ask at once."""

from collections.abc import Sequence

from attrs import define, field, frozen
from twisted.internet.defer import FirstError, ensureDeferred, gatherResults

from lotus_guard.core.knowledge import Knowledge, Recent
from lotus_guard.core.model import Alias, RoomId
from lotus_guard.core.seats import Look, Seats
from lotus_guard.flight import SingleFlight
from lotus_guard.ports import Flooded, Now, Outage, RoomService

FEW = 16
"""Up to so many LiveKit rooms of a Matrix room are simply asked; of more, only those that exist."""
MOST = 64
"""The slot is the client's to choose: a room with more live slots than this is flooded."""


@frozen
class Seen:
    """The last look at a room: when its oldest part was begun and what it took in."""

    at: float
    aliases: Sequence[Alias]


@define(eq=False)
class Presence:
    """Keeps the seats up to date with LiveKit's word."""

    rooms: RoomService
    seats: Seats
    knowledge: Knowledge
    now: Now
    _seen: Recent[RoomId, Seen] = field(init=False, factory=lambda: Recent(20_000))
    _flights: SingleFlight[RoomId, Seen] = field(init=False, factory=SingleFlight)

    async def look(self, room: RoomId, not_before: float) -> float:
        """See to it that the seats of a room rest on a look begun at `not_before` or later.

        Returns when that look was begun. Raises Outage when LiveKit does not say, Flooded when
        clients have opened more LiveKit rooms than can be looked at. Takes in all of the room's
        LiveKit rooms or none: half a picture is no picture.
        """
        seen = self._seen.get(room)
        aliases = self.knowledge.aliases_of(room)
        if seen and seen.at >= not_before and seen.aliases == aliases:
            return seen.at
        seen = await self._flights.join(room, lambda: self._look(room))
        if seen.at < not_before or not set(aliases) <= set(seen.aliases):
            seen = await self._flights.join(room, lambda: self._look(room))
        return seen.at

    async def _look(self, room: RoomId) -> Seen:
        begun, aliases = self.now(), self.knowledge.aliases_of(room)
        try:
            asked = aliases if len(aliases) <= FEW else await self._existing(aliases)
            looks = await self._all(asked)
        except Outage:
            self.seats.lost_sight(room, begun)
            raise
        for alias, look in zip(asked, looks, strict=True):
            self.seats.saw(room, alias, look)
        for alias in set(aliases) - set(asked):
            self.seats.saw(room, alias, Look(begun, frozenset()))
        seen = Seen(begun, aliases)
        self._seen.put(room, seen)
        return seen

    async def _existing(self, aliases: Sequence[Alias]) -> Sequence[Alias]:
        existing = sorted(await self.rooms.existing(aliases))
        if len(existing) > MOST:
            raise Flooded(f"{len(existing)} LiveKit rooms")
        return existing

    async def _all(self, aliases: Sequence[Alias]) -> Sequence[Look]:
        asked = [ensureDeferred(self.rooms.look(alias)) for alias in aliases]
        try:
            return await gatherResults(asked, consumeErrors=True)
        except FirstError as first:
            first.subFailure.raiseException()
            raise
