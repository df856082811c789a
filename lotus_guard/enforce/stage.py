"""In which order the cameras of a room's calls came on, as far as looks can tell.

The row has two parts: those who have a camera on, and behind them those whose cameras are all
muted. Whoever a look shows with a camera for the first time, or with one more that is published or
on than before, is last in their part, with all of theirs. Of those whom one look shows so, who
joined first is first: so it is for everybody after a restart, as nothing of this is kept. A camera
that is not published in a look has left the row.

Muted cameras count because no webhook tells of muting: one that is on only between two looks would
be in no row.
"""

from collections.abc import Callable, Iterable, Mapping
from random import SystemRandom

from attrs import define, field, frozen

from lotus_guard.core.lru import LruDict, weight
from lotus_guard.core.model import Attendance, Identity, Participant, RoomId
from lotus_guard.enforce.presence import Seen
from lotus_guard.rules.rule import Place

MOST_ROOMS = 20_000
COUNT_BYTES = 150
"""A count with its entry in a row."""


@frozen
class CameraCount:
    """How many cameras one connection has."""

    published: int
    """Those that are muted among them; at least 1."""
    on: int

    def has_more_than(self, before: "CameraCount") -> bool:
        """Whether more are published, or on, than before."""
        return self.published > before.published or self.on > before.on


Row = Mapping[Identity, CameraCount]
"""The cameras of each connection: first of those who have one on."""


@frozen
class Places:
    """The places of everybody in a room."""

    taken: Mapping[Identity, Place]
    """Of everybody whose cameras are counted."""
    other: Place
    """Of everybody without a camera, and of those who are not counted."""

    def of(self, identity: Identity) -> Place:
        """The place of one of them."""
        return self.taken.get(identity, self.other)


def places(row: Row, most: int, is_exempt: Callable[[Identity], bool]) -> Places:
    """Everybody's place in the row; who has one too many does not count for the others."""
    total, taken = 0, {}
    for identity, cameras in row.items():
        if is_exempt(identity):
            continue
        ahead = total + cameras.published - 1
        taken[identity] = Place(ahead, True)
        total += cameras.published if ahead < most else 0
    return Places(taken, Place(total, False))


def moved_on(row: Row, attendances: Iterable[Attendance]) -> Row:
    """The row after another look. Those whom it could not read stay where they were."""
    there = list(attendances)
    found = _cameras(each for attendance in there for each in attendance.participants)
    unread = {each for attendance in there for each in (*attendance.loud, *attendance.doubtful)}
    if not all(attendance.is_whole for attendance in there):
        read = {each.identity for attendance in there for each in attendance.participants}
        unread |= row.keys() - read
    kept: dict[Identity, CameraCount] = {}
    for who, before in row.items():
        now = found[who][1] if who in found else before if who in unread else None
        if now and not now.has_more_than(before):
            kept[who] = now
    new = sorted((found[who][0], who) for who in found if who not in kept)
    in_order = {**kept, **{who: found[who][1] for _, who in new}}
    return dict(sorted(in_order.items(), key=lambda item: not item[1].on))


def _cameras(participants: Iterable[Participant]) -> dict[Identity, tuple[float, CameraCount]]:
    """When each of those joined who have published a camera, and how many they have.

    One who is in several LiveKit rooms of a Matrix room counts once, with all of them.
    """
    found: dict[Identity, tuple[float, CameraCount]] = {}
    for each in participants:
        is_muted = [track.is_muted for track in each.tracks if track.is_camera]
        if is_muted:
            joined, others = found.get(each.identity, (each.joined, CameraCount(0, 0)))
            published = others.published + len(is_muted)
            cameras = CameraCount(published, others.on + is_muted.count(False))
            found[each.identity] = min(joined, each.joined), cameras
    return found


def _weight(room: RoomId, row: Row) -> int:
    return weight(room, *row) + COUNT_BYTES * len(row)


@define(eq=False)
class Stage:
    """Remembers the rows of the rooms that allow so many cameras."""

    chance: Callable[[], float] = SystemRandom().random
    """Gives a random number from 0 to 1: when between two passes such a room is looked at.

    Passes have a beat, and a camera that is published in that beat would be in no row.
    """
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
