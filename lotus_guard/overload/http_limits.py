"""What all ports are served with: bounded requests, bounded connections, no line in the log each.

A request has to be there as a whole within `connections.RECEIVE_SECONDS`, however busily its client
trickles; a connection without one may idle for `connections.IDLE_SECONDS`.

Answers have to be read: while a client does not take in what it was told, nothing more of it is
worked on, so that one connection keeps little more than one answer in memory; after
`connections.UNREAD_SECONDS` it is closed. (Requests come many at a time, 3,600 of the shortest in
one read; without this bound forty connections that never read made the guard grow by 690 MiB in
8 s.)
"""

from collections.abc import Callable
from io import BytesIO
from typing import Any

from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, _GenericHTTPChannelProtocol
from twisted.web.http_headers import Headers
from twisted.web.server import Request, Site

from lotus_guard.overload.connections import Connections
from lotus_guard.overload.request_head import Head, read_head

MOST_REQUEST = 64 * 1024
"""Bytes of a request body that anybody may send."""
MOST_DRAINED = 16 * 1024 * 1024
"""Bytes of a body that is too long which are read and dropped before the client is cut off."""
MOST_NAME = 256
"""Bytes of a header's name."""
PIECE = 16 * 1024
"""Bytes that are read at once, and bytes of answers above which a client is first to read."""
SWEEP_SECONDS = 1.0

TrustedBound = Callable[[bytes, Headers], int | None]
"""How long a request's body may be, by its target and headers, if one of our own servers sent it;
None for everybody else's."""


