"""How long somebody waits, over all that they wait for one after the other."""

from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from lotus_guard.enforce.deferreds import V, with_timeout
from lotus_guard.enforce.ports import Outage, Reason, no_answer


class OutOfPatience(Outage):
    """It took longer than it is waited for: nothing more is to be tried."""

    def __init__(self, whom: str, seconds: float) -> None:
        super().__init__(Reason.TIMEOUT, no_answer(whom, seconds))


@frozen
class Patience:
    """Waits until a moment, and no longer, however many things are waited for by then.

    Each thing has a timer of its own and no coroutine around it: of a token, one thing at the most
    is waited for as a rule.
    """

    clock: IReactorTime
    now: Callable[[], float]
    due: float
    """Until when, in seconds of `now`."""

    def share(self, part: float) -> "Patience":
        """For this part of the time that is left."""
        return Patience(self.clock, self.now, self.now() + max(0.0, self.left) * part)

    @property
    def left(self) -> float:
        """How many seconds are left; less than nothing where we are late."""
        return self.due - self.now()

    async def wait(self, work: Deferred[V], whom: str) -> V:
        """Wait for an answer of `whom`; a late one is cancelled, and OutOfPatience raised."""
        seconds = self.left
        try:
            return await with_timeout(seconds, self.clock, work)
        except TimeoutError:
            raise OutOfPatience(whom, seconds) from None


async def waited(work: Deferred[V], patience: Patience | None, whom: str) -> V:
    """Wait with patience for an answer of `whom`, or as long as it takes.

    Raises what the work does, or OutOfPatience.
    """
    return await (work if patience is None else patience.wait(work, whom))
