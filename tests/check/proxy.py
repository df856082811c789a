"""A reverse proxy with a fault to choose."""

import time
from collections.abc import Callable
from email.utils import formatdate

import treq
from twisted.internet.defer import ensureDeferred
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from lotus_guard.overload.http_limits import BoundedRequest
from tests.world import reactor


class Proxy(Resource):
    """A reverse proxy with a fault to choose. By default: prefix stripped, slashes merged."""

    isLeaf = True

    def __init__(self, target: str, prefix: str = "") -> None:
        super().__init__()
        self.target, self.prefix = target, prefix
        self.strips = self.merges = True
        self.redirects_slashes = False
        self.only: tuple[str, ...] = ()
        self.cors: Callable[[BoundedRequest, int, list[str]], list[str]] | None = None
        """Gets the request, the status and Access-Control-Allow-Origin; returns what to send."""
        self.names: tuple[str, ...] = ("X-Forwarded-For", "X-Real-IP")
        """The headers in which it says for whom it asks."""
        self.hides = False
        """Whether it drops what clients say of themselves."""
        self.outer = ""
        """Sets X-Real-IP to that, as an outer proxy does whose word is handed on."""
        self.skew = 0.0
        self.page: tuple[int, bytes] | None = None
        """What is answered to everything."""

    def render(self, request: BoundedRequest) -> int:
        ensureDeferred(self._serve(request)).addErrback(lambda _: request.loseConnection())
        return NOT_DONE_YET

    async def _serve(self, request: BoundedRequest) -> None:
        path = request.uri.decode()
        if "//" in path and self.redirects_slashes:
            return self._finish(request, 301, {b"Location": [b"/"]}, b"")
        if self.merges:
            path = path.replace("//", "/")
        bare = path.removeprefix(self.prefix)
        if self.page or not path.startswith(self.prefix) or (self.only and bare not in self.only):
            status, body = self.page or (404, b"<html>\x1b[31mnothing here</html>")
            return self._finish(request, status, {b"Content-Type": [b"text/html"]}, body)
        sent = Headers(dict(request.requestHeaders.getAllRawHeaders()))
        for framing in ("Content-Length", "Host", "Connection"):
            sent.removeHeader(framing)
        if self.hides:
            sent.removeHeader("X-Real-IP")
            sent.removeHeader("X-Forwarded-For")
        for name in self.names:
            sent.setRawHeaders(name, [request.getClientAddress().host])
        if self.outer:
            sent.setRawHeaders("X-Real-IP", [self.outer])
        response = await treq.request(
            request.method.decode(),
            self.target + (bare if self.strips else path),
            data=request.content.read(),
            headers=sent,
            agent=Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False)),
            allow_redirects=False,
            unbuffered=True,
        )
        body = await treq.content(response)
        headers = dict(response.headers.getAllRawHeaders())
        return self._finish(request, response.code, headers, body)

    def _finish(
        self, request: BoundedRequest, status: int, headers: dict[bytes, list[bytes]], body: bytes
    ) -> None:
        request.setResponseCode(status)
        for name, values in headers.items():
            if name.lower() not in (b"content-length", b"transfer-encoding", b"connection"):
                request.responseHeaders.setRawHeaders(name, values)
        if self.skew:
            request.setHeader("Date", formatdate(time.time() + self.skew, usegmt=True))
        if self.cors:
            allowed = "Access-Control-Allow-Origin"
            got: list[str] = list(request.responseHeaders.getRawHeaders(allowed, []))
            request.responseHeaders.setRawHeaders(allowed, self.cors(request, status, got))
        request.write(body)
        request.finish()
