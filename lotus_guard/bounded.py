"""What both ports are served with: bounded requests, and no line in the log for each."""

from io import BytesIO
from typing import Any

from twisted.web.server import Request, Site

MOST_REQUEST = 64 * 1024
"""Bytes of a request body. So no token, which repeats parts of it, can be long."""
MOST_DRAINED = 16 * 1024 * 1024
"""Bytes of a body that is too long which are read and dropped before the client is cut off."""


class BoundedRequest(Request):
    """A request whose body is bounded and stays in memory."""

    defaultContentType = None  # upstream's silence is handed on
    content: BytesIO
    too_long = False
    gone = False
    """Whether the client has gone away."""
    _received = 0

    def gotLength(self, length: int | None) -> None:
        """Keep the body in memory, whatever length was announced."""
        self.content = BytesIO()
        self.too_long = length is not None and length > MOST_REQUEST

    def handleContentChunk(self, data: bytes) -> None:
        """Keep a chunk of the body, or drop it where the body is too long."""
        self._received += len(data)
        if self._received > MOST_REQUEST:
            self.too_long = True
        if not self.too_long:
            self.content.write(data)
        elif self._received > MOST_DRAINED:
            self.loseConnection()


class QuietSite(Site):
    """A server that writes no line per request: metrics count, and lines cost a tenth of it."""

    noisy = False

    def log(self, request: Any) -> None:
        """Write nothing."""
