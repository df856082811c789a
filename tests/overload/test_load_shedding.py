"""Limiters of concurrency, lateness, and when tokens go out unguarded."""

from typing import Any

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.enforce.ports import Reason
from lotus_guard.enforce.remembered import MOST_AHEAD
from lotus_guard.enforce.roll_call import AT_ONCE
from lotus_guard.neighbours.bulkhead import for_tokens
from lotus_guard.overload.client_address import Origin
from lotus_guard.overload.fair_share import Bounds, Shares
from lotus_guard.overload.load_shedding import (
    CROWD_TOKENS,
    MANY_TOKENS,
    TICK_SECONDS,
    TOKENS,
    WAIT_SECONDS,
    ConcurrencyLimiter,
    Lag,
    LoadShedding,
    TurnedAway,
)
from lotus_guard.rules import RULES, by_event

A, B = Origin("192.0.2.1"), Origin("192.0.2.2")
CROWD = Origin("127.0.0.1", is_crowd=True)


@define
class Hall:
    """A limiter with four places; what has become of each who waits."""

    clock: Clock = field(factory=Clock)
    limiter: ConcurrencyLimiter = field(init=False)

    def __attrs_post_init__(self) -> None:
        bounds = Bounds(most=4, each=4, crowd=4, line=2, waiting=3, cap=1)
        self.limiter = ConcurrencyLimiter(Shares(bounds), self.clock)

    def wait(self, who: Origin, said: list[Any]) -> Deferred[Any]:
        waiting = ensureDeferred(self.limiter.wait(who))
        waiting.addCallbacks(lambda _: said.append("in"), lambda why: said.append(why.type))
        return waiting


def test_it_is_known_whether_anybody_waits_at_either_door() -> None:
    clock = Clock()
    load = LoadShedding(clock, clock.seconds, 1.0)
    assert not load.is_serving()
    for door in (load.requests, load.handed_on):
        assert door.enter(A)
        assert load.is_serving()
        door.leave(A)
        assert not load.is_serving()


def test_one_waits_for_a_place_and_others_come_in_before_them() -> None:
    hall, said = Hall(), list[Any]()
    assert [hall.limiter.enter(A) for _ in range(3)] == [True, True, False]
    hall.wait(A, said)
    assert hall.limiter.enter(B)
    assert said == []
    hall.limiter.leave(A)
    assert said == ["in"]


def test_who_is_over_their_line_is_turned_away_and_so_is_who_waits_too_long() -> None:
    hall, said = Hall(), list[Any]()
    assert [hall.limiter.enter(A) for _ in range(2)] == [True, True]
    for _ in range(3):
        hall.wait(A, said)
    assert said == [TurnedAway]
    hall.clock.advance(WAIT_SECONDS)
    assert said == [TurnedAway] * 3
    assert hall.limiter.shares.waiting == 0


def test_the_longest_line_makes_room_for_who_has_none() -> None:
    hall, said = Hall(), dict[str, list[Any]](a=[], b=[], c=[])
    hall.limiter.shares.bounds = Bounds(most=4, each=4, crowd=4, line=3, waiting=3, cap=1)
    while hall.limiter.enter(A) or hall.limiter.enter(B):
        pass
    for _ in range(3):
        hall.wait(A, said["a"])
    hall.wait(B, said["b"])
    assert said == {"a": [TurnedAway], "b": [], "c": []}


def test_who_goes_away_leaves_the_line() -> None:
    hall, said = Hall(), list[Any]()
    while hall.limiter.enter(A):
        pass
    first, _ = hall.wait(A, said), hall.wait(A, said)
    first.cancel()
    assert len(said) == 1
    hall.limiter.leave(A)
    assert said[1:] == ["in"]


def test_a_long_line_of_those_who_leave_at_once_is_no_deep_stack() -> None:
    clock = Clock()
    limiter = ConcurrencyLimiter(Shares(Bounds(2, 2, 2, 5000, 5000, 1)), clock)
    left = []

    async def come_and_go() -> None:
        await limiter.wait(A)
        left.append(1)
        limiter.leave(A)

    assert limiter.enter(A)
    for _ in range(5000):
        ensureDeferred(come_and_go())
    limiter.leave(A)
    assert len(left) == 5000
    assert limiter.shares.used == 0


def test_lateness_is_told_by_late_ticks_and_by_overdue_ones() -> None:
    clock = Clock()
    lag = Lag(clock.seconds)
    assert lag.seconds() == 0.0, "nobody ticks"
    lag.tick()
    clock.advance(TICK_SECONDS)
    lag.tick()
    assert lag.seconds() == 0.0
    clock.advance(TICK_SECONDS + 0.7)
    assert lag.seconds() == pytest.approx(0.7), "the next tick is overdue"
    lag.tick()
    assert lag.seconds() == pytest.approx(0.7), "it came late"
    for faded in (0.56, 0.448):
        clock.advance(TICK_SECONDS)
        lag.tick()
        assert lag.seconds() == pytest.approx(faded), "what queued up meanwhile is late as well"