class BoundedRequest(Request):
    """A request whose body is bounded and stays in memory."""

    defaultContentType = None  # upstream's silence is handed on
    content: BytesIO
    too_long = False
    most = MOST_REQUEST
    """Bytes of its body that are kept."""
    is_trusted = False
    """Whether its head proves that it comes from one of our own servers."""
    _received = 0

    def gotLength(self, length: int | None, target: bytes | None = None) -> None:
        """Keep the body in memory, whatever length was announced: all of the head is there."""
        self.content = BytesIO()
        channel: Any = self.channel
        target = channel._path if target is None else target
        trusted = channel.site.bounds(target, self.requestHeaders)
        if trusted is not None:
            self.is_trusted, self.most = True, trusted
        self.too_long = length is not None and length > self.most

    def parseCookies(self) -> None:
        """Read none: nobody here knows any."""

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a chunk of the body, or drop it where the body is too long."""
        self._received += len(data)
        if self._received > self.most:
            self.too_long = True
        if not self.too_long:
            self.content.write(data)
        elif self._received > MOST_DRAINED:
            self.loseConnection()


class BoundedChannel(HTTPChannel):
    """A connection that does not wait for its client for ever."""

    transport: Any
    requests: list[Any]
    connections: Connections
    host: str | None = None
    peer: str | None = None
    parts = 0
    held = 0
    since = 0.0
    _is_idle = False
    _is_afresh = True
    """Whether Twisted has read nothing since the last whole request, not even an empty line."""
    _can_send = False
    _addresses: tuple[Any, Any]

    def connectionMade(self) -> None:
        """Begin to wait for a request."""
        super().connectionMade()
        self.transport.bufferSize = PIECE
        # Of its class: a TLS transport would hand the name to the socket below it.
        self._can_send = hasattr(type(self.transport), "writeSomeData")
        self._addresses = self.transport.getPeer(), self.transport.getHost()
        self.connections.made(self, getattr(self.getPeer(), "host", None))

    def getPeer(self) -> Any:
        """The client's address, which each request asks for."""
        return self._addresses[0]

    def getHost(self) -> Any:
        """The address that the client has connected to, which each request asks for."""
        return self._addresses[1]

    def dataReceived(self, data: bytes) -> None:
        """Take in a part of a request."""
        if self._is_idle:
            self._is_idle = False
            self.connections.begins(self)
        rest = self._take_head(data)
        if rest is None:
            return
        super().dataReceived(rest)
        if not self._handlingRequest and not self._is_idle:
            most = self.requests[-1].most if self.requests else MOST_REQUEST
            room = most + self.totalHeadersSize - self.held  # of more, nothing is kept
            self.connections.hold(self, max(0, min(len(data), room)))

    def _take_head(self, data: bytes) -> bytes | None:
        """Take in a head that has come in one piece; returns what Twisted is to read.

        None where that is all of a request, which has been served.
        """
        is_new = self.line_mode and not (self.requests or self._buffer)
        if not is_new or self.paused or self.transport.disconnecting:
            return data
        head = read_head(data)
        if head is not None and self._is_afresh and head.is_whole_in(data, MOST_REQUEST):
            self._serve_whole(head, data[head.size :])
            return None
        if head is None:
            return data
        self.lineReceived(head.request_line)
        self.requests[-1].requestHeaders._rawHeaders.update(head.headers)
        if head.length is not None:
            self.headerReceived(b"Content-Length: " + head.length)
        # Before it is served: whoever is asked whether the connection is idle must see the rest.
        self._buffer = data[head.size :]
        self.lineReceived(b"")
        return b""

    def _serve_whole(self, head: Head, body: bytes) -> None:
        """Serve a request of which all has come in one piece, and nothing else.

        In all that it leaves behind it is as if Twisted had read it.
        """
        method, target, version = head.request_line.split(b" ")
        request: Any = self.requestFactory(self)
        self.requests.append(request)
        headers = request.requestHeaders._rawHeaders
        headers.update(head.headers)
        if head.length is not None:
            headers[b"Content-Length"] = [head.length]
        self.persistent = self.checkPersistence(request, version)
        request.gotLength(len(body), target)
        request.handleContentChunk(body)
        self._handlingRequest = True
        self.setRawMode()
        self.connections.serves(self)
        request.requestReceived(method, target, version)

    def lineReceived(self, line: bytes) -> None:
        """Take in a line of a head, or an empty one before it."""
        self._is_afresh = False
        super().lineReceived(line)

    def headerReceived(self, line: bytes) -> bool:
        """Take in a header; one with an endless name is refused.

        Twisted remembers 10,000 names for ever, however long. An empty line it answers with 400.
        """
        is_endless = len(line.partition(b":")[0]) > MOST_NAME
        return bool(super().headerReceived(b"" if is_endless else line))

    def allContentReceived(self) -> None:
        """Serve a request that is whole."""
        self._is_afresh = True
        self.connections.serves(self)
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """Wait for another request, if the client may send one."""
        if self._waitingForTransport:
            self._wait_for_reader()
        if self.persistent and not self._dataBuffer:
            # Nothing has come meanwhile, so reading has never stopped: there is none to resume.
            del self.requests[0]
            self._handlingRequest = False
            self.setLineMode()
        else:
            super().requestDone(request)
        if not self.persistent:
            self.connections.closes(self)
        if not self.persistent or self._handlingRequest:
            return
        self._is_idle = not self.requests and not self._buffer
        self.connections.served(self, self._is_idle)

    def pauseProducing(self) -> None:
        """Let the client read first; between two requests, work on no more of them meanwhile."""
        super().pauseProducing()
        self.connections.stuck(self)
        if not self._handlingRequest:
            self._wait_for_reader()

    def resumeProducing(self) -> None:
        """Go on: the client has read all there was."""
        super().resumeProducing()
        self.connections.unstuck(self)
        if self.paused and not self._handlingRequest:
            self.paused = False
            super().dataReceived(b"")

    def write_now(self, data: bytes) -> None:
        """Write, and hand it to the kernel at once where it takes it.

        Else the reactor does that in its next turn, after a look at all connections: what is left
        where this fails or has not sent all; what stands behind something else; where the
        connection is being closed, which the reactor ends; and where the client has sent more
        requests already: theirs must wait for everybody else's turn.
        """
        transport = self.transport
        has_more = self._buffer or any(self._dataBuffer)
        if self._can_send and not (
            has_more or transport.disconnecting or transport.dataBuffer or transport._tempDataLen
        ):
            sent = transport.writeSomeData(data)
            data = data[sent:] if isinstance(sent, int) else data
        if data:
            transport.write(data)

    def _wait_for_reader(self) -> None:
        """Keep what has come, as LineReceiver does where it is paused, and read no more."""
        self.paused = True
        self._networkProducer.pauseProducing()

    def cut(self) -> None:
        """Close the connection; what is left of an answer may still go out for a while."""
        if self._is_idle and not self._waitingForTransport:
            self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
            self.loseConnection()
        else:
            self.transport.abortConnection()

    def forceAbortClient(self) -> None:
        """Close the connection whatever the client makes of it, and say nothing."""
        self._abortingCall = None
        self.transport.abortConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Forget the connection."""
        self.connections.lost(self)
        super().connectionLost(reason)


class QuietSite(Site):
    """A server that writes no line per request: metrics count, and lines cost a tenth of it."""

    noisy = False

    def __init__(
        self,
        resource: Any,
        connections: Connections | None = None,
        bounds: TrustedBound = lambda _target, _headers: None,
        **more: Any,
    ) -> None:
        super().__init__(resource, timeout=None, **more)
        self.bounds = bounds
        self.connections = connections or Connections(now=self.reactor.seconds)
        self._sweeping = LoopingCall(self.connections.sweep)
        self._sweeping.clock = self.reactor

    def startFactory(self) -> None:
        """Begin to look after the connections."""
        super().startFactory()
        if not self._sweeping.running:
            self._sweeping.start(SWEEP_SECONDS, now=False)

    def stopFactory(self) -> None:
        """End that: no connection comes in any more."""
        if self._sweeping.running:
            self._sweeping.stop()
        super().stopFactory()

    def protocol(self) -> Any:
        """Make what speaks HTTP on a new connection."""
        channel = BoundedChannel()
        channel.connections = self.connections
        return _GenericHTTPChannelProtocol(channel)

    def log(self, request: Any) -> None:
        """Write nothing."""
