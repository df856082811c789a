"""Work that many ask for is done once, and nobody waits for ever."""

from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lotus_guard.enforce.deferreds import SingleFlight, gather_bounded, ignoring, with_timeout


class Trouble(Exception):
    """What a test makes fail."""


def heard(waiting: Deferred[Any]) -> list[Any]:
    """What comes of it, once it does: a result, or the type of an error."""
    said: list[Any] = []
    waiting.addCallbacks(said.append, lambda failure: said.append(failure.type))
    return said


# One piece of work for a key.


def test_whoever_asks_meanwhile_gets_the_result_of_the_one_piece_of_work() -> None:
    flights, under_way, begun = SingleFlight[str, int](), Deferred[int](), list[int]()

    async def work() -> int:
        begun.append(1)
        return await under_way

    first, second = heard(flights.join("a", work)), heard(flights.join("a", work))
    assert "a" in flights
    assert (len(begun), len(flights)) == (1, 1)
    under_way.callback(7)
    assert (first, second) == ([7], [7])
    assert len(flights) == 0


def test_another_key_is_other_work_and_so_is_the_same_one_later() -> None:
    flights, begun = SingleFlight[str, int](), list[int]()

    async def work() -> int:
        begun.append(1)
        return len(begun)

    assert heard(flights.join("a", work)) == [1]
    assert heard(flights.join("b", work)) == [2]
    assert heard(flights.join("a", work)) == [3]


def test_a_failure_is_everybodys_and_does_not_stay() -> None:
    flights, under_way = SingleFlight[str, int](), Deferred[int]()

    async def work() -> int:
        return await under_way

    first, second = heard(flights.join("a", work)), heard(flights.join("a", work))
    under_way.errback(Trouble())
    assert (first, second) == ([Trouble], [Trouble])
    assert "a" not in flights


@pytest.mark.parametrize("who", [0, 1])
def test_who_goes_away_takes_the_result_from_nobody(who: int) -> None:
    flights, under_way = SingleFlight[str, int](), Deferred[int]()

    async def work() -> int:
        return await under_way

    waiting = [flights.join("a", work), flights.join("a", work)]
    said = list(map(heard, waiting))
    waiting[who].cancel()
    assert said[who] == [CancelledError]
    under_way.callback(7)
    assert said[1 - who] == [7]


# Many, a few at a time.


class Works:
    """Pieces of work that end when a test says so."""

    def __init__(self, number: int) -> None:
        self.begun: list[int] = []
        self.cancelled: list[int] = []
        self.ends = [self.end(each) for each in range(number)]

    def end(self, number: int) -> Deferred[int]:
        return Deferred(lambda _: self.cancelled.append(number))

    def __iter__(self) -> Iterator[Any]:
        return (self.work(number) for number in range(len(self.ends)))

    async def work(self, number: int) -> int:
        self.begun.append(number)
        return await self.ends[number]


def test_so_many_at_a_time_and_the_results_in_order() -> None:
    works = Works(4)
    said = heard(ensureDeferred(gather_bounded(2, works)))
    assert works.begun == [0, 1]
    works.ends[1].callback(11)
    assert works.begun == [0, 1, 2]
    works.ends[2].callback(12)
    works.ends[3].callback(13)
    assert said == []
    works.ends[0].callback(10)
    assert said == [[10, 11, 12, 13]]


def test_nothing_to_do_is_done() -> None:
    assert heard(ensureDeferred(gather_bounded(3, iter(())))) == [[]]


def test_the_first_error_ends_it_all() -> None:
    works = Works(4)
    said = heard(ensureDeferred(gather_bounded(2, works)))
    works.ends[1].errback(Trouble())
    assert said == [Trouble]
    assert works.cancelled == [0], "what ran beside it"
    assert works.begun == [0, 1], "what had not begun never does"


def test_who_goes_away_ends_it_all() -> None:
    works = Works(3)
    gathering = ensureDeferred(gather_bounded(2, works))
    said = heard(gathering)
    gathering.cancel()
    assert said == [CancelledError]
    assert works.cancelled == [0, 1]
    assert works.begun == [0, 1]


# What nobody waits for.


