"""The connections to one neighbour that are kept for the next request."""

from collections.abc import Callable
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IAddress, IDelayedCall, IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Factory

from lotus_guard.neighbours.connection import Connection

IDLE_SECONDS = 30.0
"""So short that a connection is closed here before any usual server closes it: a request that was
sent into a closing connection is not repeated."""


class _Connections(Factory):
    noisy = False  # each connection would make two lines in the log

    def __init__(self, on_idle: Callable[[Connection], None]) -> None:
        self._on_idle = on_idle

    def buildProtocol(self, _address: IAddress | None) -> Connection:
        return Connection(self._on_idle)


@define(eq=False)
class Pool:
    """Keeps idle connections, at most so many to each host, and none that is being closed.

    Of an answer that is too long we read no more and close its connection, be it that all of it
    has come with that very piece. How long answers are is the clients' doing (docs/facts.md,
    LiveKit: how long an answer may be).
    """

    clock: IReactorTime
    most: int
    _idle: dict[bytes, list[tuple[float, Connection]]] = field(factory=dict, init=False)
    """By host, those first that have been idle longest."""
    _sweeping: IDelayedCall | None = field(default=None, init=False)

    def take(self, host: bytes) -> Connection | None:
        """Take out the connection that was used last; None where a new one is needed."""
        idle = self._idle.get(host)
        while idle:
            _, connection = idle.pop()
            if connection.is_idle:
                return connection
        return None

    def connect(self, host: bytes, endpoint: IStreamClientEndpoint) -> Deferred[Any]:
        """Make a connection; it is kept after each of its requests."""
        return endpoint.connect(_Connections(lambda connection: self._keep(host, connection)))

    def _keep(self, host: bytes, connection: Connection) -> None:
        if connection.transport.disconnecting:  # type: ignore[union-attr]
            return
        idle = self._idle.setdefault(host, [])
        idle.append((self.clock.seconds(), connection))
        if len(idle) > self.most:
            idle.pop(0)[1].close()
        if self._sweeping is None:
            self._sweeping = self.clock.callLater(IDLE_SECONDS, self._sweep)

    def _sweep(self) -> None:
        """Close what has been idle for long; one call of the clock's is enough for all."""
        self._sweeping, now = None, self.clock.seconds()
        for idle in self._idle.values():
            while idle and idle[0][0] + IDLE_SECONDS <= now:
                idle.pop(0)[1].close()
        oldest = [idle[0][0] for idle in self._idle.values() if idle]
        if oldest:
            left = min(oldest) + IDLE_SECONDS - now
            self._sweeping = self.clock.callLater(left, self._sweep)

    def close(self) -> Deferred[Any]:
        """Close all connections that are idle; the Deferred fires when that is done."""
        if self._sweeping is not None:
            self._sweeping.cancel()
            self._sweeping = None
        kept = [connection for idle in self._idle.values() for _, connection in idle]
        self._idle.clear()
        return gatherResults([connection.close() for connection in kept])
