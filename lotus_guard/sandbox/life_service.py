"""Keeps the sandbox's made-up people going for as long as the guard runs."""

from random import Random
from typing import Any

from twisted.application.service import Service
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from lotus_guard.sandbox.life import Life

_log = Logger()

ARRIVALS = 10
"""The first steps follow each other quickly: the page has something to show at once."""
QUICK = 0.4
PAUSES = (1.0, 4.0)
"""Seconds between two later steps, at least and at most."""

MOST_SECONDS = 10.0
"""For one step; it waits for the guard's answer."""


class LifeService(Service):
    """Has one step follow the other, one at a time."""

    def __init__(self, clock: Any, life: Life, random: Random) -> None:
        self._clock, self._life, self._random = clock, life, random
        self._steps = 0
        self._next: IDelayedCall | None = None

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._wait()

    def stopService(self) -> None:
        """Take no further step; one that waits for an answer ends by itself."""
        super().stopService()
        if self._next is not None and self._next.active():
            self._next.cancel()

    def _wait(self, _: object = None) -> None:
        if self.running:
            pause = QUICK if self._steps < ARRIVALS else self._random.uniform(*PAUSES)
            self._steps += 1
            self._next = self._clock.callLater(pause, self._step)

    def _step(self) -> None:
        step = ensureDeferred(self._life.step())
        step.addTimeout(MOST_SECONDS, self._clock)
        step.addErrback(self._stumbled)
        step.addCallback(self._wait)

    def _stumbled(self, failure: Any) -> None:
        if self.running:  # a guard that stops answers nobody
            _log.failure("A made-up person of the sandbox got no answer", failure)
