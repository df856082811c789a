"""One bounded HTTP exchange: one deadline over headers and body, one bound for the body.

Used towards Synapse and LiveKit. A fresh exchange each time over one shared agent and pool: no
cookies, no redirects, no gzip asked for, nothing that one user could leave behind for another
(docs/facts.md, Twisted, Klein and treq: traps).
"""

import re
from collections.abc import Mapping
from typing import Any, cast

from attrs import define, field, frozen
from twisted.internet import defer, error
from twisted.internet.abstract import isIPAddress
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, ResponseDone, ResponseFailed
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from lotus_guard.enforce.deferreds import with_timeout
from lotus_guard.enforce.ports import Allowance, Outage, Oversized, Reason


@frozen
class HttpAnswer:
    """A whole answer, read to its end."""

    status: int
    headers: Headers
    body: bytes


@implementer(IBodyProducer)
class BytesBody:
    """A request body that is in memory already: written at once, nothing to pause."""

    def __init__(self, body: bytes) -> None:
        self.length = len(body)
        self._body = body

    def startProducing(self, consumer: Any) -> defer.Deferred[None]:
        """Write all of it."""
        consumer.write(self._body)
        return defer.succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: it has been written."""

    def resumeProducing(self) -> None:
        """Do nothing: it has been written."""

    def stopProducing(self) -> None:
        """Do nothing: it has been written."""


GLIMPSE_SECONDS = 0.1
"""For so long the beginning of a body that is too long is waited for."""


class TooLong(Exception):
    """The body is longer than it may be."""

    def __init__(self, begins: bytes) -> None:
        super().__init__()
        self.begins = begins


class BoundedBody(Protocol):
    """Collects a body up to a bound; `done` fires with all of it.

    Cancelling `done` closes the connection, so that a peer that hangs in its body leaves nothing
    open behind it.
    """

    def __init__(self, allowance: Allowance) -> None:
        self.done: defer.Deferred[bytes] = defer.Deferred(lambda _: self._close())
        self._chunks: list[bytes] = []
        self._allowance = allowance

    def dataReceived(self, data: bytes) -> None:
        """Keep a chunk, or give up."""
        left = max(0, self._allowance.left)
        self._chunks.append(data[:left])
        if not self._allowance.take(len(data)):
            self.give_up()

    def give_up(self) -> None:
        """Want no more of a body that is too long."""
        self._close()
        self._end(Failure(TooLong(self.so_far)))

    @property
    def so_far(self) -> bytes:
        """What has come."""
        return b"".join(self._chunks)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hand over what came, or why it did not."""
        if reason.check(ResponseDone, PotentialDataLoss):
            self._end(self.so_far)
        else:
            self._end(reason)

    def _end(self, result: bytes | Failure) -> None:
        if not self.done.called:
            self.done.callback(cast(bytes, result))

    def _close(self) -> None:
        transport = self.transport
        if transport is not None:
            # An HTTP/1.1 body's transport stands for the connection itself; abort rather than
            # wait for buffers of a peer that does not read.
            getattr(transport, "abortConnection", transport.loseConnection)()


