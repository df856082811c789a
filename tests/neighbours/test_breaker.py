"""The breaker step by step; its laws are in tests/properties/test_breaker.py."""

import pytest

from lotus_guard.neighbours.breaker import Breaker, State


def opened(now: float = 0.0) -> Breaker:
    breaker = Breaker()
    while not breaker.failed():
        pass
    breaker.answered(False, now, 1.0)
    return breaker


def test_failures_alone_do_not_open_it() -> None:
    breaker = Breaker(enough=3)
    assert [breaker.failed() for _ in range(5)] == [False, False, True, False, False]
    assert breaker.state is State.DOUBTED
    assert breaker.lets_through


def test_a_call_that_does_well_ends_the_row() -> None:
    breaker = Breaker(enough=2)
    assert not breaker.failed()
    assert not breaker.succeeded()
    assert not breaker.failed()


def test_the_question_decides() -> None:
    for fine in (True, False):
        breaker = Breaker(enough=1)
        assert breaker.failed()
        assert breaker.answered(fine, 0.0, 1.0) is not fine, "told where it changes something"
        assert breaker.lets_through is fine


def test_it_asks_once_when_the_back_off_is_over() -> None:
    breaker = opened()
    assert not breaker.is_due(0.49)
    assert breaker.is_due(0.5)
    assert not breaker.is_due(0.6), "it is being asked"
    assert not breaker.lets_through


@pytest.mark.parametrize("chance", [0.0, 1.0])
def test_each_back_off_is_twice_as_long_up_to_the_longest(chance: float) -> None:
    breaker = Breaker(enough=1)
    breaker.failed()
    breaker.answered(False, 0.0, chance)
    now, waits = 0.0, []
    for _ in range(5):
        waits.append(breaker.until - now)
        now = breaker.until
        assert breaker.is_due(now)
        breaker.answered(False, now, chance)
    share = 0.75 + 0.25 * chance
    assert waits == pytest.approx([share * each for each in (0.5, 1.0, 2.0, 2.0, 2.0)])


def test_an_answer_closes_it_and_the_next_back_off_is_short_again() -> None:
    breaker = opened()
    assert breaker.is_due(1.0)
    assert breaker.answered(True, 1.0, 1.0)
    assert breaker.state is State.CLOSED
    while not breaker.failed():
        pass
    breaker.answered(False, 1.0, 1.0)
    assert breaker.until == 1.5


def test_a_call_that_was_under_way_may_close_it_too() -> None:
    breaker = opened()
    assert breaker.succeeded()
    assert breaker.lets_through


def test_while_it_is_being_asked_only_the_answer_counts() -> None:
    breaker = opened()
    assert breaker.is_due(1.0)
    assert not breaker.succeeded()
    assert breaker.state is State.PROBED
