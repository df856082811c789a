"""Serves the status page: its files, and the stream that keeps it live.

Whatever a room or a user is called must stay text. The page's script writes text nodes only; should
it ever do otherwise, the content security policy lets no script run that is not a file of ours,
takes nothing from elsewhere, and refuses every string that is to become markup (Trusted Types).
"""

from importlib.resources import files
from typing import Any

from twisted.internet.defer import Deferred

from lotus_guard.web.status.stream import Full, Stream

EVENTS = "events"
SCRIPTS = (
    "announcer.js",
    "decision.js",
    "decisions.js",
    "filter.js",
    "frames.js",
    "groups.js",
    "hour.js",
    "link.js",
    "neighbours.js",
    "page.js",
    "room.js",
    "rooms.js",
    "rowlist.js",
    "states.js",
    "text.js",
)
SHEETS = ("page.css", "lists.css")
TYPES = {
    "page.html": "text/html; charset=utf-8",
    **dict.fromkeys(SHEETS, "text/css; charset=utf-8"),
    **dict.fromkeys(SCRIPTS, "text/javascript; charset=utf-8"),
    "icon.svg": "image/svg+xml",
}
NAMES = (*TYPES, EVENTS)
POLICY = "; ".join(
    (
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self'",
        "connect-src 'self'",
        "frame-ancestors 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    )
)
HEADERS = {
    "Content-Security-Policy": POLICY,
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}


class Pages:
    """The files of the page and its stream, by name."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        here = files(__package__)
        self._files = {name: here.joinpath(name).read_bytes() for name in TYPES}

    def serve(self, request: Any, name: str) -> bytes | Deferred[None]:
        """Answer a GET for one of `NAMES`; a Deferred fires when the stream was ended by us."""
        for header, value in HEADERS.items():
            request.setHeader(header, value)
        if name == EVENTS:
            return self._events(request)
        request.setHeader("Content-Type", TYPES[name])
        return self._files[name]

    def close(self) -> None:
        """End every open stream."""
        self._stream.close()

    def _events(self, request: Any) -> bytes | Deferred[None]:
        if request.getHeader("Sec-Fetch-Site") not in (None, "none", "same-origin"):
            # It could read nothing, but it could take every viewer's place.
            return _refused(request, 403, "Another site's page may not watch.")
        if request.method == b"HEAD":
            request.setHeader("Content-Type", "text/event-stream")
            return b""
        request.setHeader("X-Accel-Buffering", "no")  # nginx would gather the events
        request.setHeader("Content-Type", "text/event-stream")
        try:
            return self._stream.join(request)
        except Full as why:
            request.setHeader("Retry-After", "10")
            return _refused(request, 503, str(why))


def _refused(request: Any, status: int, why: str) -> bytes:
    request.setResponseCode(status)
    request.setHeader("Content-Type", "text/plain; charset=utf-8")
    return f"{why}\n".encode()
