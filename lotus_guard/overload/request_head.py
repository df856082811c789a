"""The head of a request, read in one piece where it has come in one.

Twisted reads a head line by line, which takes three times as long. Only what is plain is read here:
a head that could be taken for anything else, or refused, is left to Twisted. And where a request
ends is for Twisted alone to say: it gets the request line and `Content-Length` as they came, and
every head that has `Transfer-Encoding`. Only where a read is one whole request to its last byte, by
the one `Content-Length` that it has, nothing is left to say. So no two readers differ (request
smuggling).
"""

import re
from functools import lru_cache

from attrs import define
from twisted.web.http_headers import Headers, InvalidHeaderName

MOST_BYTES = 8192
MOST_LINES = 64
MOST_NAME = 64
"""Bytes of a header's name: names that clients make up must fill no cache."""
_END = b"\r\n\r\n"
_LENGTH = b"Content-Length"
_TRANSFER = b"Transfer-Encoding"
_EXPECT = b"Expect"
_DIGITS = re.compile(rb"[0-9]{1,12}")
_REQUEST_LINE = re.compile(rb"[A-Z]+ [\x21-\xb0]+ HTTP/1\.[01]")


@define(eq=False, repr=False)
class Head:
    """A head that stands at the beginning of what has come."""

    request_line: bytes
    headers: dict[bytes, list[bytes]]
    """All but `Content-Length`, under the names that Twisted has them by."""
    length: bytes | None
    """What `Content-Length` says: few digits, and nothing else."""
    size: int
    """Bytes, the empty line at its end included."""

    def is_whole_in(self, data: bytes, most: int) -> bool:
        """Whether this head, its whole body of at most so many bytes and nothing else has come.

        Not for who waits to be told to go on, even where they have: Twisted tells them.
        """
        length = int(self.length or 0)
        return len(data) == self.size + length and length <= most and _EXPECT not in self.headers


def read_head(data: bytes) -> Head | None:
    """Read the head that this begins with; None where it is not whole, or not plain."""
    end = data.find(_END)
    if not 0 < end <= MOST_BYTES:
        return None
    head = data[:end]
    request_line, *lines = head.split(b"\r\n")
    if len(lines) > MOST_LINES or _REQUEST_LINE.fullmatch(request_line) is None:
        return None
    # No byte that ends a line may stand within one: some servers would take it for two.
    if b"\0" in head or not head.count(b"\r") == head.count(b"\n") == len(lines):
        return None
    headers = _read_lines(lines)
    if headers is None or _TRANSFER in headers:
        return None
    lengths = headers.pop(_LENGTH, None)
    if lengths is None:
        return Head(request_line, headers, None, end + len(_END))
    if len(lengths) > 1 or _DIGITS.fullmatch(lengths[0]) is None:
        return None
    return Head(request_line, headers, lengths[0], end + len(_END))


def _read_lines(lines: list[bytes]) -> dict[bytes, list[bytes]] | None:
    """Read the lines of headers; None where one of them is not plain."""
    headers: dict[bytes, list[bytes]] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        canonical = _canonical(name) if colon and len(name) <= MOST_NAME else None
        if canonical is None:
            return None
        if canonical in headers:
            headers[canonical].append(value.strip(b" \t"))
        else:
            headers[canonical] = [value.strip(b" \t")]
    return headers


@lru_cache(maxsize=1024)
def _canonical(name: bytes) -> bytes | None:
    """The spelling that Twisted has a name in; None for what is no name."""
    try:
        headers = Headers({name: [b""]})
    except InvalidHeaderName:
        return None
    return next(headers.getAllRawHeaders())[0]