def shedding(clock: Clock) -> LoadShedding:
    made = LoadShedding(clock, clock.seconds, most_lag=0.5)
    made.lag.tick()
    return made


def test_late_for_many_tokens_go_out_unguarded() -> None:
    clock = Clock()
    guard = shedding(clock)
    for number in range(10):
        guard.arrivals.count(Origin(f"192.0.2.{number}"), clock.seconds())
    assert guard.shed_reason() is None
    clock.advance(0.9)
    shed_reason = guard.shed_reason()
    assert shed_reason is not None
    assert shed_reason.reason is Reason.OVERLOAD
    assert "behind" in shed_reason.detail


@pytest.mark.parametrize("others", [0, 3, 20])
def test_late_for_one_they_do_not(others: int) -> None:
    """However late the flood of one address makes the guard, and whoever comes beside it."""
    clock = Clock()
    guard = shedding(clock)
    for number in range(others):
        guard.arrivals.count(Origin(f"198.51.100.{number}"), clock.seconds())
    for _ in range(1000):
        guard.arrivals.count(A, clock.seconds())
    clock.advance(1.5)
    assert guard.shed_reason() is None


def test_lateness_counts_so_far_as_others_have_caused_it() -> None:
    clock = Clock()
    guard = shedding(clock)
    for number in range(10):
        guard.arrivals.count(Origin(f"198.51.100.{number}"), clock.seconds())
        guard.arrivals.count(B, clock.seconds())
    clock.advance(TICK_SECONDS + 0.9)
    assert guard.shed_reason() is None, "0.9 s, of which others caused 0.45 s"
    clock.advance(0.2)
    assert guard.shed_reason() is not None


def test_many_tokens_of_many_are_too_many_and_of_few_are_not() -> None:
    clock = Clock()
    guard = shedding(clock)
    few = [Origin(f"198.51.100.{number}") for number in range(MANY_TOKENS // TOKENS.cap - 1)]
    for who in few:
        while guard.tokens.enter(who):
            pass
    assert guard.shed_reason() is None
    assert guard.tokens.enter(A), "whoever comes new is judged"
    while guard.tokens.enter(B):
        pass
    assert guard.shed_reason() is not None


def test_a_crowd_is_one_client_to_back_pressure_and_not_to_shares() -> None:
    clock = Clock()
    guard = shedding(clock)
    taken = 0
    while guard.tokens.enter(CROWD):
        taken += 1
    assert taken == CROWD_TOKENS
    assert guard.tokens.shares.spread == TOKENS.cap
    guard.tokens.shares.bounds = evolve(TOKENS, crowd=MANY_TOKENS)
    while guard.tokens.enter(CROWD):
        pass
    assert guard.tokens.shares.used == MANY_TOKENS
    taken = 0
    while guard.requests.enter(CROWD):
        taken += 1
    assert taken == 896
    assert guard.requests.enter(A)
    assert guard.shed_reason() is None


@pytest.mark.parametrize("most", [TOKENS.each, CROWD_TOKENS])
def test_the_look_ups_of_one_address_wait_for_nobody_but_others(most: int) -> None:
    """Where they waited for each other, and too long, the door would open by one address alone."""
    for questions in (len(by_event(RULES)), len(by_event(RULES)) + 1, AT_ONCE):
        at_once, _ = for_tokens(questions)
        assert (most + MOST_AHEAD) * questions <= at_once


def test_a_conference_behind_one_address_finds_room() -> None:
    """A hundred people, each with ten requests at once, on a guard that has nothing else to do."""
    clock = Clock()
    guard = shedding(clock)
    waiting = []
    for _ in range(1000):
        if not guard.requests.enter(A):
            waiting.append(ensureDeferred(guard.requests.wait(A)))
    assert len(waiting) == 1000 - 512
    assert not any(each.called for each in waiting), "nobody is turned away"
    for _ in range(1000):
        guard.requests.leave(A)
    assert all(each.called for each in waiting)


def test_work_of_a_request_that_is_whole_is_its_clients_and_no_more_its_proxys() -> None:
    """Else a proxy that hands on what comes in parts would be the one who makes the guard late."""
    clock = Clock()
    guard = shedding(clock)
    for number in range(10):
        guard.worked(CROWD, 1)
        guard.worked(CROWD, 1)
        guard.worked(CROWD, -2)
        guard.arrivals.count(Origin(f"198.51.100.{number}"), clock.seconds())
    clock.advance(0.9)
    assert guard.shed_reason() is not None


def test_work_that_comes_to_no_request_is_that_of_its_peer() -> None:
    clock = Clock()
    guard = shedding(clock)
    for number in range(10):
        guard.arrivals.count(Origin(f"198.51.100.{number}"), clock.seconds())
        guard.worked(A, 1)
        guard.worked(A, 1)
    clock.advance(0.9)
    assert guard.shed_reason() is None
