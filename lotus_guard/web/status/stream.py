"""Tells those who watch the status page what changed, once a second, by server-sent events.

The format is the HTML standard's (section 9.2): `event:`, `data:`, an empty line; a line that
begins with a colon is a comment. A browser's script sees no comments, so a heartbeat is both a
comment, for proxies, and an event `beat`, by which the page knows that the connection lives.
"""

import json
from collections.abc import Callable, Mapping
from functools import cache
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from lotus_guard.web.status.picture import Event, Picture, changes, pictured

_log = Logger()

MOST_VIEWERS = 16
TICK_SECONDS = 1.0
HEARTBEAT_SECONDS = 15.0
STUCK_SECONDS = 30.0
"""How long a viewer may take nothing in. One message is kept for them, not a queue."""
RETRY = b"retry: 2000\n\n"
"""Milliseconds until a browser whose connection broke comes again."""
TROUBLE: Event = ("trouble", {"why": "The guard could not describe itself; its log says why."})


class Full(Exception):
    """No more viewers are taken, or the guard is about to stop; the text says which."""


@implementer(IPushProducer)
@define(eq=False)
class Viewer:
    """One open page."""

    request: Any
    seconds: Callable[[], float]
    over: Deferred[None] = field(factory=Deferred)
    """Fires when we end it."""
    behind: bool = True
    """Whether they are to be sent everything at the next chance."""
    stuck_since: float | None = None
    """Since when their connection takes nothing more."""

    def pauseProducing(self) -> None:
        """Take note that their connection is full."""
        if self.stuck_since is None:
            self.stuck_since = self.seconds()

    def resumeProducing(self) -> None:
        """Take note that their connection has drained."""
        self.stuck_since = None

    def stopProducing(self) -> None:
        """Leave the end of the connection to `notifyFinish`."""

    def is_stuck_for(self, seconds: float) -> bool:
        """Whether their connection has taken nothing for so long."""
        return self.stuck_since is not None and self.seconds() - self.stuck_since >= seconds

    def tell(self, hello: Callable[[], bytes] | None, message: bytes) -> None:
        """Send what is new, or everything where they missed something and it can be had."""
        if self.stuck_since is not None:
            self.behind = self.behind or bool(message)
        elif self.behind and hello:
            self.behind = False
            self.request.write(hello())
        elif message:
            self.request.write(message)


@define(eq=False)
class Stream:
    """Watches a snapshot while anybody watches, and tells what changed."""

    snapshot: Callable[[], Mapping[str, Any]]
    """Gives "guard", "dependencies", "rooms" and "decisions", as `Overview.snapshot` does."""
    clock: Any
    """IReactorTime."""
    epoch: Callable[[], float]
    """Seconds since 1970."""
    _viewers: list[Viewer] = field(init=False, factory=list)
    _picture: Picture | None = field(init=False, default=None)
    _in_trouble: bool = field(init=False, default=False)
    _closed: bool = field(init=False, default=False)
    _last_said: float = field(init=False, default=0.0)
    _ticking: LoopingCall = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._ticking = LoopingCall(self._tick)
        self._ticking.clock = self.clock

    def join(self, request: Any) -> Deferred[None]:
        """Send a request everything, then what changes; fires when we end it.

        Raises Full. The request's headers must have been set.
        """
        if self._closed:
            raise Full("The guard is about to stop.")
        if len(self._viewers) >= MOST_VIEWERS:
            raise Full(
                f"{MOST_VIEWERS} pages are open already, and no more are served. "
                "Close one of them; this page then goes on by itself."
            )
        viewer = Viewer(request, self.clock.seconds)
        if not self._viewers:
            self._begin()
        self._viewers.append(viewer)
        request.notifyFinish().addBoth(self._left, viewer)
        request.registerProducer(viewer, True)
        request.write(RETRY)
        if self._in_trouble:
            viewer.tell(None, _written(TROUBLE))
        else:
            viewer.tell(self._hello, b"")
        return viewer.over

    def close(self) -> None:
        """End every stream and take no more: an open page must not hold up an orderly stop."""
        self._closed = True
        for viewer in list(self._viewers):
            self._forget(viewer)
            viewer.request.unregisterProducer()
            viewer.over.callback(None)

    def _begin(self) -> None:
        self._picture, self._in_trouble = None, False
        self._last_said = self.clock.seconds()
        self._look()
        self._ticking.start(TICK_SECONDS, now=False)

    def _left(self, _result: object, viewer: Viewer) -> None:
        self._forget(viewer)

    def _forget(self, viewer: Viewer) -> None:
        if viewer in self._viewers:
            self._viewers.remove(viewer)
            if not self._viewers:
                self._ticking.stop()
                self._picture = None

    def _tick(self) -> None:
        """Look and tell; a LoopingCall stops for good at its first error, so none here."""
        try:
            events = self._look()
            now = self.clock.seconds()
            if not events and now - self._last_said >= HEARTBEAT_SECONDS:
                events = [self._beat()]
            if events:
                self._last_said = now
            self._tell(b"".join(map(_written, events)))
        except Exception:
            _log.failure("Could not update the status page")

    def _look(self) -> list[Event]:
        """Take a picture and give what is new in it."""
        before, was_in_trouble = self._picture, self._in_trouble
        try:
            self._picture = pictured(self.snapshot(), self.epoch(), before)
        except Exception:
            self._in_trouble = True
            if was_in_trouble:
                return []
            _log.failure("Could not describe the guard for the status page")
            return [TROUBLE]
        self._in_trouble = False
        news = list(changes(before, self._picture)) if before else []
        return news or ([self._beat()] if was_in_trouble else [])

    def _beat(self) -> Event:
        return TROUBLE if self._in_trouble else ("beat", {"now": self.epoch()})

    def _tell(self, message: bytes) -> None:
        hello = None if self._in_trouble else cache(self._hello)
        for viewer in list(self._viewers):
            if viewer.is_stuck_for(STUCK_SECONDS):
                self._drop(viewer)
            else:
                viewer.tell(hello, message)

    def _hello(self) -> bytes:
        assert self._picture is not None
        return _written(self._picture.hello(self.epoch()))

    def _drop(self, viewer: Viewer) -> None:
        """Cut a viewer off, with what their connection has not taken."""
        self._forget(viewer)
        _log.debug("The status page: a viewer took nothing for {n:.0f} s", n=STUCK_SECONDS)
        viewer.request.channel.transport.abortConnection()


def _written(event: Event) -> bytes:
    """Write an event; JSON in ASCII has no line breaks of its own."""
    name, data = event
    text = json.dumps(data, separators=(",", ":"))
    comment = ": the guard is here\n" if name == "beat" else ""
    return f"{comment}event: {name}\ndata: {text}\n\n".encode("ascii")
