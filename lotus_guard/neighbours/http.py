"""One bounded HTTP exchange by treq: one deadline over headers and body, one bound for the body.

For all but the token path (`upstream.py`). No cookies, no redirects, no compression: nothing that
one user could leave behind for another, nothing whose size we do not know (docs/facts.md, Twisted,
Klein and treq: traps).
"""

import re
from collections.abc import Mapping
from http.cookiejar import CookieJar
from typing import Any

from attrs import define, field, frozen
from hyperlink import EncodedURL
from treq.client import HTTPClient
from twisted.internet import defer, error
from twisted.internet.abstract import isIPAddress
from twisted.internet.endpoints import HostnameEndpoint, TCP4ClientEndpoint, wrapClientTLS
from twisted.internet.interfaces import IReactorTime, IStreamClientEndpoint
from twisted.web.client import URI, Agent, BrowserLikePolicyForHTTPS, ResponseFailed
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from lotus_guard.enforce.deferreds import with_timeout
from lotus_guard.enforce.ports import Allowance, Outage, Oversized, Reason
from lotus_guard.neighbours.bodies import AnswerBody, BytesBody, TooLong, collect


@frozen
class HttpAnswer:
    """A whole answer, read to its end."""

    status: int
    headers: Headers
    body: bytes


GLIMPSE_SECONDS = 0.1
"""For so long the beginning of a body that is too long is waited for."""


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


class NoCookies(CookieJar):
    """Keeps nothing: treq would keep one user's cookies and send them for all others."""

    def extract_cookies(self, *_answer: Any) -> None:
        """Take none."""

    def add_cookie_header(self, *_request: Any) -> None:
        """Add none."""

    def set_cookie(self, *_cookie: Any) -> None:
        """Keep none."""


_NO_COOKIES: Any = NoCookies()  # to treq it must be a jar of its own


class ReadyUrl(EncodedURL):
    """A URL that goes out as it is written: every id in it has been quoted.

    To parse it and to write it again, as treq does with text, takes four times as long as all else
    that treq does.
    """

    def __init__(self, text: str) -> None:
        self._text = text

    def to_uri(self) -> "ReadyUrl":
        """Return it as it is."""
        return self

    def to_text(self, with_password: bool = False) -> str:
        """Return its text."""
        return self._text


@implementer(IAgent)
@frozen
class Uncompressed:
    """An agent that asks for no compression, and leaves what is compressed as it is.

    treq asks for gzip with each request, and unpacks it whatever its size becomes.
    """

    agent: IAgent

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: IBodyProducer | None = None,
    ) -> Any:
        """Make a request."""
        wanted = Headers() if headers is None else headers.copy()
        wanted.removeHeader(b"Accept-Encoding")
        answered = self.agent.request(method, uri, wanted, bodyProducer)
        return answered.addCallback(_as_it_is)


def _as_it_is(response: IResponse) -> IResponse:
    response.headers.removeHeader(b"Content-Encoding")
    return response


@define(eq=False)
class Http:
    """Makes bounded exchanges and names what went wrong with one."""

    agent: IAgent
    clock: IReactorTime
    peer: str = field(default="", kw_only=True)
    """Whom a failure is to name."""
    client: HTTPClient = field(init=False, repr=False)

    def __attrs_post_init__(self) -> None:
        self.client = HTTPClient(Uncompressed(self.agent), _NO_COOKIES, BytesBody)

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
        clock: Any = self.clock
        response: IResponse = await self.client.request(
            method.decode("ascii"),
            ReadyUrl(url.decode("ascii")),
            headers=headers,
            data=body,
            cookies=_NO_COOKIES,
            allow_redirects=False,
            unbuffered=True,
            reactor=clock,
        )
        if isinstance(response.length, int) and response.length > allowance.left:
            raise TooLong(await self._glimpse(response, glimpse))
        return HttpAnswer(response.code, response.headers, await collect(response, allowance))

    async def _glimpse(self, response: IResponse, most: int) -> bytes:
        """Read the beginning of a body that is too long, as much as comes at once."""
        body = AnswerBody(Allowance(most))
        response.deliverBody(body)
        try:
            await with_timeout(GLIMPSE_SECONDS if most else 0.0, self.clock, body.ready)
        except defer.CancelledError:
            raise
        except Exception:
            return body.collected
        body.abort()
        return body.collected


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
