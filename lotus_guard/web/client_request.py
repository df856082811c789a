"""A request at a door: what it asks upstream for, and which client it comes from."""

from typing import Any, Protocol

from attrs import define
from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from lotus_guard.core.homeserver_wire import Sender
from lotus_guard.overload.client_address import Origin, Origins, end_of
from lotus_guard.overload.http_limits import BoundedRequest

BLIND_REQUESTS = 200
"""So many requests for tokens by proxies, none of which named a client, are worth a line."""

_log = Logger()


class ClientRequest(BoundedRequest):
    """A request whose client and whose target are known once it is at a door."""

    origin: Origin
    sender: Sender | None = None
    """For whom a homeserver hands it on; None at all other doors."""
    target = b""
    """What upstream gets as the request target."""
    is_gone = False
    """Whether the client has gone away."""

    exchange: Deferred[Any] | None = None
    """The work on it, while there is some."""

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Hand a whole request to its door.

        No door has a tree of resources, or wants a query that is taken apart, or a date on its
        answers: all that Twisted makes ready for these.
        """
        if path == b"*":
            super().requestReceived(command, path, version)
            return
        self.method, self.uri, self.clientproto = command, path, version
        self.content.seek(0)
        channel: Any = self.channel
        channel.site.resource.render(self)

    def connectionLost(self, reason: Failure) -> None:
        """End the work on it: its client has gone away."""
        super().connectionLost(reason)
        self.is_gone = True
        if self.exchange is not None:
            self.exchange.cancel()

    def answer(self, body: bytes | None) -> None:
        """Write a whole answer in one piece, once its status and its headers are set.

        Its body says how long it is; with None for it, its headers may.
        """
        if self.is_gone:
            return
        lines = [b"%b %d %b\r\n" % (self.clientproto, self.code, self.code_message)]
        for name, values in self.responseHeaders.getAllRawHeaders():
            if body is None or name != b"Content-Length":
                for value in values:
                    lines.append(b"%b: %b\r\n" % (name, value))
        lines.append(b"\r\n" if body is None else b"Content-Length: %d\r\n\r\n" % len(body))
        lines.append(body or b"")
        self.startedWriting = 1
        channel: Any = self.channel
        channel.write_now(b"".join(lines))
        self.finish()

    @property
    def peer(self) -> str | None:
        """The address that has connected; None where it has none."""
        return getattr(self.client, "host", None)

    def named_by_proxies(self) -> tuple[bytes, bytes]:
        """Return what its X-Real-IP and X-Forwarded-For say, as far as they count."""
        headers = self.requestHeaders
        return (
            end_of(headers.getRawHeaders(b"X-Real-IP")),
            end_of(headers.getRawHeaders(b"X-Forwarded-For")),
        )


class Callers(Protocol):
    """Knows which client a request comes from."""

    def of(self, request: ClientRequest) -> Origin:
        """Return the client of a request; raises Problem for one who may not ask here."""

    def note(self, who: Origin) -> None:
        """Take note of whom a request for a token came from."""


@define(eq=False)
class Clients:
    """Knows which client a request comes from, and tells the operator if nobody says so."""

    origins: Origins
    _blind: int = 0
    """Requests that a proxy made without saying for whom; None named anybody yet."""

    def of(self, request: ClientRequest) -> Origin:
        """Return the client of a request."""
        return self.origins.of(request.peer, *request.named_by_proxies())

    def note(self, who: Origin) -> None:
        """Take note of whom a request for a token came from; log it once if nobody is named."""
        if self._blind >= BLIND_REQUESTS:
            return
        self._blind = self._blind + 1 if who.is_crowd else BLIND_REQUESTS + 1
        if self._blind == BLIND_REQUESTS:
            _log.warn(
                "The first {n} token requests came from a proxy that does not name its clients, so "
                "all clients share one rate limit. Fix: let the proxy set X-Real-IP or "
                "X-Forwarded-For (docs/proxies.md).",
                n=BLIND_REQUESTS,
            )
