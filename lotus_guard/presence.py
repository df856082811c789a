"""Who is in a Matrix room's calls, over all its LiveKit rooms; one look for all who ask at once."""

from collections.abc import Callable, Mapping, Sequence

from attrs import define, field, frozen

from lotus_guard.book import Book
from lotus_guard.core.knowledge import Knowledge, Recent
from lotus_guard.core.model import Alias, Attendance, RoomId
from lotus_guard.core.seats import Look
from lotus_guard.flight import SingleFlight, some_at_once
from lotus_guard.ports import Flooded, Now, Outage, Reason, RoomService

AT_ONCE = 2
"""How many LiveKit rooms of one Matrix room are asked at the same time; see `pressure.TOKENS`."""


@frozen
class Seen:
    """A look at a Matrix room: when it was begun, what it took in and who was there."""

    at: float
    aliases: Sequence[Alias]
    rooms: Mapping[Alias, Attendance]


@define(eq=False)
class Presence:
    """Keeps the seats up to date with LiveKit's word."""

    service: RoomService
    book: Book
    knowledge: Knowledge
    now: Now
    on_use: Callable[[bool], None] = lambda _was_kept: None
    """Told of each use whether a look was at hand."""
    in_background: RoomService | None = None
    """LiveKit for the background, in whose line nobody is to wait who has a deadline."""
    _seen: Recent[RoomId, Seen] = field(init=False, factory=lambda: Recent(20_000))
    _flights: SingleFlight[tuple[RoomId, bool], Seen] = field(init=False, factory=SingleFlight)

    @property
    def looks(self) -> int:
        """How many looks are under way."""
        return len(self._flights)

    def at_hand(self, room: RoomId, not_before: float) -> float | None:
        """Tell when the last look was begun, where it serves; None where one must be made."""
        seen = self._seen.get(room)
        if seen is None or not _serves(seen, not_before, self.knowledge.aliases_of(room)):
            return None
        self.on_use(True)
        return seen.at

    async def look(self, room: RoomId, not_before: float, in_background: bool = False) -> Seen:
        """See to it that the seats of a room rest on a look begun at `not_before` or later.

        Returns that look. Raises Outage when LiveKit does not say, Flooded where there is more to
        read than a look may. Takes in all of the room's LiveKit rooms (`admission.MOST_SLOTS` at
        the most) or none: half a picture is no picture, and LiveKit's own count of who is where is
        up to five seconds old (room.go, `roomUpdateInterval`).
        """
        aliases = self.knowledge.aliases_of(room)
        seen = self._seen.get(room)
        self.on_use(seen is not None and _serves(seen, not_before, aliases))
        if seen is None or not _serves(seen, not_before, aliases):
            service = (self.in_background if in_background else None) or self.service
            key = (room, in_background)
            seen = await self._flights.join(key, lambda: self._look(room, service))
            if not _serves(seen, not_before, aliases):
                # We joined a look that was begun too early.
                seen = await self._flights.join(key, lambda: self._look(room, service))
        return seen

    def last_look(self, room: RoomId) -> float:
        """Tell when the last look at a room was begun; 0.0 where there was none."""
        seen = self._seen.get(room)
        return seen.at if seen else 0.0

    async def _look(self, room: RoomId, service: RoomService) -> Seen:
        begun, aliases = self.now(), self.knowledge.aliases_of(room)
        try:
            found = await some_at_once(AT_ONCE, map(service.attendance, aliases))
        except Outage as outage:
            if outage.reason is Reason.OVERSIZED:
                # Participants write their own metadata: no outage, and nobody's way in.
                raise Flooded("its participants' metadata is too much to read") from None
            if self.last_look(room) < begun:
                await self.book.change(room, lambda seats: seats.lost_sight(room, begun))
            raise
        rooms = dict(zip(aliases, found, strict=True))
        looks = {alias: _as_look(attendance) for alias, attendance in rooms.items()}
        await self.book.change(room, lambda seats: seats.saw(room, looks))
        seen = Seen(begun, aliases, rooms)
        if self.last_look(room) < begun:  # the token path and the background look on their own
            self._seen.put(room, seen)
        return seen


def _as_look(attendance: Attendance) -> Look:
    return Look(attendance.at, frozenset(p.identity for p in attendance.participants))


def _serves(seen: Seen, not_before: float, aliases: Sequence[Alias]) -> bool:
    if seen.at < not_before:
        return False
    return aliases == seen.aliases or set(aliases) <= set(seen.aliases)
