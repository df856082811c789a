"""Ordinary answers of HTTP servers: a head of a known length and its whole body, in one piece.

Nearly all answers that we get are of this kind. One regular expression reads such a head, and one
more what it says of where the answer ends; its other fields are read when somebody looks at them,
which is seldom. Whatever is in any way unusual is none of them, and is left to Twisted's parser:
what comes in several pieces, is chunked, has no length or two of them, folds a line, ends one
without a carriage return, says `HTTP/1.0`, or has anything behind it.
"""

import re
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeVar

from attrs import define, field, frozen
from twisted.internet.interfaces import IProtocol, IPushProducer
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface import implementer

V = TypeVar("V")

TOKEN = rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
"""The name of a method or of a header (RFC 9110, 5.6.2)."""
_TEXT = rb"[\t\x20-\x7e\x80-\xff]*"
_HEAD = re.compile(
    rb"HTTP/1\.1 ([2-5][0-9][0-9]) (%(text)b)\r\n((?:%(token)b:%(text)b\r\n)*)\r\n"
    % {b"token": TOKEN, b"text": _TEXT}
)
_FRAMING = re.compile(
    rb"\r\n(content-length|transfer-encoding|connection):[\t ]*([^\r]*)", re.IGNORECASE
)
_LENGTH = re.compile(rb"([0-9]{1,9})[\t ]*")
_BODILESS = (204, 304)
_MOST_KNOWN = 2048
"""Bytes of a head that is remembered; usual ones have a few hundred."""
_OF_THE_CONNECTION = frozenset(
    b"connection keep-alive proxy-connection te trailers upgrade content-length".split()
)
"""About the connection and no part of the answer; Twisted's own client leaves these out too."""


@implementer(IPushProducer)
class _Nowhere:
    """What a body that has come already is delivered from: the connection is others' by now."""

    def pauseProducing(self) -> None:
        """Do nothing: there is no more to come."""

    def resumeProducing(self) -> None:
        """Do nothing: there is no more to come."""

    def stopProducing(self) -> None:
        """Do nothing: there is no more to come."""

    def loseConnection(self) -> None:
        """Do nothing: the connection is not ours any more."""


_NOWHERE: Any = _Nowhere()


@implementer(IResponse)
@define(eq=False, repr=False)
class WholeAnswer:
    """An answer of which all has come."""

    code: int
    phrase: bytes
    fields: bytes
    """The lines of its head as they came, each with its end."""
    body: bytes
    is_last: bool = False
    """Whether the server closes the connection behind it."""
    request: Any = None
    version: tuple[bytes, int, int] = field(default=(b"HTTP", 1, 1), init=False)
    previousResponse: IResponse | None = field(default=None, init=False)
    _headers: Headers | None = field(default=None, init=False)

    @property
    def headers(self) -> Headers:
        """The fields of its head, but for those about the connection."""
        if self._headers is None:
            self._headers = Headers()
            fields = ((name, [*values]) for name, values in _fields_in(self.fields))
            self._headers._rawHeaders.update(fields)
        return self._headers

    def last(self, name: bytes) -> bytes | None:
        """What its head says in this field, the last time; None where it has none."""
        found = _values(name).findall(self.fields)
        return found[-1].rstrip() if found else None

    @property
    def length(self) -> int:
        """Bytes of the body."""
        return len(self.body)

    def deliverBody(self, protocol: IProtocol) -> None:
        """Hand the body to a protocol, at once."""
        protocol.makeConnection(_NOWHERE)
        if self.body:
            protocol.dataReceived(self.body)
        protocol.connectionLost(Failure(ResponseDone("all of it has come")))

    def setPreviousResponse(self, response: IResponse) -> None:
        """Take note of the answer that led to this one."""
        self.previousResponse = response


def read_answer(data: bytes) -> WholeAnswer | None:
    """Read what came in one piece as the ordinary answer to anything but HEAD.

    None for what is not exactly that: it may be well all the same.
    """
    end = data.find(b"\r\n\r\n") + 4
    head = _read_head(data[:end])
    if head is None or head.length != len(data) - end:
        return None
    return WholeAnswer(head.code, head.phrase, head.fields, data[end:], head.is_last)


@frozen
class _Head:
    """The head of an ordinary answer."""

    code: int
    phrase: bytes
    fields: bytes
    length: int
    is_last: bool


def _remembered(read: Callable[[bytes], V]) -> Callable[[bytes], V]:
    """Remember what short heads say: a server's answers of one second and length have the same."""
    known = lru_cache(maxsize=64)(read)
    return lambda data: (known if len(data) <= _MOST_KNOWN else read)(data)


@_remembered
def _read_head(data: bytes) -> _Head | None:
    head = _HEAD.fullmatch(data)
    if head is None:
        return None
    code, length, is_last = int(head[1]), None, False
    for name, value in _FRAMING.findall(data, head.end(2)):
        kind = name.lower()
        if kind == b"connection":
            is_last = is_last or value.rstrip().lower() != b"keep-alive"
        elif kind == b"transfer-encoding" or length is not None:
            return None
        else:
            length = _LENGTH.fullmatch(value)
            if length is None:
                return None
    if code in _BODILESS or length is None:
        return None
    return _Head(code, head[2], head[3], int(length[1]), is_last)


@_remembered
def _fields_in(lines: bytes) -> Sequence[tuple[bytes, Sequence[bytes]]]:
    """The fields in the lines of a head, by the names that Twisted has them under."""
    headers = Headers()
    for line in lines.split(b"\r\n")[:-1]:
        name, _, value = line.partition(b":")
        if name.lower() not in _OF_THE_CONNECTION:
            headers.addRawHeader(name, value.strip())
    return tuple((name, tuple(values)) for name, values in headers.getAllRawHeaders())


@lru_cache
def _values(name: bytes) -> re.Pattern[bytes]:
    """What finds the values of a field among the lines of a head."""
    pattern = rb"^%b:[\t ]*([^\r]*)" % re.escape(name)
    return re.compile(pattern, re.IGNORECASE | re.MULTILINE)
