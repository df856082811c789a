"""In which order the cameras of a room's calls came on, as far as looks can tell.

Whoever a look shows with a camera for the first time, or with one more than before, is last in the
row, with all of theirs. Of those whom one look shows for the first time, who joined first is first:
so it is for everybody after a restart, as nothing of this is kept. A camera that is off or muted in
a look has left the row.
"""

from collections.abc import Callable, Iterable, Mapping

from attrs import define, field, frozen

from lotus_guard.core.lru import LruDict, weight
from lotus_guard.core.model import Attendance, Identity, Participant, RoomId
from lotus_guard.enforce.presence import Seen
from lotus_guard.rules.rule import Place

MOST_ROOMS = 20_000

Row = Mapping[Identity, int]
"""How many cameras of each connection are on, in the order in which they came on."""


@frozen
class Places:
    """The places of everybody in a room."""

    on: Mapping[Identity, Place]
    off: Place
    """Of everybody without a camera, and of those who are not counted."""

    def of(self, identity: Identity) -> Place:
        """The place of one of them."""
        return self.on.get(identity, self.off)


def places(row: Row, most: int, is_exempt: Callable[[Identity], bool]) -> Places:
    """Everybody's place in the row; who has one too many does not count for the others."""
    total, on = 0, {}
    for identity, count in row.items():
        if is_exempt(identity):
            continue
        ahead = total + count - 1
        on[identity] = Place(ahead, True)
        total += count if ahead < most else 0
    return Places(on, Place(total, False))


def moved_on(row: Row, attendances: Iterable[Attendance]) -> Row:
    """The row after another look. Those whom it could not read stay where they were."""
    there = list(attendances)
    on = _cameras(each for attendance in there for each in attendance.participants)
    unread = {each for attendance in there for each in (*attendance.loud, *attendance.doubtful)}
    if not all(attendance.is_whole for attendance in there):
        read = {each.identity for attendance in there for each in attendance.participants}
        unread |= row.keys() - read
    kept = {}
    for who, before in row.items():
        count = on[who][1] if who in on else before if who in unread else 0
        if 0 < count <= before:
            kept[who] = count
    new = sorted((on[who][0], who) for who in on if who not in kept)
    return {**kept, **{who: on[who][1] for _, who in new}}


def _cameras(participants: Iterable[Participant]) -> dict[Identity, tuple[float, int]]:
    """When each of those joined whose cameras are on, and how many these are.

    One who is in several LiveKit rooms of a Matrix room counts once, with all of them.
    """
    found: dict[Identity, tuple[float, int]] = {}
    for each in participants:
        count = sum(1 for track in each.tracks if track.is_camera and not track.is_muted)
        if count:
            joined, others = found.get(each.identity, (each.joined, 0))
            found[each.identity] = min(joined, each.joined), others + count
    return found


def _weight(room: RoomId, row: Row) -> int:
    return weight(room, *row)


@define(eq=False)
class Stage:
    """Remembers the rows of the rooms that allow so many cameras."""

    _rows: LruDict[RoomId, Row] = field(
        init=False, factory=lambda: LruDict(MOST_ROOMS, weigh=_weight)
    )

    def look(
        self, room: RoomId, seen: Seen, most: int, is_exempt: Callable[[Identity], bool]
    ) -> Places:
        """Take in a look at a room; returns the places of everybody there."""
        row = moved_on(self._rows.get(room) or {}, seen.rooms.values())
        if row:
            self._rows.put(room, row)
        else:
            self._rows.pop(room)
        return places(row, most, is_exempt)

    def forget(self, room: RoomId) -> None:
        """Forget the row of a room: any number of cameras is allowed there."""
        self._rows.pop(room)

    def forget_all_but(self, rooms: Iterable[RoomId]) -> None:
        """Forget the rows of rooms whose calls are over."""
        kept = frozenset(rooms)
        for room, _ in self._rows.items():
            if room not in kept:
                self._rows.pop(room)
