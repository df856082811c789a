"""What both ports are served with: bounded requests, bounded connections, no line in the log each.

A request has to be there as a whole within `RECEIVE_SECONDS`, however busily its client trickles;
a connection without one may idle for `IDLE_SECONDS`. Over the bound on connections, or on what is
held of unfinished requests, the one goes that has waited for its client longest.

Answers have to be read: while a client does not take in what it was told, nothing more of it is
worked on, so that one connection keeps little more than one answer in memory; after
`UNREAD_SECONDS` it is closed. (Requests come many at a time, 3,600 of the shortest in one read;
before this bound forty connections that never read made the guard grow by 690 MiB in 8 s.)

Connections have no timers of their own: they are kept in the order of their waiting, and once a
second the oldest are looked at. (To move a timer to an earlier moment, the reactor looks for it
among all timers, which many idle connections would make slow.)
"""

import time
from collections.abc import Callable
from io import BytesIO
from typing import Any

from attrs import define, field
from twisted.internet.protocol import connectionDone
from twisted.internet.task import LoopingCall
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel, _GenericHTTPChannelProtocol
from twisted.web.http_headers import Headers
from twisted.web.server import Request, Site

MOST_REQUEST = 64 * 1024
"""Bytes of a request body that anybody may send."""
MOST_DRAINED = 16 * 1024 * 1024
"""Bytes of a body that is too long which are read and dropped before the client is cut off."""
RECEIVE_SECONDS = 20.0
"""How long a request may take to arrive, from its first byte; and the first one to begin."""
IDLE_SECONDS = 60.0
"""How long a connection may be silent between two requests."""
UNREAD_SECONDS = 60.0
"""How long a client may take to read an answer, what fits into the kernel's buffers apart."""
PIECE = 16 * 1024
"""Bytes that are read at once, and bytes of answers above which a client is first to read."""
MOST_UNREAD = 256
"""Connections with more than that to read."""
SWEEP_SECONDS = 1.0
MOST_CONNECTIONS = 8192
MOST_EACH = 1024
"""Connections waiting for one client who is no proxy."""
MOST_HELD = 32 * 1024 * 1024
"""Bytes of all requests together that are not whole yet."""


TrustedBound = Callable[[bytes, Headers], int | None]
"""Tells from a request's target and headers how long its body may be, where one of our own servers
has sent it; None for everybody else's."""


class BoundedRequest(Request):
    """A request whose body is bounded and stays in memory."""

    defaultContentType = None  # upstream's silence is handed on
    content: BytesIO
    too_long = False
    most = MOST_REQUEST
    """Bytes of its body that are kept."""
    is_trusted = False
    """Whether its head proves that it comes from one of our own servers."""
    gone = False
    """Whether the client has gone away."""
    _received = 0

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory, whatever length was announced: all of the head is there."""
        self.content = BytesIO()
        channel: Any = self.channel
        trusted = channel.site.bounds(channel._path, self.requestHeaders)
        if trusted is not None:
            self.is_trusted, self.most = True, trusted
        self.too_long = length is not None and length > self.most

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a chunk of the body, or drop it where the body is too long."""
        self._received += len(data)
        if self._received > self.most:
            self.too_long = True
        if not self.too_long:
            self.content.write(data)
        elif self._received > MOST_DRAINED:
            self.loseConnection()


