"""How each neighbour is reached: an HTTP agent each, with a pool of connections of its own."""

import re
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.abstract import isIPAddress
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IBodyProducer

CONNECT_SECONDS = 5.0
IDLE_SECONDS = 30
_PRINTABLE = re.compile(rb"[\x21-\x7e]+")


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

    Separate pools, so that a neighbour that hangs takes no connection from the others. Idle
    connections are dropped before any usual server drops them, because a request that was sent
    into a closing connection is not repeated.
    """
    pools = [Pool(reactor, most) for most in (64, 32, 32)]

    def close() -> Deferred[Any]:
        return gatherResults([pool.closeCachedConnections() for pool in pools])

    upstream, livekit, synapse = (KnownHosts(reactor, pool) for pool in pools)
    return Agents(upstream, livekit, synapse, close)


class Pool(HTTPConnectionPool):
    """Keeps idle connections, but none that we are closing.

    Of an answer that is too long we read no more and close its connection. Where all of it has
    come with that very piece, Twisted takes the connection for one to be used again, and the next
    question fails on it. How long answers are is the clients' doing (docs/facts.md, LiveKit: how
    long an answer may be).
    """

    retryAutomatically = False
    cachedConnectionTimeout = IDLE_SECONDS

    def __init__(self, reactor: Any, most: int) -> None:
        super().__init__(reactor, persistent=True)
        self.maxPersistentPerHost = most
        self._factory = _QuietClients

    def _putConnection(self, key: Any, connection: Any) -> None:
        if not connection.transport.disconnecting:
            super()._putConnection(key, connection)


class _QuietClients(HTTPConnectionPool._factory):  # type: ignore[misc,valid-type]
    noisy = False  # each connection would make two lines in the log


class KnownHosts(Agent):
    """An agent that parses the address of a host once: that is half of what an agent costs.

    For hosts of the configuration only, which are few: it forgets none.
    """

    def __init__(self, reactor: Any, pool: HTTPConnectionPool) -> None:
        super().__init__(reactor, pool=pool)
        self._clock = reactor
        self._tls = BrowserLikePolicyForHTTPS()
        self._hosts: dict[bytes, tuple[URI, IStreamClientEndpoint]] = {}

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Any:
        """Make a request; raises ValueError for a URL that could break out of its line."""
        if _PRINTABLE.fullmatch(uri) is None:
            raise ValueError("not a URL")
        slash = uri.find(b"/", len(b"https://"))
        base, target = (uri[:slash], uri[slash:]) if slash > 0 else (uri, b"/")
        if base not in self._hosts:
            parsed = URI.fromBytes(base + b"/")
            self._hosts[base] = parsed, self._endpoint(parsed)
        parsed, endpoint = self._hosts[base]
        key = (parsed.scheme, parsed.host, parsed.port)
        return self._requestWithEndpoint(
            key, endpoint, method, parsed, headers, bodyProducer, target
        )

    def _endpoint(self, uri: URI) -> IStreamClientEndpoint:
        """Make the way to a host; plain TCP where that is an address already.

        Twisted's HostnameEndpoint waits 0.3 s before it believes that a connection was refused,
        for another address of the name might do. That would be a third of our deadline.
        """
        host = uri.host.decode("ascii")
        if isIPAddress(host):
            endpoint: Any = TCP4ClientEndpoint(self._clock, host, uri.port, CONNECT_SECONDS)
        else:
            endpoint = HostnameEndpoint(self._clock, uri.host, uri.port, CONNECT_SECONDS)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._tls.creatorForNetloc(uri.host, uri.port), endpoint)
        wanted: IStreamClientEndpoint = endpoint
        return wanted
