"""treq's client without what it would carry from one user to another.

As it comes, one `HTTPClient` has one cookie jar for all users, follows redirects, and asks for gzip
in each request (docs/facts.md, Twisted, Klein and treq: traps).
"""

from http.cookiejar import CookieJar
from typing import Any

from attrs import frozen
from hyperlink import EncodedURL
from treq.client import HTTPClient
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IBodyProducer, IResponse
from zope.interface import implementer

from lotus_guard.neighbours.bodies import BytesBody


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
        if headers is not None:  # a copy of treq's own, which asks for gzip in it
            headers.removeHeader(b"Accept-Encoding")
        answered = self.agent.request(method, uri, headers, bodyProducer)
        return answered.addCallback(_as_it_is)


def _as_it_is(response: IResponse) -> IResponse:
    response.headers.removeHeader(b"Content-Encoding")
    return response


class Client:
    """Makes requests over one agent; each answer is the caller's to read, and to bound."""

    def __init__(self, agent: IAgent, clock: IReactorTime) -> None:
        self._treq = HTTPClient(Uncompressed(agent), _NO_COOKIES, BytesBody)
        self._clock: Any = clock

    def request(
        self, method: bytes, url: bytes, headers: Headers, body: bytes | None
    ) -> Deferred[IResponse]:
        """Make a request; its Deferred fires once the headers of the answer have come."""
        answered: Any = self._treq.request(
            method.decode("ascii"),
            ReadyUrl(url.decode("ascii")),
            headers=headers,
            data=body,
            cookies=_NO_COOKIES,
            allow_redirects=False,
            unbuffered=True,
            reactor=self._clock,
        )
        wanted: Deferred[IResponse] = answered
        return wanted
