"""When something last happened in a room."""

from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.observe.room_times import MOST_ROOMS, RoomTimes
from lotus_guard.rules.decision import Deed, Ruling

ROOM, OTHER = RoomId("!r:s"), RoomId("!o:s")
NOTHING = {"refused_at": None, "failed_open_at": None, "full_since": None}


def ruling(deed: Deed, room: RoomId | None = ROOM) -> Ruling:
    return Ruling(deed, "limit", "", "", room)


def test_the_last_refusal_and_the_last_unguarded_token_are_kept() -> None:
    clock = Clock()
    times = RoomTimes(clock.seconds)
    assert times.of(ROOM) == NOTHING
    clock.advance(1.0)
    times.decided(ruling(Deed.REFUSED), False)
    clock.advance(1.0)
    times.decided(ruling(Deed.FAIL_OPEN), False)
    clock.advance(1.0)
    times.decided(ruling(Deed.REFUSED), True)
    assert times.of(ROOM) == {"refused_at": 3.0, "failed_open_at": 2.0, "full_since": None}
    assert times.of(OTHER) == NOTHING


def test_nothing_else_is_kept() -> None:
    times = RoomTimes(Clock().seconds)
    for deed in (Deed.CHANGED, Deed.STEP, Deed.UNENFORCED):
        times.decided(ruling(deed), False)
    times.decided(ruling(Deed.REFUSED, None), False)
    assert times.of(ROOM) == NOTHING
    assert len(times._refused) == len(times._failed_open) == 0


def test_a_room_is_full_since_it_was_first_seen_full() -> None:
    clock = Clock()
    times = RoomTimes(clock.seconds)
    times.full([ROOM])
    clock.advance(5.0)
    times.full([ROOM, OTHER])
    assert (times.of(ROOM)["full_since"], times.of(OTHER)["full_since"]) == (0.0, 5.0)
    times.full([OTHER])
    clock.advance(5.0)
    times.full([ROOM, OTHER])
    assert (times.of(ROOM)["full_since"], times.of(OTHER)["full_since"]) == (10.0, 5.0)


def test_so_many_rooms_are_remembered() -> None:
    times = RoomTimes(Clock().seconds)
    for number in range(MOST_ROOMS + 3):
        times.decided(ruling(Deed.REFUSED, RoomId(f"!{number}:s")), False)
    assert len(times._refused) == MOST_ROOMS
    assert times.of(RoomId("!0:s")) == NOTHING


def test_refusals_in_made_up_rooms_do_not_hide_a_room_that_went_unguarded() -> None:
    times = RoomTimes(Clock().seconds)
    times.decided(ruling(Deed.FAIL_OPEN), False)
    for number in range(MOST_ROOMS + 3):
        times.decided(ruling(Deed.REFUSED, RoomId(f"!{number}:s")), False)
    assert times.of(ROOM)["failed_open_at"] == 0.0