def test_only_the_named_failures_are_dropped() -> None:
    expected, other = Deferred[None](), Deferred[None]()
    for each in (expected, other):
        ignoring(each, Trouble)
    expected.errback(Trouble())
    other.errback(KeyError())
    assert heard(expected) == [None]
    assert heard(other) == [KeyError]


# A deadline.


def test_what_comes_in_time_comes_as_it_is_and_leaves_no_call_behind() -> None:
    clock = Clock()
    results: list[Any] = []
    for outcome in (7, Failure(Trouble())):
        work = Deferred[Any]()
        results.append(heard(with_timeout(2.0, clock, work)))
        clock.advance(1.9)
        work.callback(outcome)
    assert results == [[7], [Trouble]]
    assert clock.getDelayedCalls() == []


@pytest.mark.parametrize("seconds", [2.0, -2.0])
def test_what_has_its_result_already_needs_no_timer(seconds: float) -> None:
    calls: list[Any] = []

    class Counting(Clock):
        def callLater(self, *call: Any, **more: Any) -> Any:
            calls.append(call)
            return super().callLater(*call, **more)

    async def work() -> int:
        return 7

    clock = Counting()
    assert heard(with_timeout(seconds, clock, work())) == [7]
    assert heard(with_timeout(seconds, clock, succeed(7))) == [7]
    assert heard(with_timeout(seconds, clock, fail(Trouble()))) == [Trouble]
    assert calls == []


def test_what_has_a_result_that_waits_for_another_has_a_deadline() -> None:
    clock = Clock()
    chained = succeed(1).addCallback(lambda _: Deferred[int]())
    said = heard(with_timeout(2.0, clock, chained))
    assert said == []
    clock.pump([2.0, 0.0])
    assert said == [TimeoutError]


def test_what_takes_too_long_is_cancelled() -> None:
    clock, cancelled = Clock(), list[int]()
    said = heard(with_timeout(2.0, clock, Deferred[int](lambda _: cancelled.append(1))))
    clock.advance(1.9)
    assert (said, cancelled) == ([], [])
    clock.advance(0.1)
    assert (said, cancelled) == ([TimeoutError], [1])


@pytest.mark.parametrize("seconds", [0.0, -2.0])
def test_where_nothing_is_left_it_has_taken_too_long_already(seconds: float) -> None:
    """As where the reactor was late before the work could begin."""
    clock = Clock()
    work: Deferred[str] = Deferred()
    said = heard(with_timeout(seconds, clock, work))
    clock.pump([0.0, 0.0])
    assert said == [TimeoutError]
    assert not clock.getDelayedCalls()


def test_an_answer_that_came_while_we_were_busy_ourselves_is_in_time() -> None:
    clock, work = Clock(), Deferred[int]()
    said = heard(with_timeout(2.0, clock, work))
    clock.callLater(3.0, work.callback, 7)
    clock.advance(5.0)
    assert said == [7], "the sockets are looked at once more"


def test_work_that_fails_in_its_own_way_when_cancelled_took_too_long_all_the_same() -> None:
    clock = Clock()
    work: Deferred[int] = Deferred(lambda mine: mine.errback(Trouble()))
    said = heard(with_timeout(2.0, clock, work))
    clock.pump([2.0, 0.0])
    assert said == [TimeoutError]


def test_work_that_has_a_result_even_so_keeps_it() -> None:
    clock = Clock()
    work: Deferred[int] = Deferred(lambda mine: mine.callback(7))
    said = heard(with_timeout(2.0, clock, work))
    clock.pump([2.0, 0.0])
    assert said == [7]


def test_who_cancels_before_the_deadline_hears_that_and_no_timeout() -> None:
    clock = Clock()
    waiting = with_timeout(2.0, clock, Deferred[int]())
    said = heard(waiting)
    waiting.cancel()
    clock.pump([2.0, 0.0])
    assert said == [CancelledError]


def test_a_coroutine_has_a_deadline_as_well() -> None:
    clock, under_way = Clock(), Deferred[int]()

    async def work() -> int:
        return await under_way

    said = heard(with_timeout(2.0, clock, work()))
    clock.pump([2.0, 0.0])
    assert said == [TimeoutError]
    assert heard(under_way) == [None], "and what it waited for is cancelled"
