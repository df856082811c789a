"""The way to a neighbour: a bounded line before it, and a breaker (`breaker.py`).

The token path and the background (live loop, search, names) have a line each: neither can crowd
the other out, nor make it wait.
"""

from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.http_headers import Headers

from lotus_guard.enforce.deferreds import with_timeout
from lotus_guard.enforce.ports import Allowance, NotAsked, Now, Outage, Reason
from lotus_guard.neighbours.breaker import Breaker
from lotus_guard.neighbours.http import Http, HttpAnswer

IN_BACKGROUND = 16, 4096
"""Exchanges at once, and how many may wait."""
BACKGROUND_PATIENCE = 5.0
"""Seconds that an exchange in the background may wait: nobody waits for it."""

_log = Logger()


def for_tokens(questions: int) -> tuple[int, int]:
    """How many exchanges for tokens there may be at once, and how many may wait.

    `questions`: how many questions a token asks of the neighbour at once. With more rules there are
    more, and one address must not fill all places (`load_shedding.TOKENS`).
    """
    return 32 * questions, 512


class Journal(Protocol):
    """Takes note of how a neighbour is dealt with, for metrics and the log."""

    def not_asked(self, neighbour: str, why: str) -> None:
        """Count a question that was not put; `why` is `open` or `busy`."""

    def opened(self, neighbour: str, outage: Outage) -> None:
        """Note that the breaker has opened, and what happened last."""

    def closed(self, neighbour: str, seconds: float) -> None:
        """Note that the breaker has closed, so many seconds after it opened."""


@define(eq=False)
class Bulkhead:
    """At most so many exchanges at once; others wait in line, first come, first served."""

    most: int
    line: int
    clock: IReactorTime
    patience: float | None = None
    """Seconds that one may wait; None: half of the exchange's deadline, the rest being for it."""
    under_way: int = field(default=0, init=False)
    _waiting: deque[Deferred[None]] = field(factory=deque, init=False)
    _calling: bool = field(default=False, init=False)

    def enters(self) -> bool:
        """Take a place where one is free and nobody waits for it."""
        if self.under_way >= self.most or self._waiting:
            return False
        self.under_way += 1
        return True

    async def wait(self, seconds: float) -> None:
        """Wait for a place, at most so long; raises NotAsked."""
        if len(self._waiting) >= self.line:
            raise NotAsked(Reason.BUSY, f"{self.line} requests are queued for it already")
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        try:
            await with_timeout(seconds, self.clock, turn)
        except TimeoutError:
            raise self.busy() from None

    def busy(self) -> NotAsked:
        """What to raise for one who has waited in vain."""
        return NotAsked(Reason.BUSY, f"{self.most} requests to it are running already")

    def leave(self) -> None:
        """Return a place."""
        self.under_way -= 1
        if self._calling:
            return  # whom we have called has left at once: the loop below goes on
        self._calling = True
        try:
            while self._waiting and self.under_way < self.most:
                self.under_way += 1
                self._waiting.popleft().callback(None)
        finally:
            self._calling = False


@define(eq=False)
class Backend:
    """Synapse or LiveKit: knows whether it is to be asked."""

    name: str
    journal: Journal
    now: Now
    chance: Callable[[], float]
    """Gives a random number from 0 to 1."""
    probe: Callable[[], Coroutine[Any, Any, None]]
    """Asks what no client can have a hand in; raises Outage."""
    breaker: Breaker = field(factory=Breaker)
    _last: Outage | None = field(default=None, init=False)
    _opened: float = field(default=0.0, init=False)

    def check(self) -> None:
        """Raise NotAsked where the neighbour is not to be asked."""
        if self.breaker.lets_through or self._last is None:
            return
        self.probe_if_due()
        self.journal.not_asked(self.name, "open")
        raise NotAsked(self._last.reason, f"{self._last.detail}; {self.remark()}")

    def remark(self) -> str:
        """Words for the log where the neighbour is not asked; empty where it is."""
        return "" if self.breaker.lets_through else "not asked until it answers again"

    def probe_if_due(self) -> None:
        """Ask the question, if its time has come."""
        if self.breaker.is_due(self.now()):
            ensureDeferred(self._ask())

    def ended(self, outage: Outage | None) -> None:
        """Take note of how a call ended."""
        if outage is None:
            if self.breaker.succeeded():
                self.journal.closed(self.name, self.now() - self._opened)
        elif isinstance(outage, NotAsked):
            if outage.reason is Reason.BUSY:
                self.journal.not_asked(self.name, "busy")
        elif outage.reason is not Reason.OVERSIZED:  # which is a client's doing
            self._last = outage if self.breaker.lets_through else self._last
            if self.breaker.failed():
                ensureDeferred(self._ask())

    async def _ask(self) -> None:
        try:
            await self.probe()
            fine = True
        except Outage as outage:
            self._last, fine = outage, False
        except Exception:
            _log.failure("Could not probe {name}", name=self.name)
            fine = True  # a bug of ours must not keep the breaker open
        if not self.breaker.answered(fine, self.now(), self.chance()):
            return
        if fine:
            self.journal.closed(self.name, self.now() - self._opened)
        elif self._last:
            self._opened = self.now()
            self.journal.opened(self.name, self._last)


@define(eq=False)
class QueuedHttp(Http):
    """Makes exchanges with one neighbour, a bounded number at once."""

    backend: Backend
    bulkhead: Bulkhead

    async def exchange(
        self,
        method: bytes,
        url: bytes,
        headers: Mapping[bytes, bytes] | Headers,
        body: bytes | None,
        *,
        seconds: float,
        most: int | Allowance,
        glimpse: int = 0,
    ) -> HttpAnswer:
        """Make one exchange in at most so many seconds, once it is its turn; raises Outage."""
        self.backend.check()
        waits = not self.bulkhead.enters()
        if waits:
            seconds = await self._waited(seconds)
        try:
            if waits:
                self.backend.check()
            if seconds <= 0.0:  # we were late ourselves, which is no failure of the neighbour
                raise self.bulkhead.busy()
            return await super().exchange(
                method, url, headers, body, seconds=seconds, most=most, glimpse=glimpse
            )
        finally:
            self.bulkhead.leave()

    async def _waited(self, seconds: float) -> float:
        """Wait for a place; returns the seconds that are left of these."""
        begun, patience = self.clock.seconds(), self.bulkhead.patience
        if patience is not None:
            await self.bulkhead.wait(patience)
            return seconds
        await self.bulkhead.wait(seconds / 2)
        return seconds - (self.clock.seconds() - begun)
