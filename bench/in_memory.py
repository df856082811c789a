"""HTTP without sockets: neighbours that answer from a function, and a client's connection."""

from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

from attrs import define
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from zope.interface import implementer

LATENCY = 0.002
"""Seconds until a neighbour answers."""
Answer = tuple[int, bytes]
Handler = Callable[[bytes, str, bytes], Answer]
"""Answers a method, a path and a body."""


@implementer(IAgent)
@define(eq=False)
class MemoryAgent:
    """Answers requests a moment later."""

    clock: Clock
    handler: Handler

    def request(self, method: bytes, uri: bytes, headers: Any = None, body: Any = None) -> Any:
        """Make a request of the handler; `body` is one that is in memory already."""
        sent: list[bytes] = []
        if body is not None:
            body.startProducing(_Collector(sent))
        answer: Deferred[Any] = Deferred()
        parts = urlsplit(uri.decode("ascii"))
        target = parts.path + (f"?{parts.query}" if parts.query else "")

        def serve() -> None:
            if not answer.called:
                answer.callback(_Response(*self.handler(method, target, b"".join(sent))))

        self.clock.callLater(LATENCY, serve)
        return answer


@define
class _Collector:
    sent: list[bytes]

    def write(self, data: bytes) -> None:
        self.sent.append(data)


class _Response:
    """As much of an IResponse as the guard reads."""

    phrase = b"OK"

    def __init__(self, code: int, body: bytes) -> None:
        self.code = code
        self.length = len(body)
        self.headers = Headers({b"Content-Type": [b"application/json"]})
        self._body = body

    def deliverBody(self, protocol: Any) -> None:
        protocol.dataReceived(self._body)
        protocol.connectionLost(Failure(ResponseDone()))


class MemoryConnection(StringTransport):
    """A client's connection that is closed after its one answer, as Nginx Proxy Manager has it."""

    def __init__(self, on_answer: Callable[[bytes], None]) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", "127.0.0.1", 40000))
        self._on_answer = on_answer
        self.protocol: Any = None

    def loseConnection(self) -> None:
        if self.protocol is not None:
            protocol, self.protocol = self.protocol, None
            protocol.connectionLost(Failure(ConnectionDone()))
            self._on_answer(self.value())

    def setTcpNoDelay(self, _enabled: bool) -> None:
        """Do nothing: nothing is sent."""
