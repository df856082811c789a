"""One connection to a neighbour: one request after the other, each written in one piece.

An ordinary answer is read by `answers.py`, for a fraction of what Twisted's parser costs. For any
other Twisted's own client takes over until that answer has ended. A connection is used again only
after a complete answer with nothing behind it: what a server sends unasked must never be taken for
the answer to somebody else's question.
"""

import re
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import ITCPTransport
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (  # type: ignore[attr-defined]
    HTTP11ClientProtocol,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IClientRequest, IResponse
from zope.interface import implementer

from lotus_guard.neighbours.answers import TOKEN, WholeAnswer, read_answer

MOST_HEAD = 128 * 1024
"""Bytes within which an answer's head must have come. The read that brings its end may bring 64 KiB
of the body with it."""
_METHOD = re.compile(TOKEN)
_WITH_BODY = (b"POST", b"PUT")
_LENGTHS = {b"Content-Length", b"Transfer-Encoding"}
"""Who sends both may mean either."""


@implementer(IClientRequest)
@define(eq=False, repr=False)
class Asked:
    """A request as it goes over a connection."""

    method: bytes
    absoluteURI: bytes
    headers: Headers
    written: bytes
    """All of it: head and body."""
    persistent: bool = True
    """Whether the connection may serve again."""

    def writeTo(self, _transport: Any) -> Deferred[None]:
        """Write nothing: whoever reads an unusual answer comes when all has been written."""
        return succeed(None)


def asked(
    method: bytes, uri: bytes, target: bytes, host: bytes, headers: Headers, body: bytes | None
) -> Asked:
    """Write a request down; raises ValueError where it would be another to the server."""
    lines = [b"%b %b HTTP/1.1" % (method, target)]
    if body is not None or method in _WITH_BODY:
        lines.append(b"Content-Length: %d" % len(body or b""))
    hosts = len(headers.getRawHeaders(b"Host", ()))
    if not hosts:
        lines.append(b"Host: " + host)
    for name, values in headers.getAllRawHeaders():
        lines += [b"%b: %b" % (name, value) for value in values]
    head = b"\r\n".join([*lines, b"", b""])
    breaks = head.count(b"\r") + head.count(b"\n")
    if hosts > 1 or breaks != 2 * len(lines) + 2 or not _METHOD.fullmatch(method):
        raise ValueError("not one request")
    return Asked(method, uri, headers, head + body if body else head)


class Connection(Protocol):
    """One connection; `on_idle` is told when it can take the next request."""

    def __init__(self, on_idle: "Callable[[Connection], None]") -> None:
        self._on_idle = on_idle
        self._is_open = True
        self._asked: Asked | None = None
        self._answered: Deferred[IResponse] = Deferred()
        self._unusual: _Unusual | None = None
        """Twisted's client, while it reads an answer."""
        self._head = 0
        self._is_flushed = True
        self._closed: list[Deferred[None]] = []

    @property
    def is_idle(self) -> bool:
        """Whether it can take a request."""
        return self._is_open and self._asked is None

    def connectionMade(self) -> None:
        """Send small packets at once."""
        if ITCPTransport.providedBy(self.transport):
            self.transport.setTcpNoDelay(True)

    def request(self, wanted: Asked) -> Deferred[IResponse]:
        """Send a request; the Deferred fires when the head of its answer has come.

        Cancelling it closes the connection. It fails with ResponseNeverReceived or ResponseFailed.
        """
        self._asked = wanted
        answered = self._answered = Deferred(self._give_up)
        self._send(wanted.written)
        return answered

    def _send(self, data: bytes) -> None:
        """Send at once what the socket takes, without the reactor's waiting for its readiness."""
        transport: Any = self.transport
        # Asked of its class: a TLS transport hands names that it does not know to the socket below
        # it, which would send this unencrypted.
        if self._is_flushed and hasattr(type(transport), "writeSomeData"):
            sent = transport.writeSomeData(data)
            data = data[sent:] if isinstance(sent, int) else data
        if data:
            # From now on there may be something in the transport's buffer.
            self._is_flushed = False
            transport.write(data)

    def dataReceived(self, data: bytes) -> None:
        """Read an answer, or a part of one."""
        if self._unusual is None:
            if self._asked is None:
                self._abort()  # nobody has asked
                return
            answer = None if self._asked.method == b"HEAD" else read_answer(data)
            if answer is not None:
                self._answer(answer)
                return
            self._hand_over(self._asked)
        self._read_unusual(data)

    def _answer(self, answer: WholeAnswer) -> None:
        answer.request, self._asked = self._asked, None
        if answer.is_last:
            self.transport.loseConnection()  # type: ignore[union-attr]
        else:
            self._on_idle(self)
        self._answered.callback(answer)

    def _hand_over(self, wanted: Asked) -> None:
        self._head = 0
        self._unusual = unusual = _Unusual(self._unusual_is_over)
        unusual.makeConnection(self.transport)
        sent: Any = wanted
        unusual.wanted = wanted
        unusual.answered = unusual.request(sent)
        unusual.answered.chainDeferred(self._answered)

    def _read_unusual(self, data: bytes) -> None:
        unusual: Any = self._unusual
        if not self._answered.called:
            self._head += len(data)
            if self._head > MOST_HEAD:
                self._abort()
                unusual.connectionLost(Failure(ValueError("an endless head")))
                return
        unusual.dataReceived(data)

    def _unusual_is_over(self, _unusual: object) -> None:
        self._unusual = self._asked = None
        self._on_idle(self)

    def _give_up(self, _answered: object) -> None:
        if self._unusual is not None:
            self._unusual.answered.cancel()
        else:
            self._abort()

    def _abort(self) -> None:
        """Close it at once; whatever comes yet is for nobody."""
        self._is_open, self._asked, self._unusual = False, None, None
        self.transport.abortConnection()  # type: ignore[union-attr]

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Fail whoever waits for an answer."""
        self._is_open = False
        if self._unusual is not None:
            self._unusual.connectionLost(reason)
        elif self._asked is not None and not self._answered.called:
            self._answered.errback(ResponseNeverReceived([reason]))
        for closed in self._closed:
            closed.callback(None)

    def close(self) -> Deferred[None]:
        """Close it; the Deferred fires when that is done."""
        if not self._is_open:
            return succeed(None)
        closed: Deferred[None] = Deferred()
        self._closed.append(closed)
        self.transport.loseConnection()  # type: ignore[union-attr]
        return closed


class _Unusual(HTTP11ClientProtocol):
    """Twisted's client, which closes the connection where it is in doubt where an answer ends."""

    wanted: Asked
    answered: Deferred[IResponse]

    def _finishResponse(self, rest: bytes) -> None:
        fields = dict(self._parser.connHeaders.getAllRawHeaders()) if self._parser else {}
        if rest or fields.keys() >= _LENGTHS:
            self.wanted.persistent = False
        super()._finishResponse(rest)
