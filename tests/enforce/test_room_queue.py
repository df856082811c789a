"""Turns of rooms: one at a time, rationed, and always a worker for the others."""

from collections.abc import Iterator
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.room_queue import (
    AT_ONCE,
    REST_TIMES,
    SLOW_AT_ONCE,
    WOKEN_AT_ONCE,
    RoomQueue,
)

A, B = RoomId("!a"), RoomId("!b")
LONGEST = 2.0


@define
class Yard:
    """Rooms whose turns end when a test says so."""

    clock: Clock = field(factory=Clock)
    turns: RoomQueue[str] = field(init=False)
    open: dict[RoomId, Deferred[None]] = field(factory=dict)
    begun: list[tuple[RoomId, bool]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.turns = RoomQueue(self.work, self.clock, self.clock.seconds, LONGEST)

    async def work(self, room: RoomId, poll: bool) -> str:
        assert room not in self.open, "one turn of a room at a time"
        self.begun.append((room, poll))
        self.open[room] = Deferred()
        await self.open[room]
        return f"done with {room}"

    def end(self, room: RoomId, seconds: float = 0.0) -> None:
        self.clock.advance(seconds)
        self.open.pop(room).callback(None)

    def turn(self, room: RoomId, seconds: float) -> None:
        """Have a whole turn of a room that takes so long."""
        self.turns.wake(room)
        self.end(room, seconds)

    def all(self, rooms: list[RoomId], seconds: float = LONGEST) -> Deferred[Any]:
        return ensureDeferred(self.turns.all(rooms, self.clock.seconds() + seconds))


@pytest.fixture
def yard() -> Iterator[Yard]:
    made = Yard()
    yield made
    made.turns.stop()
    while made.open:
        made.end(next(iter(made.open)))
    assert made.turns.is_idle


def test_who_is_woken_meanwhile_has_one_more_turn_after_a_rest(yard: Yard) -> None:
    yard.turns.wake(A)
    for _ in range(10):
        yard.turns.wake(A)
    yard.end(A, 0.1)
    for _ in range(10):
        yard.turns.wake(A)
    assert len(yard.begun) == 1
    yard.clock.advance(REST_TIMES * 0.1 - 0.01)
    assert len(yard.begun) == 1, "it rests for as long as its turn was dear"
    yard.clock.advance(0.02)
    assert len(yard.begun) == 2
    yard.end(A)
    yard.clock.advance(60.0)
    assert len(yard.begun) == 2
    assert yard.turns.is_idle


def test_no_rest_is_longer_than_the_pace_of_the_passes(yard: Yard) -> None:
    yard.turn(A, 10.0)
    yard.turns.wake(A)
    yard.clock.advance(LONGEST + 0.01)
    assert len(yard.begun) == 2


def test_another_room_is_not_kept_waiting_by_one_that_is_woken_on_and_on(yard: Yard) -> None:
    yard.turns.wake(A)
    yard.turns.wake(B)
    assert [room for room, _ in yard.begun] == [A, B]


def test_a_pass_is_over_though_a_room_is_woken_on_and_on(yard: Yard) -> None:
    found = yard.all([A])
    yard.turns.wake(A)
    yard.end(A, 0.1)
    assert found.called
    assert yard.begun == [(A, True)]


def test_what_a_pass_does_serves_whoever_has_woken_the_room_before(yard: Yard) -> None:
    yard.turn(A, 0.1)
    yard.turns.wake(A)  # it rests
    found = yard.all([A])
    yard.end(A)
    assert found.called
    yard.clock.advance(60.0)
    assert len(yard.begun) == 2


def test_slow_rooms_leave_workers_for_the_others(yard: Yard) -> None:
    slow = [RoomId(f"!slow{n}") for n in range(2 * AT_ONCE)]
    for room in slow:
        yard.turn(room, 1.0)
    yard.clock.advance(60.0)
    yard.begun.clear()
    found = yard.all([*slow, A, B])
    assert {A, B} <= yard.open.keys()
    assert len(yard.open) == SLOW_AT_ONCE + 2
    for room in slow:
        yard.turns.wake(room)
    assert len(yard.open) == SLOW_AT_ONCE + 2, "woken, they get no more workers than that"
    yard.end(A)
    yard.end(B)
    assert not found.called
    yard.clock.pump([LONGEST, 0.01])
    results: Any = found.result
    assert results == [f"done with {A}", f"done with {B}"]
    assert yard.turns.behind == len(slow)


def test_a_pass_gives_way_for_half_of_its_time(yard: Yard) -> None:
    yard.all([A], 2.0)
    assert yard.turns.turnstile.until == yard.clock.seconds() + 1.0


def test_what_came_of_slow_rooms_the_next_pass_takes_up(yard: Yard) -> None:
    yard.turn(A, 1.0)
    yard.clock.advance(60.0)
    yard.all([A])
    yard.clock.pump([LONGEST, 0.01])
    yard.end(A)
    found = yard.all([])
    yard.clock.advance(0.0)
    results: Any = found.result
    assert results == [f"done with {A}"]


def test_a_room_that_is_quick_again_is_slow_no_more(yard: Yard) -> None:
    yard.turn(A, 1.0)
    yard.clock.advance(60.0)
    yard.turn(A, 0.0)
    found = yard.all([A])
    yard.end(A)
    yard.clock.advance(0.0)
    assert found.called


def test_who_waits_for_others_in_its_turn_is_not_slow(yard: Yard) -> None:
    yard.turns.wake(A)
    yard.turns.excuse(A, 2.0)
    yard.end(A, 2.0)
    yard.turns.excuse(A, 60.0)  # not in its turn
    found = yard.all([A])
    assert yard.turns.behind == 0
    yard.end(A, 1.0)
    assert found.called
    yard.all([A], 0.0)
    assert yard.turns.behind == 1, "this time it was its own doing"


def test_so_many_woken_rooms_at_once_and_in_the_order_of_their_waking(yard: Yard) -> None:
    rooms = [RoomId(f"!{n}") for n in range(WOKEN_AT_ONCE + 2)]
    for room in [*rooms, *rooms]:
        yard.turns.wake(room)
    assert [room for room, _ in yard.begun] == rooms[:WOKEN_AT_ONCE]
    yard.end(rooms[3])
    assert yard.begun[-1][0] == rooms[WOKEN_AT_ONCE]


def test_a_stop_begins_nothing_more(yard: Yard) -> None:
    yard.turn(A, 0.1)
    yard.turns.wake(A)
    yard.turns.stop()
    yard.clock.advance(60.0)
    assert len(yard.begun) == 1
    assert yard.clock.getDelayedCalls() == []


def test_a_pass_begins_with_a_few_rooms_at_once_and_then_with_one_after_the_other(
    yard: Yard,
) -> None:
    rooms = [RoomId(f"!{number}") for number in range(AT_ONCE + 2)]
    passing = yard.all(rooms)
    assert len(yard.begun) == AT_ONCE
    yard.end(rooms[0])
    assert len(yard.begun) == AT_ONCE, "others have their turn first"
    yard.clock.advance(0)
    assert len(yard.begun) == AT_ONCE + 1
    yard.end(rooms[1])
    assert len(yard.begun) == AT_ONCE + 1, "the one before is not done"
    yard.end(rooms[AT_ONCE])
    yard.clock.advance(0)
    assert len(yard.begun) == AT_ONCE + 2
    for room in (*rooms[2:AT_ONCE], rooms[-1]):
        yard.end(room)
    found: Any = passing.result
    assert len(found) == len(rooms)
