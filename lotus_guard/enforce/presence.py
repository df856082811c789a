"""Who is in a Matrix room's calls, over all its LiveKit rooms; one look for all who ask at once."""

from collections.abc import Callable, Mapping, Sequence
from math import inf

from attrs import define, field, frozen

from lotus_guard.core.directory import Directory
from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import Attendance, LiveKitRoom, RoomId
from lotus_guard.core.seats import Look, Seats
from lotus_guard.enforce.deferreds import SingleFlight
from lotus_guard.enforce.patience import Patience, waited
from lotus_guard.enforce.ports import Now, Outage, RoomService
from lotus_guard.enforce.roll_call import RollCall
from lotus_guard.enforce.seat_store import SeatStore

KEPT = 60.0
"""Seconds for which the people seen last count in a room that cannot be read. As long as a seat is
held for a token: a flood cannot keep a room full either."""


@frozen
class Seen:
    """A look at a Matrix room: when it was begun, what it took in and who was there."""

    at: float
    livekit_rooms: Sequence[LiveKitRoom]
    rooms: Mapping[LiveKitRoom, Attendance]


@define(eq=False)
class Presence:
    """Keeps the seats up to date with what LiveKit says."""

    service: RoomService
    background: RoomService
    """LiveKit for background work: nobody with a deadline waits in its queue."""
    store: SeatStore
    directory: Directory
    roll_call: RollCall
    now: Now
    on_use: Callable[[bool], None] = lambda _was_kept: None
    """Told of each use whether a look was at hand."""
    _seen: LruDict[RoomId, Seen] = field(init=False, factory=lambda: LruDict(20_000))
    _flights: SingleFlight[tuple[RoomId, bool], Seen] = field(init=False, factory=SingleFlight)

    @property
    def looks(self) -> int:
        """How many looks are under way."""
        return len(self._flights)

    def at_hand(self, room: RoomId, not_before: float) -> float | None:
        """When the last look was begun, where it serves; None where a new one must be made."""
        seen = self._seen.get(room)
        if seen is None or not _serves(seen, not_before, self.directory.livekit_rooms_of(room)):
            return None
        self.on_use(True)
        return seen.at

    async def look(
        self,
        room: RoomId,
        not_before: float,
        in_background: bool = False,
        patience: Patience | None = None,
    ) -> Seen:
        """Make sure that the seats of a room rest on a look begun at `not_before` or later.

        Returns that look. Raises Outage when LiveKit does not say, and Flooded where there is more
        to read than there is time for, which in the background there is. Takes in all of the room's
        LiveKit rooms (`introduction.MOST_SLOTS` at the most) or none: half a picture is none, and
        LiveKit's own count of who is where may be some seconds old (docs/facts.md, LiveKit: API).
        """
        livekit_rooms = self.directory.livekit_rooms_of(room)
        seen = self._seen.get(room)
        self.on_use(seen is not None and _serves(seen, not_before, livekit_rooms))
        if seen is None or not _serves(seen, not_before, livekit_rooms):
            key = (room, in_background)
            seen = await self._waited(key, patience)
            if not _serves(seen, not_before, livekit_rooms):
                # We joined a look that was begun too early.
                seen = await self._waited(key, patience)
        return seen

    async def _waited(self, key: tuple[RoomId, bool], patience: Patience | None) -> Seen:
        looking = self._flights.join(key, lambda: self._look(*key))
        return await waited(looking, patience, "LiveKit")

    def last_look(self, room: RoomId) -> float:
        """When the last look at a room was begun; 0.0 where there was none."""
        seen = self._seen.get(room)
        return seen.at if seen else 0.0

    async def last_resort(self, room: RoomId) -> float:
        """Find the moment that a verdict on a flooded room rests on.

        Whoever was seen last counts, but not for longer than `KEPT`.
        """
        oldest = self.now() - KEPT

        def age(seats: Seats) -> None:
            looks = seats.table(room).looks
            old = [a for a, look in looks.items() if look.people and look.at < oldest]
            seats.saw(room, {livekit_room: Look(oldest, frozenset()) for livekit_room in old})

        await self.store.change(room, age)
        return max(self.last_look(room), oldest)

    async def _look(self, room: RoomId, in_background: bool) -> Seen:
        begun, livekit_rooms = self.now(), self.directory.livekit_rooms_of(room)
        try:
            rooms = await self._roll_call(room, livekit_rooms, in_background)
        except Outage:
            if self.last_look(room) < begun:
                await self.store.change(room, lambda seats: seats.lost_sight(room, begun))
            raise
        looks = {
            livekit_room: _as_look(attendance)
            for livekit_room, attendance in rooms.items()
            if not self.directory.is_for_data(livekit_room)
        }
        is_whole = all(attendance.is_whole for attendance in rooms.values())

        def take_in(seats: Seats) -> None:
            seats.saw(room, looks)
            if not is_whole:  # whoever is new in the next look may have been there already
                seats.lost_sight(room, begun)

        # Where nobody has come or gone, it does not matter who has been given a seat meanwhile.
        await self.store.change(room, take_in, lambda _: inf)
        seen = Seen(begun, livekit_rooms, rooms)
        if self.last_look(room) < begun:  # the token path and the background look on their own
            self._seen.put(room, seen)
        return seen

    async def _roll_call(
        self, room: RoomId, livekit_rooms: Sequence[LiveKitRoom], in_background: bool
    ) -> Mapping[LiveKitRoom, Attendance]:
        """Only in the background is there time to read a flooded room piecewise."""
        if not in_background:
            return await self.roll_call.hurried(self.service, livekit_rooms)
        seen = self._seen.get(room)
        before = seen.rooms if seen else {}
        return await self.roll_call.thorough(self.background, livekit_rooms, before)


def _as_look(attendance: Attendance) -> Look:
    return Look(attendance.at, attendance.identities)


def _serves(seen: Seen, not_before: float, livekit_rooms: Sequence[LiveKitRoom]) -> bool:
    if seen.at < not_before:
        return False
    return livekit_rooms == seen.livekit_rooms or set(livekit_rooms) <= set(seen.livekit_rooms)
