"""No more than so many a second, however many ask at once."""

from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.enforce.rate_limiter import RateLimiter


def test_the_pace_is_kept() -> None:
    clock = Clock()
    pace = RateLimiter(10.0, clock, clock.seconds)
    done: list[float] = []
    for _ in range(5):
        ensureDeferred(pace.turn()).addCallback(lambda _: done.append(round(clock.seconds(), 2)))
    clock.pump([0.1] * 5)
    assert done == [0.0, 0.1, 0.2, 0.3, 0.4]


def test_a_turn_gives_the_seconds_that_it_was_waited_for() -> None:
    clock = Clock()
    limiter = RateLimiter(2.0, clock, clock.seconds)
    waited: list[float] = []
    for _ in range(3):
        ensureDeferred(limiter.turn()).addCallback(waited.append)
    clock.pump([0.25] * 4)
    assert waited == [0.0, 0.5, 1.0]