@define(eq=False)
class Connections:
    """All connections of one port that wait for their clients, who has waited longest first."""

    most: int = MOST_CONNECTIONS
    each: int = MOST_EACH
    is_proxy: Callable[[str | None], bool] = lambda _peer: True
    """Whether a peer stands for many: then `each` is not meant for him."""
    on_cut: Callable[[str], None] = lambda _why: None
    """Told why a connection is cut: it is `late` with a request, was `idle`, has left its answer
    `unread`, or makes `room`."""
    on_work: Callable[[str | None, int], None] = lambda _peer, _times: None
    """Told of each connection, and of each part of a request that is not whole, whose work it is;
    and by a number below 0 that it was a request's, whose client is known."""
    now: Callable[[], float] = field(default=time.monotonic, init=False)
    """Set by the port's server."""
    open: int = field(default=0, init=False)
    """How many there are, those that are being served included."""
    held: int = field(default=0, init=False)
    """Bytes of requests that are not whole yet."""
    _receiving: dict["BoundedChannel", None] = field(factory=dict, init=False)
    """Those that a request is expected of, or a part of one is there."""
    _idle: dict["BoundedChannel", None] = field(factory=dict, init=False)
    """Those that have been served and may be used again."""
    _unread: dict["BoundedChannel", float] = field(factory=dict, init=False)
    """Those whose clients do not read, and since when."""
    _closing: dict["BoundedChannel", float] = field(factory=dict, init=False)
    """Those that are closed once their clients have read the last answer, and since when."""
    _of: dict[str, dict["BoundedChannel", None]] = field(factory=dict, init=False)
    """Those waiting for one client, who is no proxy."""

    def made(self, channel: "BoundedChannel", peer: str | None) -> None:
        """Take a new connection in; where all others are being served, there is no room for it."""
        self.open += 1
        channel.host = peer
        channel.peer = None if peer is None or self.is_proxy(peer) else peer
        self._work(channel)
        channel.since = self.now()
        self._receiving[channel] = None
        own = self._own(channel)
        if own is not None:
            own[channel] = None
            if len(own) > self.each:
                self._cut(next(iter(own)))
        if self.open > self.most:
            oldest = next(iter(self._receiving))
            if oldest is channel and self._idle:
                oldest = next(iter(self._idle))
            self._cut(oldest)

    def begins(self, channel: "BoundedChannel") -> None:
        """Note the first byte of another request."""
        if self._idle.pop(channel, channel) is None:
            channel.since = self.now()
            self._receiving[channel] = None

    def hold(self, channel: "BoundedChannel", size: int) -> None:
        """Count what has come of a request that is not whole."""
        channel.held += size
        self.held += size
        self._work(channel)
        if self.held > MOST_HELD:
            self._make_room()

    def _make_room(self) -> None:
        """Cut as many as it takes: the oldest may hold less than what has just come."""
        for oldest in [each for each in self._receiving if each.held]:
            if self.held <= MOST_HELD:
                break
            self._cut(oldest)

    def serves(self, channel: "BoundedChannel") -> None:
        """Note that a request is whole: it is for us to do something now."""
        self._receiving.pop(channel, None)
        self._idle.pop(channel, None)
        self.held -= channel.held
        channel.held = 0
        if channel.parts:
            self.on_work(channel.host, -channel.parts)
            channel.parts = 0
        own = self._own(channel)
        if own is not None:
            own.pop(channel, None)
            if not own and channel.peer:
                self._of.pop(channel.peer, None)

    def served(self, channel: "BoundedChannel", is_idle: bool) -> None:
        """Note that a request has been answered; a part of the next may be there already."""
        channel.since = self.now()
        (self._idle if is_idle else self._receiving)[channel] = None
        own = self._own(channel)
        if own is not None:
            own[channel] = None

    def stuck(self, channel: "BoundedChannel") -> None:
        """Note that a client does not read; of too many, the one who has not for longest goes."""
        self._unread.setdefault(channel, self.now())
        if len(self._unread) > MOST_UNREAD:
            self._cut(next(iter(self._unread)))

    def unstuck(self, channel: "BoundedChannel") -> None:
        """Note that a client has read all there was."""
        self._unread.pop(channel, None)

    def closes(self, channel: "BoundedChannel") -> None:
        """Note that a connection is closed as soon as its client has read the last answer."""
        self._closing[channel] = self.now()

    def sweep(self) -> None:
        """Cut those that have waited too long for their clients."""
        for unread in (self._unread, self._closing):
            while unread:
                channel, since = next(iter(unread.items()))
                if self.now() - since < UNREAD_SECONDS:
                    break
                self._cut(channel, "unread")
        for channels, seconds in ((self._receiving, RECEIVE_SECONDS), (self._idle, IDLE_SECONDS)):
            while channels:
                oldest = next(iter(channels))
                if self.now() - oldest.since < seconds:
                    break
                self._cut(oldest, "idle" if channels is self._idle else "late")

    def lost(self, channel: "BoundedChannel") -> None:
        """Note that a connection is no more."""
        self.open -= 1
        self._forget(channel)
        channel.parts = 0  # that work was for nobody
        self.serves(channel)

    def _work(self, channel: "BoundedChannel") -> None:
        channel.parts += 1
        self.on_work(channel.host, 1)

    def _own(self, channel: "BoundedChannel") -> dict["BoundedChannel", None] | None:
        return self._of.setdefault(channel.peer, {}) if channel.peer else None

    def _forget(self, channel: "BoundedChannel") -> None:
        self._unread.pop(channel, None)
        self._closing.pop(channel, None)

    def _cut(self, channel: "BoundedChannel", why: str = "room") -> None:
        self.on_cut(why)
        self._forget(channel)
        channel.parts = 0
        self.serves(channel)  # so that it is not cut twice
        channel.cut()


class BoundedChannel(HTTPChannel):
    """A connection that does not wait for its client for ever."""

    transport: Any
    connections: Connections
    host: str | None = None
    """The address of who has connected."""
    peer: str | None = None
    """The same; None where many come by it."""
    parts = 0
    """What has come of a request that is not whole yet: the connection, and parts of it."""
    held = 0
    """Bytes of a request that is not whole yet."""
    since = 0.0
    """Since when its client is waited for."""
    _is_idle = False

    def connectionMade(self) -> None:
        """Begin to wait for a request."""
        super().connectionMade()
        self.transport.bufferSize = PIECE
        self.connections.made(self, getattr(self.transport.getPeer(), "host", None))

    def dataReceived(self, data: bytes) -> None:
        """Take in a part of a request."""
        if self._is_idle:
            self._is_idle = False
            self.connections.begins(self)
        super().dataReceived(data)
        if not self._handlingRequest and not self._is_idle:
            most = self.requests[-1].most if self.requests else MOST_REQUEST
            room = most + self.totalHeadersSize - self.held  # of more, nothing is kept
            self.connections.hold(self, max(0, min(len(data), room)))

    def allContentReceived(self) -> None:
        """Serve a request that is whole."""
        self.connections.serves(self)
        super().allContentReceived()

    def requestDone(self, request: Any) -> None:
        """Wait for another request, if the client may send one."""
        if self._waitingForTransport:
            self._wait_for_reader()
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
        self.connections = connections or Connections()
        self.connections.now = self.reactor.seconds
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
