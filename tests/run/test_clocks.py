"""Where the guard takes time and chance from."""

import time
from typing import Any

import pytest
from twisted.internet.selectreactor import SelectReactor

from lotus_guard.run.clocks import Clocks, clocks_of, keep_steady


def test_the_reactor_goes_by_the_clock_that_nobody_sets() -> None:
    reactor: Any = SelectReactor()
    keep_steady(reactor)
    later = reactor.callLater(5.0, lambda: None)
    assert abs(later.getTime() - time.monotonic() - 5.0) < 1.0
    assert 4.0 < reactor.timeout() <= 5.0
    keep_steady(reactor)  # one that has something to do is left as it is
    later.cancel()


def test_the_clocks_of_this_machine() -> None:
    reactor = object()
    clocks = clocks_of(reactor)
    assert clocks.reactor is reactor
    assert abs(clocks.now() - time.monotonic()) < 1.0
    assert abs(clocks.epoch() - time.time()) < 1.0
    assert len(clocks.random(8)) == 8
    assert clocks.random(8) != clocks.random(8)


@pytest.mark.parametrize(("told", "chance"), [(b"\0" * 4, 0.0), (b"\x40\0\0\0", 0.25)])
def test_a_chance_is_a_number_below_one(told: bytes, chance: float) -> None:
    clocks = Clocks(object(), time.monotonic, time.time, lambda _size: told)
    assert clocks.chance() == chance
    most = Clocks(object(), time.monotonic, time.time, lambda size: b"\xff" * size)
    assert 0.999 < most.chance() < 1.0
