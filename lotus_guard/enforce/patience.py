"""How long somebody waits, over all that they wait for one after the other."""

from collections.abc import Callable

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime

from lotus_guard.enforce.deferreds import V, with_timeout
from lotus_guard.enforce.ports import Outage, Reason


class OutOfPatience(Outage):
    """It took longer than it is waited for: nothing more is to be tried."""

    def __init__(self) -> None:
        super().__init__(Reason.TIMEOUT, "our own deadline")


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

    async def wait(self, work: Deferred[V]) -> V:
        """Wait for something; where it takes longer it is cancelled, and OutOfPatience raised."""
        try:
            return await with_timeout(self.left, self.clock, work)
        except TimeoutError:
            raise OutOfPatience from None


async def waited(work: Deferred[V], patience: Patience | None) -> V:
    """Wait with patience, or as long as it takes; raises what the work does, or OutOfPatience."""
    return await (work if patience is None else patience.wait(work))
