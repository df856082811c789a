"""A bound on how often something is asked."""

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from lotus_guard.enforce.ports import Now


@define(eq=False)
class RateLimiter:
    """Lets through so many look-ups a second."""

    rate: float
    clock: IReactorTime
    now: Now
    _next: float = 0.0

    async def turn(self) -> float:
        """Wait for the next turn; returns the seconds that this took."""
        turn = max(self.now(), self._next)
        wait = turn - self.now()
        self._next = turn + 1.0 / self.rate
        if wait > 0.0:
            await deferLater(self.clock, wait, lambda: None)
        return wait
