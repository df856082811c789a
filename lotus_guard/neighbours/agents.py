"""How each neighbour is reached: an HTTP agent each, with a pool of connections of its own."""

import re
from collections.abc import Callable
from typing import Any

from attrs import frozen
from twisted.internet.abstract import isIPAddress, isIPv6Address
from twisted.internet.defer import Deferred, gatherResults, succeed
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.web.client import URI, BrowserLikePolicyForHTTPS
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface import implementer

from lotus_guard.neighbours.connection import asked
from lotus_guard.neighbours.connection_pool import Pool

CONNECT_SECONDS = 5.0
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
        return gatherResults([pool.close() for pool in pools])

    upstream, livekit, synapse = (KnownHosts(reactor, pool) for pool in pools)
    return Agents(upstream, livekit, synapse, close)


@frozen
class _Host:
    """One neighbour's address."""

    name: bytes
    """Its scheme, host and port, as in a URL."""
    field: bytes
    """What the `Host` header says."""
    endpoint: IStreamClientEndpoint


@implementer(IAgent)
class KnownHosts:
    """An agent that parses the address of a host once: that is half of what Twisted's agent costs.

    For hosts of the configuration only, which are few: it forgets none.
    """

    def __init__(self, reactor: Any, pool: Pool) -> None:
        self._pool = pool
        self._clock = reactor
        self._tls = BrowserLikePolicyForHTTPS()
        self._hosts: dict[bytes, _Host] = {}

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: Any = None,
    ) -> Deferred[Any]:
        """Make a request, with a `BytesBody` or none.

        Raises ValueError for a URL or a header that could break out of its line.
        """
        if _PRINTABLE.fullmatch(uri) is None:
            raise ValueError("not a URL")
        slash = uri.find(b"/", len(b"https://"))
        base, target = (uri[:slash], uri[slash:]) if slash > 0 else (uri, b"/")
        host = self._hosts.get(base) or self._parsed(base)
        body = None if bodyProducer is None else bodyProducer.body
        wanted = asked(method, uri, target, host.field, headers or Headers(), body)
        connection = self._pool.take(host.name)
        if connection is not None:
            return connection.request(wanted)
        connecting = self._pool.connect(host.name, host.endpoint)
        return connecting.addCallback(lambda connection: connection.request(wanted))

    def _parsed(self, base: bytes) -> _Host:
        uri = URI.fromBytes(base + b"/")
        named = b"[%b]" % uri.host if isIPv6Address(uri.host.decode("ascii")) else uri.host
        is_usual = (uri.scheme, uri.port) in ((b"http", 80), (b"https", 443))
        host = _Host(base, named if is_usual else b"%b:%d" % (named, uri.port), self._endpoint(uri))
        self._hosts[base] = host
        return host

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
