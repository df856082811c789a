"""Whoever waits for several things waits for all of them together no longer than they may."""

import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.enforce.patience import OutOfPatience, Patience, waited
from tests.enforce.stand_ins import result

DEADLINE = 2.0


def made(clock: Clock) -> Patience:
    clock.advance(100.0)
    return Patience(clock, clock.seconds, clock.seconds() + DEADLINE)


def pass_time(clock: Clock, seconds: float) -> None:
    clock.advance(seconds)
    clock.advance(0.0)  # who waits looks at the sockets once more


@pytest.mark.parametrize(("share", "seconds"), [(1.0, DEADLINE), (0.5, DEADLINE / 2)])
def test_work_is_waited_for_as_long_as_its_share_of_the_time_that_is_left(
    share: float, seconds: float
) -> None:
    clock, stuck = Clock(), Deferred[int]()
    waiting = ensureDeferred(made(clock).share(share).wait(stuck, "Synapse"))
    pass_time(clock, seconds - 0.01)
    assert not waiting.called
    pass_time(clock, 0.02)
    failed = result(waiting)
    assert failed.check(OutOfPatience)
    assert failed.value.detail == f"no answer from Synapse within {seconds:g} s"
    assert stuck.called, "nobody waits for it any more"


def test_several_things_have_the_time_together_that_one_would_have() -> None:
    clock, first, second = Clock(), Deferred[int](), Deferred[int]()
    patience = made(clock)

    async def both() -> int:
        return await patience.wait(first, "a") + await patience.wait(second, "b")

    waiting = ensureDeferred(both())
    pass_time(clock, 1.5)
    first.callback(1)
    pass_time(clock, 0.4)
    assert not waiting.called
    pass_time(clock, 0.2)
    assert result(waiting).check(OutOfPatience)


def test_what_has_its_result_needs_no_timer_however_late_it_is() -> None:
    clock, done = Clock(), Deferred[int]()
    patience = made(clock)
    done.callback(7)
    clock.advance(2 * DEADLINE)
    assert patience.left < 0.0
    assert result(ensureDeferred(patience.wait(done, "c"))) == 7
    assert clock.getDelayedCalls() == []


def test_who_goes_away_leaves_no_timer_and_has_not_lost_patience() -> None:
    clock, stuck = Clock(), Deferred[int]()
    waiting = ensureDeferred(made(clock).wait(stuck, "Synapse"))
    waiting.cancel()
    assert result(waiting).check(CancelledError)
    assert clock.getDelayedCalls() == []


def test_without_a_bound_it_is_waited_for_as_long_as_it_takes() -> None:
    slow: Deferred[int] = Deferred()
    waiting = ensureDeferred(waited(slow, None, "d"))
    slow.callback(1)
    assert result(waiting) == 1
