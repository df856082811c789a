"""When something last happened in a room, so that operators see first what is wrong now.

As JSON, beside the other fields of a room; each in seconds since 1970, or null:

    {"refused_at": 1790000000.1, "failed_open_at": null, "full_since": 1789999000.0}

`full_since` is noted at each look, so it may be late by the time between two.
"""

from collections.abc import Callable, Collection
from typing import Any

from attrs import define, field

from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import RoomId
from lotus_guard.rules.decision import Deed, Ruling

MOST_ROOMS = 10_000


@define(eq=False)
class RoomTimes:
    """Remembers times by room; the rooms in which nothing has happened longest are forgotten.

    Refusals, which anybody can cause in made-up rooms, make no other time forgotten.
    """

    epoch: Callable[[], float]
    """Seconds since 1970."""
    _refused: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    _failed_open: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    _full: dict[RoomId, float] = field(init=False, factory=dict)

    def decided(self, ruling: Ruling, _observed: bool) -> None:
        """Take note of a refusal, and of a token let out unguarded."""
        times = {Deed.REFUSED: self._refused, Deed.FAIL_OPEN: self._failed_open}.get(ruling.deed)
        if ruling.room is not None and times is not None:
            times.put(ruling.room, self.epoch())

    def full(self, rooms: Collection[RoomId]) -> None:
        """Take note of which rooms are full now; all others are not."""
        now = self.epoch()
        self._full = {room: self._full.get(room, now) for room in rooms}

    def of(self, room: RoomId) -> dict[str, Any]:
        """The times of a room, as the head of this module shows them."""
        return {
            "refused_at": self._refused.peek(room),
            "failed_open_at": self._failed_open.peek(room),
            "full_since": self._full.get(room),
        }
