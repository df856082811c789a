"""SIGHUP, early, often, and by the reactor."""

import os
import signal
from collections.abc import Callable

from attrs import define, field

from lotus_guard.run.hangup import Hangups


def test_a_sighup_that_comes_early_is_acted_on_later_and_many_are_one() -> None:
    before = signal.getsignal(signal.SIGHUP)
    hangups, done = Hangups(), list[str]()
    try:
        hangups.catch()
        os.kill(os.getpid(), signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
    reactor = Threadless()
    hangups.lead_to(reactor, lambda: done.append("reloaded"))
    reactor.turn()
    assert done == ["reloaded"]
    for _ in range(1000):
        hangups.came()
    assert len(reactor.waiting) == 1
    reactor.turn()
    hangups.came()
    reactor.turn()
    assert len(done) == 3


@define
class Threadless:
    """As much of a reactor as a signal's handler may use."""

    waiting: list[Callable[[], None]] = field(factory=list)

    def callFromThread(self, work: Callable[[], None]) -> None:
        self.waiting.append(work)

    def turn(self) -> None:
        while self.waiting:
            self.waiting.pop(0)()
