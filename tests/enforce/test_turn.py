"""A room's turn in the live loop: what may be asked of it, and what comes of that."""

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from lotus_guard.enforce.live import Live, Only
from lotus_guard.enforce.room_pass import Outcome
from lotus_guard.enforce.turn import Turn
from tests.enforce.stand_ins import ROOM
from tests.fulfilled import lacking

INTERVAL = 2.0


@define(eq=False)
class RoomPass:
    """Has a turn of a room last until the test ends it."""

    turns: list[Turn] = field(factory=list)
    open: Deferred[Outcome] = field(factory=Deferred)

    async def enforce(self, _room: Any, turn: Turn) -> Outcome:
        self.turns.append(turn)
        return await self.open

    def end(self) -> None:
        ended, self.open = self.open, Deferred()
        ended.callback(Outcome.UNDER_POLICY)


class Candidates:
    def is_invented(self, _room: Any) -> bool:
        return False


@define(eq=False)
class Loop:
    clock: Clock = field(factory=Clock)
    room_pass: Any = field(factory=RoomPass)
    live: Live = field(init=False)

    def __attrs_post_init__(self) -> None:
        nobody: Any = None
        candidates: Any = Candidates()
        self.live = Live(
            nobody,
            self.room_pass,
            candidates,
            Only(),
            nobody,
            self.clock,
            self.clock.seconds,
            INTERVAL,
        )

    def turn(self) -> Turn:
        """Begin a turn of the room."""
        self.live.wake(ROOM)
        turn: Turn = self.room_pass.turns[-1]
        return turn


def test_the_loops_turn_is_one() -> None:
    turn = Loop().turn()
    assert lacking(type(turn), Turn) == []
    assert not turn.is_poll, "it was woken"


def test_again_at_once_is_one_more_turn_after_this_one() -> None:
    loop = Loop()
    loop.turn().again(0.0)
    assert len(loop.room_pass.turns) == 1, "not two at once"
    loop.room_pass.end()
    loop.clock.advance(INTERVAL)
    assert len(loop.room_pass.turns) == 2


def test_again_later_is_a_turn_then() -> None:
    loop = Loop()
    loop.turn().again(1.5)
    loop.room_pass.end()
    loop.clock.advance(1.4)
    assert len(loop.room_pass.turns) == 1
    loop.clock.advance(0.2)
    assert len(loop.room_pass.turns) == 2


def test_time_that_was_spent_waiting_for_others_makes_no_room_slow() -> None:
    def rest(excused: float) -> float:
        """Have a turn of a second; for how long the room rests before the next."""
        loop = Loop()
        turn = loop.turn()
        loop.clock.advance(1.0)
        turn.excuse(excused)
        loop.room_pass.end()
        loop.live.wake(ROOM)
        begun = loop.clock.seconds()
        while len(loop.room_pass.turns) == 1:
            loop.clock.advance(0.1)
        return loop.clock.seconds() - begun

    assert rest(1.0) < rest(0.0)
