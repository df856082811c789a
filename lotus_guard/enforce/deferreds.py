"""Deferred helpers: work asked for by many and done once, and a deadline for a coroutine."""

from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Generic, TypeVar

from attrs import define
from twisted.internet.defer import Deferred, FirstError, ensureDeferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.python.failure import Failure

K = TypeVar("K")
V = TypeVar("V")


class SingleFlight(Generic[K, V]):
    """Runs one piece of work for a key at a time; everybody who asked gets its result.

    A client who goes away cancels their own waiting only: the others keep theirs.
    """

    def __init__(self) -> None:
        self._waiting: dict[K, list[Deferred[V]]] = {}

    def __len__(self) -> int:
        return len(self._waiting)

    def __contains__(self, key: K) -> bool:
        return key in self._waiting

    def join(self, key: K, work: Callable[[], Coroutine[Any, Any, V]]) -> Deferred[V]:
        """Wait for the work under this key, starting it where nobody has."""
        mine: Deferred[V] = Deferred()
        waiting = self._waiting.get(key)
        if waiting is not None:
            waiting.append(mine)
        else:
            self._start(key, work, [mine])
        return mine

    def begin(
        self, key: K, work: Callable[[], Coroutine[Any, Any, V]], *kinds: type[Exception]
    ) -> None:
        """Start the work under this key where nobody has, and wait for nothing.

        If it fails and nobody has joined, these kinds of failures are dropped, as `ignoring` does.
        """
        if key not in self._waiting:
            self._start(key, work, [], *kinds)

    def _start(
        self,
        key: K,
        work: Callable[[], Coroutine[Any, Any, V]],
        waiting: list[Deferred[V]],
        *kinds: type[Exception],
    ) -> None:
        self._waiting[key] = waiting
        ensureDeferred(work()).addBoth(self._land, key, kinds)

    def _land(
        self, result: V | Failure, key: K, kinds: tuple[type[Exception], ...]
    ) -> Failure | None:
        waiting = self._waiting.pop(key)
        for waiter in waiting:
            # A Failure runs the errbacks; one that was cancelled takes no notice.
            waiter.callback(result)
        if waiting or not isinstance(result, Failure) or result.check(*kinds):
            return None
        return result


async def gather_bounded(most: int, works: Iterable[Coroutine[Any, Any, V]]) -> list[V]:
    """Do all of these, at most so many at a time; returns their results in order.

    The first error ends it, and so does being cancelled: what runs is cancelled, what has not
    begun is never made (`works` is best a generator).
    """
    results: dict[int, V] = {}
    queue = iter(enumerate(works))

    async def work_off() -> None:
        for number, work in queue:
            results[number] = await work

    workers = [ensureDeferred(work_off()) for _ in range(most)]
    try:
        await gatherResults(workers, consumeErrors=True)
    except FirstError as first:
        first.subFailure.raiseException()
    finally:
        for worker in workers:
            worker.cancel()
    return [results[number] for number in sorted(results)]


def ignoring(work: Deferred[Any], *kinds: type[Exception]) -> None:
    """Drop these failures of work that nobody waits for; any other is logged as unhandled."""

    def drop(failure: Failure) -> None:
        failure.trap(*kinds)

    work.addErrback(drop)


def with_timeout(
    seconds: float, clock: IReactorTime, work: Coroutine[Any, Any, V] | Deferred[V]
) -> Deferred[V]:
    """Wait for something at most so long; then it is cancelled and TimeoutError raised.

    Where less than nothing is left, because we were late ourselves, that is at once.

    A Deferred that is handed in is the one that comes back: nobody else may be waiting on it. What
    has its result already, as with seats in memory, needs no timer.

    Twisted's own `addTimeout` says so only where the cancelled work fails with CancelledError,
    and an HTTP request that is cancelled does not.
    """

    waiting = work if isinstance(work, Deferred) else ensureDeferred(work)
    if waiting.called and not waiting.paused:
        return waiting
    deadline = _Deadline(clock, waiting.cancel)
    deadline.delayed = clock.callLater(max(0.0, seconds), deadline.is_up)
    return waiting.addBoth(deadline.over)


@define(eq=False)
class _Deadline:
    """Cancels what takes too long."""

    clock: IReactorTime
    cancel: Callable[[], None]
    delayed: IDelayedCall | None = None
    has_cancelled: bool = False

    def is_up(self) -> None:
        """Look at the sockets once more: where we were busy ourselves, the answer may be there."""
        self.delayed = self.clock.callLater(0, self.give_up)

    def give_up(self) -> None:
        """Cancel it."""
        self.delayed, self.has_cancelled = None, True
        self.cancel()

    def over(self, result: V | Failure) -> V | Failure:
        """Hand the result on; a failure after we have cancelled means that it took too long."""
        if self.delayed is not None:
            self.delayed.cancel()
        if self.has_cancelled and isinstance(result, Failure):
            raise TimeoutError
        return result
