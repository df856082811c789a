"""The connections of one port that wait for their clients: how many, for how long, with how much.

Over the bound on connections, or on what is held of unfinished requests, the one goes that has
waited for its client longest.

Connections have no timers of their own: they are kept in the order of their waiting, and once a
second the oldest are looked at. (To move a timer to an earlier moment, the reactor looks for it
among all timers, which many idle connections would make slow.)
"""

import time
from collections.abc import Callable
from typing import Protocol

from attrs import define, field

RECEIVE_SECONDS = 20.0
"""How long a request may take to arrive, from its first byte; and the first one to begin."""
IDLE_SECONDS = 60.0
"""How long a connection may be silent between two requests."""
UNREAD_SECONDS = 60.0
"""How long a client may take to read an answer, what fits into the kernel's buffers apart."""
MOST_UNREAD = 256
"""Connections whose clients have more to read than `http_limits.PIECE`."""
MOST_CONNECTIONS = 8192
MOST_EACH = 1024
"""Connections waiting for one client who is no proxy."""
MOST_HELD = 32 * 1024 * 1024
"""Bytes of all requests together that are not whole yet."""


class Connection(Protocol):
    """One connection, with what `Connections` keeps of it."""

    host: str | None
    """The address that has connected."""
    peer: str | None
    """The same; None where many come by it."""
    parts: int
    """What has come of a request that is not whole yet: the connection, and parts of it."""
    held: int
    """Bytes of a request that is not whole yet."""
    since: float
    """Since when its client is waited for."""

    def cut(self) -> None:
        """Close it."""


@define(eq=False)
class Connections:
    """All connections of one port, those that wait for their clients in the order of waiting."""

    most: int = MOST_CONNECTIONS
    each: int = MOST_EACH
    is_proxy: Callable[[str | None], bool] = lambda _peer: True
    """Whether a peer stands for many: then `each` is not meant for it."""
    on_cut: Callable[[str], None] = lambda _why: None
    """Told why a connection is cut: it is `late` with a request, was `idle`, has left its answer
    `unread`, or makes `room`."""
    on_work: Callable[[str | None, int], None] = lambda _peer, _times: None
    """Told of each connection, and of each part of a request that is not whole, whose work it is;
    and by a number below 0 that it was a request's, whose client is known."""
    now: Callable[[], float] = time.monotonic
    open: int = field(default=0, init=False)
    """How many there are, those that are being served included."""
    held: int = field(default=0, init=False)
    """Bytes of requests that are not whole yet."""
    _receiving: dict[Connection, None] = field(factory=dict, init=False)
    """Those that a request is expected of, or a part of one is there."""
    _idle: dict[Connection, None] = field(factory=dict, init=False)
    """Those that have been served and may be used again."""
    _unread: dict[Connection, float] = field(factory=dict, init=False)
    """Those whose clients do not read, and since when."""
    _closing: dict[Connection, float] = field(factory=dict, init=False)
    """Those that are closed once their clients have read the last answer, and since when."""
    _of: dict[str, dict[Connection, None]] = field(factory=dict, init=False)
    """Those waiting for one client, who is no proxy."""

    def made(self, connection: Connection, peer: str | None) -> None:
        """Take a new connection in; where all others are being served, there is no room for it."""
        self.open += 1
        connection.host = peer
        connection.peer = None if peer is None or self.is_proxy(peer) else peer
        self._work(connection)
        connection.since = self.now()
        self._receiving[connection] = None
        own = self._own(connection)
        if own is not None:
            own[connection] = None
            if len(own) > self.each:
                self._cut(next(iter(own)))
        if self.open > self.most:
            oldest = next(iter(self._receiving))
            if oldest is connection and self._idle:
                oldest = next(iter(self._idle))
            self._cut(oldest)

    def begins(self, connection: Connection) -> None:
        """Note the first byte of another request."""
        if self._idle.pop(connection, connection) is None:
            connection.since = self.now()
            self._receiving[connection] = None

    def hold(self, connection: Connection, size: int) -> None:
        """Count what has come of a request that is not whole."""
        connection.held += size
        self.held += size
        self._work(connection)
        if self.held > MOST_HELD:
            self._make_room()

    def _make_room(self) -> None:
        """Cut as many as it takes: the oldest may hold less than what has just come."""
        for oldest in [each for each in self._receiving if each.held]:
            if self.held <= MOST_HELD:
                break
            self._cut(oldest)

    def serves(self, connection: Connection) -> None:
        """Note that a request is whole: it is for us to do something now."""
        self._receiving.pop(connection, None)
        self._idle.pop(connection, None)
        self.held -= connection.held
        connection.held = 0
        if connection.parts:
            self.on_work(connection.host, -connection.parts)
            connection.parts = 0
        own = self._own(connection)
        if own is not None:
            own.pop(connection, None)
            if not own and connection.peer:
                self._of.pop(connection.peer, None)

    def served(self, connection: Connection, is_idle: bool) -> None:
        """Note that a request has been answered; a part of the next may be there already."""
        connection.since = self.now()
        (self._idle if is_idle else self._receiving)[connection] = None
        own = self._own(connection)
        if own is not None:
            own[connection] = None

    def stuck(self, connection: Connection) -> None:
        """Note that a client does not read; of too many, the one who has not for longest goes."""
        self._unread.setdefault(connection, self.now())
        if len(self._unread) > MOST_UNREAD:
            self._cut(next(iter(self._unread)))

    def unstuck(self, connection: Connection) -> None:
        """Note that a client has read all there was."""
        self._unread.pop(connection, None)

    def closes(self, connection: Connection) -> None:
        """Note that a connection is closed as soon as its client has read the last answer."""
        self._closing[connection] = self.now()

    def sweep(self) -> None:
        """Cut those that have waited too long for their clients."""
        for unread in (self._unread, self._closing):
            while unread:
                connection, since = next(iter(unread.items()))
                if self.now() - since < UNREAD_SECONDS:
                    break
                self._cut(connection, "unread")
        for waiting, seconds in ((self._receiving, RECEIVE_SECONDS), (self._idle, IDLE_SECONDS)):
            while waiting:
                oldest = next(iter(waiting))
                if self.now() - oldest.since < seconds:
                    break
                self._cut(oldest, "idle" if waiting is self._idle else "late")

    def lost(self, connection: Connection) -> None:
        """Note that a connection is no more."""
        self.open -= 1
        self._forget(connection)
        connection.parts = 0  # that work was for nobody
        self.serves(connection)

    def _work(self, connection: Connection) -> None:
        connection.parts += 1
        self.on_work(connection.host, 1)

    def _own(self, connection: Connection) -> dict[Connection, None] | None:
        return self._of.setdefault(connection.peer, {}) if connection.peer else None

    def _forget(self, connection: Connection) -> None:
        self._unread.pop(connection, None)
        self._closing.pop(connection, None)

    def _cut(self, connection: Connection, why: str = "room") -> None:
        self.on_cut(why)
        self._forget(connection)
        connection.parts = 0
        self.serves(connection)  # so that it is not cut twice
        connection.cut()
