"""How each neighbour is reached: an HTTP agent each, with a pool of connections of its own."""

from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.web.client import Agent, HTTPConnectionPool

from lotus_guard.neighbours.http import Endpoints, KnownHosts

CONNECT_SECONDS = 5.0


@frozen
class Agents:
    """How each neighbour is reached; tests put in-memory ones here."""

    upstream: Any
    livekit: Any
    synapse: Any
    close: Callable[[], Deferred[Any]] = lambda: succeed(None)
    """Closes the connections that are kept for later."""


def pooled_agents(reactor: Any) -> Agents:
    """Make an agent for each neighbour, with a pool of connections of its own.

    Separate pools, so that a neighbour who hangs takes no connection from the others. Idle
    connections are dropped before any usual server drops them, because a request that was sent
    into a closing connection is not repeated.
    """

    pools: list[HTTPConnectionPool] = []
    endpoints = Endpoints(reactor, CONNECT_SECONDS)

    def agent(most: int) -> Agent:
        pool = _Pool(reactor, persistent=True)
        pool._factory = _QuietClients  # else each connection makes two lines in the log
        pool.maxPersistentPerHost = most
        pool.cachedConnectionTimeout = 30
        pool.retryAutomatically = False
        pools.append(pool)
        made: Agent = KnownHosts.usingEndpointFactory(reactor, endpoints, pool=pool)
        return made

    def close() -> Deferred[Any]:
        return gatherResults([pool.closeCachedConnections() for pool in pools])

    return Agents(agent(64), agent(32), agent(32), close)


class _Pool(HTTPConnectionPool):
    """Keeps no connection that we are closing.

    Of an answer that is too long we read no more and close its connection. Where all of it has
    come with that very piece, Twisted takes the connection for one to be used again, and the next
    question fails on it. How long answers are is the clients' doing (docs/facts.md, LiveKit: how
    long an answer may be).
    """

    def _putConnection(self, key: Any, connection: Any) -> None:
        if not connection.transport.disconnecting:
            super()._putConnection(key, connection)


class _QuietClients(HTTPConnectionPool._factory):  # type: ignore[misc,valid-type]
    noisy = False