@implementer(IAgentEndpointFactory)
class Endpoints:
    """Makes the endpoints of an agent; plain TCP where the host is an address already.

    Twisted's HostnameEndpoint waits 0.3 s before it believes that a connection was refused, for
    another address of the name might do. That would be a third of our deadline.
    """

    def __init__(self, reactor: Any, seconds: float) -> None:
        self._reactor = reactor
        self._seconds = seconds
        self._tls = BrowserLikePolicyForHTTPS()

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Make the endpoint that an URL wants."""
        host = uri.host.decode("ascii")
        if isIPAddress(host):
            endpoint: Any = TCP4ClientEndpoint(self._reactor, host, uri.port, self._seconds)
        else:
            endpoint = HostnameEndpoint(self._reactor, uri.host, uri.port, self._seconds)
        if uri.scheme == b"https":
            endpoint = wrapClientTLS(self._tls.creatorForNetloc(uri.host, uri.port), endpoint)
        wanted: IStreamClientEndpoint = endpoint
        return wanted


_PRINTABLE = re.compile(rb"[\x21-\x7e]+")


class KnownHosts(Agent):
    """An agent that parses the address of a host once: that is half of what an agent costs.

    For hosts of the configuration only, which are few: it forgets none.
    """

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Any:
        """Make a request; raises ValueError for an URL that could break out of its line."""
        if _PRINTABLE.fullmatch(uri) is None:
            raise ValueError("not an URL")
        slash = uri.find(b"/", len(b"https://"))
        base, target = (uri[:slash], uri[slash:]) if slash > 0 else (uri, b"/")
        known: dict[bytes, Any] = self.__dict__.setdefault("_known", {})
        if base not in known:
            parsed = URI.fromBytes(base + b"/")
            known[base] = (
                (parsed.scheme, parsed.host, parsed.port),
                self._getEndpoint(parsed),
                parsed,
            )
        key, endpoint, parsed = known[base]
        return self._requestWithEndpoint(
            key, endpoint, method, parsed, headers, bodyProducer, target
        )


@define(eq=False)
class Http:
    """Makes bounded exchanges and names what went wrong with one."""

    agent: IAgent
    clock: IReactorTime
    peer: str = field(default="", kw_only=True)
    """Whom a failure is to name."""

    async def exchange(
        self,
        method: bytes,
        url: bytes,
        headers: Mapping[bytes, bytes],
        body: bytes | None,
        *,
        seconds: float,
        most: int | Allowance,
        glimpse: int = 0,
    ) -> HttpAnswer:
        """Make one exchange in at most so many seconds with an answer of at most `most` bytes.

        An allowance may be shared by several exchanges. Of an answer that says itself that it is
        too long, `glimpse` bytes are read. Raises Outage with the class of the failure: Oversized
        with what was read of a body that is too long.
        """
        allowance = most if isinstance(most, Allowance) else Allowance(most)
        wanted = Headers({name: [value] for name, value in headers.items()})
        try:
            return await with_timeout(
                seconds,
                self.clock,
                self._exchange(method, url, wanted, body, allowance, glimpse),
            )
        except defer.CancelledError:
            raise
        except Exception as failure:
            raise outage_of(failure, self.peer) from None

    async def _exchange(
        self,
        method: bytes,
        url: bytes,
        headers: Headers,
        body: bytes | None,
        allowance: Allowance,
        glimpse: int,
    ) -> HttpAnswer:
        producer = None if body is None else BytesBody(body)
        response: IResponse = await self.agent.request(method, url, headers, producer)
        if isinstance(response.length, int) and response.length > allowance.left:
            raise TooLong(await self._glimpse(response, glimpse))
        collected = BoundedBody(allowance)
        response.deliverBody(collected)
        return HttpAnswer(response.code, response.headers, await collected.done)

    async def _glimpse(self, response: IResponse, most: int) -> bytes:
        """Read the beginning of a body that is too long, as much as comes at once."""
        collected = BoundedBody(Allowance(most))
        response.deliverBody(collected)
        reading = with_timeout(GLIMPSE_SECONDS if most else 0.0, self.clock, collected.done)
        try:
            await reading
        except defer.CancelledError:
            raise
        except Exception:
            return collected.so_far
        return collected.so_far


_CLASSES: tuple[tuple[type[Exception] | tuple[type[Exception], ...], Reason], ...] = (
    ((TimeoutError, error.TimeoutError), Reason.TIMEOUT),
    (error.DNSLookupError, Reason.DNS),
    (error.ConnectionRefusedError, Reason.REFUSED),
    ((error.ConnectError, error.ConnectionClosed, error.ConnectionLost), Reason.RESET),
)


def outage_of(failure: Exception, peer: str = "") -> Outage:
    """Put a failed exchange into its class, and name the peer where it is given.

    What is not recognised is the peer's garbage: nothing else of ours runs inside an exchange.
    """
    who = f"{peer}: " if peer else ""
    causes = [failure]
    # ResponseFailed and its kin wrap what happened to the connection.
    causes += [reason.value for reason in getattr(failure, "reasons", ())]
    if isinstance(failure, TooLong):
        return Oversized(failure.begins)
    for kinds, reason in _CLASSES:
        for cause in causes:
            if isinstance(cause, kinds):
                return Outage(reason, f"{who}{type(cause).__name__}")
    if isinstance(failure, ResponseFailed):
        return Outage(Reason.GARBAGE, who + ", ".join(type(cause).__name__ for cause in causes))
    return Outage(Reason.GARBAGE, f"{who}{type(failure).__name__}")
