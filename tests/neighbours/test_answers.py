"""An ordinary answer is read as Twisted reads it; whatever is unusual is left to Twisted."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.protocol import Protocol
from twisted.python.failure import Failure
from twisted.web.client import ResponseDone
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse
from zope.interface.verify import verifyObject

from lotus_guard.neighbours.answers import WholeAnswer, read_answer

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\nX-A: b\r\n\r\nbody"


def test_an_ordinary_answer_is_read_in_one_go() -> None:
    answer = read_answer(PLAIN)
    assert answer is not None
    assert (answer.version, answer.code, answer.phrase) == ((b"HTTP", 1, 1), 200, b"OK")
    assert (answer.body, answer.length, answer.is_last) == (b"body", 4, False)
    assert dict(answer.headers.getAllRawHeaders()) == {b"X-A": [b"b"]}


def test_what_is_about_the_connection_is_no_part_of_the_answer() -> None:
    answer = read_answer(
        b"HTTP/1.1 404 \r\nConnection: Keep-Alive\r\nKeep-Alive: 5\r\nUpgrade: h2c\r\n"
        b"content-LENGTH:0\r\nx-a:  b \r\nX-A: c\r\n\r\n"
    )
    assert answer is not None
    assert (answer.code, answer.phrase, answer.body, answer.is_last) == (404, b"", b"", False)
    assert dict(answer.headers.getAllRawHeaders()) == {b"X-A": [b"b", b"c"]}


NAMES = st.sampled_from([b"Date", b"X-A", b"Set-Cookie", b"content-type", b"Connection", b"date"])
VALUES = st.text("ab: ,\t\xe4", max_size=8).map(lambda text: text.encode("latin-1"))


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_its_fields_are_read_when_somebody_looks(fields: list[tuple[bytes, bytes]]) -> None:
    """As often as they like, and one of them without the others."""
    lines = [b"%b:%b\r\n" % each for each in fields]
    answer = read_answer(PLAIN.replace(b"X-A: b\r\n", b"".join(lines)))
    assert answer is not None
    wanted = Headers()
    for name, value in fields:
        if name != b"Connection":
            wanted.addRawHeader(name, value.strip())
    assert answer.headers == answer.headers == wanted
    for name in (b"Date", b"X-A", b"Set-Cookie", b"Content-Type"):
        values = wanted.getRawHeaders(name)
        assert answer.last(name) == (values[-1] if values else None)


def test_a_head_like_one_before_is_an_answer_of_its_own() -> None:
    """Upstream's headers are changed on their way to a client."""
    one, other = read_answer(PLAIN), read_answer(PLAIN.replace(b"body", b"more"))
    assert one is not None
    assert other is not None
    one.headers.addRawHeader(b"X-A", b"c")
    one.headers.setRawHeaders(b"X-B", [b"d"])
    assert dict(other.headers.getAllRawHeaders()) == {b"X-A": [b"b"]}
    assert other.body == b"more"


@pytest.mark.parametrize("line", [b"X-Date: b", b"X: Date: b", b"Dates: b", b"X:\xe4Date:b"])
def test_a_field_is_found_by_its_whole_name(line: bytes) -> None:
    answer = read_answer(PLAIN.replace(b"X-A: b", line))
    assert answer is not None
    assert answer.last(b"Date") is None


@pytest.mark.parametrize("said", [b"close", b"Close", b"keep-alive, close", b"x-a", b""])
def test_a_server_may_close_the_connection_behind_it(said: bytes) -> None:
    answer = read_answer(PLAIN.replace(b"X-A: b", b"Connection: " + said))
    assert answer is not None
    assert answer.is_last


@pytest.mark.parametrize(
    ("part", "instead"),
    [
        (b"body", b"bod"),
        (b"body", b"body!"),
        (b"body", b"bodyHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"),
        (b"HTTP/1.1", b"HTTP/1.0"),
        (b"HTTP/1.1", b"\nHTTP/1.1"),
        (b"200", b"100"),
        (b"200", b"204"),
        (b"200", b"304"),
        (b"200", b"+20"),
        (b" OK", b" O\rK"),
        (b"Content-Length: 4\r\n", b""),
        (b"Content-Length: 4\r\n", b"Content-Length: 4\r\nContent-Length: 4\r\n"),
        (b"Content-Length: 4\r\n", b"Content-Length: 4\r\nContent-Length: 5\r\n"),
        (b"X-A: b", b"Transfer-Encoding: chunked"),
        (b"X-A: b", b"transfer-encoding: identity"),
        (b"X-A: b", b"Transfer-Encoding:chunked"),
        (b"Content-Length: 4", b"Transfer-Encoding: 4"),
        (b"X-A: b", b"X-A:\r\nTransfer-Encoding:"),
        (b"X-A: b", b"CONTENT-LENGTH:4"),
        (b"X-A: b", b"Transfer-Encoding : chunked"),
        (b"X-A: b", b"X-A: b\r\n folded"),
        (b"X-A: b", b" X-A: b"),
        (b"X-A: b", b"X-A: b\nTransfer-Encoding: chunked"),
        (b"X-A: b", b"X-A: b\rTransfer-Encoding: chunked"),
        (b"X-A: b", b"X-A: \0"),
        (b"X-A: b", b"X-A"),
        (b"X-A: b", b": b"),
        (b"X-A: b\r\n", b"X-A: b\n"),
        (b": 4", b": 4, 4"),
        (b": 4", b": +4"),
        (b": 4", b": 0x4"),
        (b": 4", b": -4"),
        (b": 4", b": \xc2\xb24"),
        (b": 4", b": 4 4"),
        (b": 4", b": "),
        (b": 4", b": 0000000004"),
    ],
)
def test_what_is_unusual_is_not_read_here(part: bytes, instead: bytes) -> None:
    assert part in PLAIN
    assert read_answer(PLAIN.replace(part, instead, 1)) is None


@given(st.integers(0, len(PLAIN) - 1))
def test_a_part_of_an_answer_is_none(length: int) -> None:
    assert read_answer(PLAIN[:length]) is None


class Body(Protocol):
    """What a protocol is told of a body."""

    def __init__(self) -> None:
        self.data: list[bytes] = []
        self.ends: list[Failure] = []

    def dataReceived(self, data: bytes) -> None:
        self.data.append(data)

    def connectionLost(self, reason: Any = None) -> None:
        self.ends.append(reason)


@pytest.mark.parametrize("data", [b"", b"body"])
def test_a_body_is_delivered_at_once_from_nowhere(data: bytes) -> None:
    answer = read_answer(PLAIN.replace(b"body", data).replace(b": 4", b": %d" % len(data)))
    assert isinstance(answer, WholeAnswer)
    body: Any = Body()
    answer.deliverBody(body)
    assert b"".join(body.data) == data
    assert [end.type for end in body.ends] == [ResponseDone]
    for name in ("pauseProducing", "resumeProducing", "stopProducing", "loseConnection"):
        getattr(body.transport, name)()  # the connection is others' by now


def test_it_is_an_answer_as_twisted_has_them() -> None:
    answer, before = read_answer(PLAIN), read_answer(PLAIN)
    assert answer is not None
    assert before is not None
    assert verifyObject(IResponse, answer)
    answer.setPreviousResponse(before)
    assert answer.previousResponse is before
