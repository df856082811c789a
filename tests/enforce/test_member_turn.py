"""Who was put out is looked at again, at once or later."""

from twisted.internet.task import Clock

from lotus_guard.enforce.member_turn import LookAgain
from lotus_guard.enforce.turn import Turn
from tests.fulfilled import lacking


def test_it_is_a_turn() -> None:
    assert lacking(LookAgain, Turn) == []


def test_it_looks_when_it_is_time() -> None:
    clock, looks = Clock(), list[float]()
    turn = LookAgain(lambda: looks.append(clock.seconds()), clock)
    turn.excuse(5.0)
    turn.again(0.0)
    turn.again(2.0)
    clock.pump([0.0, 1.0, 1.0])
    assert looks == [0.0, 2.0]
