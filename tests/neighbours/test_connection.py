"""A connection answers as Twisted's client does, and serves again only where all is certain."""

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.address import IPv4Address
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.testing import StringTransport
from twisted.protocols.tls import TLSMemoryBIOFactory
from twisted.python.failure import Failure
from twisted.web.client import (  # type: ignore[attr-defined]
    HTTP11ClientProtocol,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IClientRequest
from zope.interface.verify import verifyObject

from lotus_guard.enforce.ports import Allowance
from lotus_guard.neighbours.answers import read_answer
from lotus_guard.neighbours.bodies import AnswerBody, KnownBody
from lotus_guard.neighbours.connection import MOST_HEAD, Asked, Connection, asked
from tests.neighbours.answering import outcome_of

PLAIN = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"


def GET(method: bytes = b"GET") -> Asked:
    return asked(method, b"http://h/x", b"/x", b"h", Headers(), None)


def connected(transport: Any = None) -> tuple[Any, list[Any]]:
    """A connection, and how often it said that it is idle."""
    idle: list[Any] = []
    connection = Connection(idle.append)
    connection.makeConnection(transport or StringTransport())
    return connection, idle


# What goes out.


def test_a_request_is_written_in_one_piece() -> None:
    headers = Headers({b"A": [b"1", b"2"], b"b-c": [b"3"]})
    wanted = asked(b"POST", b"http://h/x", b"/x", b"h", headers, b"body")
    assert wanted.written == (
        b"POST /x HTTP/1.1\r\nContent-Length: 4\r\nHost: h\r\nA: 1\r\nA: 2\r\nB-C: 3\r\n\r\nbody"
    )
    assert verifyObject(IClientRequest, wanted)
    assert dict(headers.getAllRawHeaders()) == {b"A": [b"1", b"2"], b"B-C": [b"3"]}


@pytest.mark.parametrize(
    ("method", "body", "said"),
    [
        (b"GET", None, b""),
        (b"GET", b"", b"Content-Length: 0\r\n"),
        (b"POST", None, b"Content-Length: 0\r\n"),
        (b"PUT", None, b"Content-Length: 0\r\n"),
        (b"DELETE", None, b""),
    ],
)
def test_where_a_body_is_expected_its_length_is_said(
    method: bytes, body: bytes | None, said: bytes
) -> None:
    written = asked(method, b"", b"/", b"h", Headers(), body).written
    assert written == method + b" / HTTP/1.1\r\n" + said + b"Host: h\r\n\r\n"


def test_a_host_that_is_asked_for_goes_out_once() -> None:
    headers = Headers({b"Host": [b"call.example"]})
    assert asked(b"GET", b"", b"/", b"h", headers, None).written.count(b"Host") == 1
    headers.addRawHeader(b"Host", b"other")
    with pytest.raises(ValueError, match="not one request"):
        asked(b"GET", b"", b"/", b"h", headers, None)


@pytest.mark.parametrize(
    ("method", "target", "host"),
    [
        (b"GET /y", b"/", b"h"),
        (b"", b"/", b"h"),
        (b"GET\r\n", b"/", b"h"),
        (b"GET", b"/\r\nA: b", b"h"),
        (b"GET", b"/", b"h\nA: b"),
        (b"GET", b"/", b"h\rA: b"),
    ],
)
def test_nothing_breaks_out_of_its_line(method: bytes, target: bytes, host: bytes) -> None:
    with pytest.raises(ValueError, match="not one request"):
        asked(method, b"", target, host, Headers(), None)


class Socket(StringTransport):
    """Takes so many bytes at once, -1: it has been closed."""

    def __init__(self, *takes: int) -> None:
        super().__init__()
        self.takes = list(takes)
        self.at_once = b""

    def setTcpNoDelay(self, _enabled: bool) -> None:
        """Do nothing: nothing is sent."""

    def writeSomeData(self, data: bytes) -> int | Exception:
        room = self.takes.pop(0)
        if room < 0:
            return ConnectionDone()
        self.at_once += data[:room]
        return len(data[:room])


def test_what_the_socket_takes_is_sent_without_waiting() -> None:
    socket, wanted = Socket(10_000), GET().written
    connection, _ = connected(socket)
    connection.request(GET())
    assert (socket.at_once, socket.value()) == (wanted, b"")


def test_with_tls_nothing_reaches_the_socket_as_it_is() -> None:
    socket, inside = Socket(10_000), connected()[0]
    factory = TLSMemoryBIOFactory(
        optionsForClientTLS("h"), isClient=True, wrappedFactory=Factory.forProtocol(lambda: inside)
    )
    made: Any = factory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 1))
    made.makeConnection(socket)
    inside.request(GET())
    assert socket.value().startswith(b"\x16\x03"), "a record of TLS"
    assert b"GET" not in socket.value()
    assert socket.at_once == b""


@pytest.mark.parametrize("room", [-1, 0, 5])
def test_the_rest_waits_and_nothing_overtakes_it(room: int) -> None:
    socket, wanted = Socket(room, 10_000), GET().written
    connection, _ = connected(socket)
    connection.request(GET())
    assert socket.at_once + socket.value() == wanted
    connection.dataReceived(PLAIN)  # a server may answer before it has read all
    connection.request(GET())
    assert socket.at_once + socket.value() == wanted * 2
    assert len(socket.at_once) == max(0, room)


# What comes back, and whether the connection serves again.


class Body(Protocol):
    def __init__(self) -> None:
        self.data = b""
        self.ended: list[str] = []

    def dataReceived(self, data: bytes) -> None:
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        self.ended.append(reason.type.__name__)


class Said(StringTransport):
    """A connection whose end is told at once."""

    def loseConnection(self) -> None:
        self.disconnecting = True

    def abortConnection(self) -> None:
        self.disconnecting = True


def heard(client: Any, request: Callable[[], Any], pieces: list[bytes], ends: bool) -> Any:
    """What a client makes of these pieces: all that can be seen of it."""
    transport, body = Said(), Body()
    client.makeConnection(transport)
    found = outcome_of(request())
    for piece in pieces:
        if not transport.disconnecting:
            client.dataReceived(piece)
        for answer in found[:1]:
            if not isinstance(answer, Failure) and body.transport is None:
                answer.deliverBody(body)
    if ends:
        client.connectionLost(Failure(ConnectionDone()))
    if not found:
        return None
    answer = found[0]
    if isinstance(answer, Failure):
        return answer.type, [each.type for each in getattr(answer.value, "reasons", ())]
    if body.transport is None:
        answer.deliverBody(body)
    fields = dict(answer.headers.getAllRawHeaders())
    return answer.code, answer.phrase, answer.version, answer.length, fields, body.data, body.ended


class Sent:
    """A request that Twisted's own client is to take for sent."""

    persistent = True
    absoluteURI, headers = b"http://h/x", Headers()

    def __init__(self, method: bytes) -> None:
        self.method = method

    def writeTo(self, _transport: Any) -> Deferred[None]:
        done: Deferred[None] = Deferred()
        done.callback(None)
        return done


FIELDS = st.sampled_from(
    [
        *[b"Content-Length: %d" % number for number in (0, 2, 2, 2, 3, 4)],
        b"Content-Length: 2, 2",
        b"content-length:2",
        b"Content-Length: +2",
        b"Transfer-Encoding: chunked",
        b"Transfer-Encoding: gzip",
        b"Connection: close",
        b"Connection: keep-alive",
        b"X-A: b",
        b"x-a:\tc ",
        b"X-A: b\r\n folded",
        b"X A: b",
        b"X-A",
        b"X-Null: \0",
        b"X-Bare: a\rb",
        b"X-High: \xe4",
    ]
)
STATUS = st.sampled_from(
    [b"HTTP/1.1 200 OK"] * 6
    + [b"HTTP/1.0 200 OK", b"HTTP/1.1 200", b"HTTP/1.1 204 No", b"HTTP/1.1 100 Go", b"HTTP/1.1 x y"]
    + [b"HTTP/1.1 500 ", b"HTTP/1.1 304 Same", b"ICY 200 OK", b""]
)
BODIES = st.sampled_from([b"", b"o", b"ok", b"ok", b"okay", b"2\r\nok\r\n0\r\n\r\n", PLAIN])


@st.composite
def answers(draw: Any) -> bytes:
    """What servers send, good and bad."""
    line_end = draw(st.sampled_from([b"\r\n"] * 9 + [b"\n"]))
    fields = draw(st.lists(FIELDS, max_size=4))
    parts = [draw(STATUS), *fields, b"", draw(BODIES)]
    return bytes(line_end.join(parts))


@st.composite
def pieces(draw: Any) -> list[bytes]:
    data = draw(answers())
    cuts = sorted(draw(st.sets(st.integers(1, max(1, len(data))), max_size=4)))
    edges = [0, *cuts, len(data)]
    return [data[a:b] for a, b in pairwise(edges) if a < b]


@given(st.sampled_from([b"GET", b"POST", b"HEAD"]), pieces(), st.booleans())
@example(b"GET", [PLAIN], False)
@example(b"HEAD", [b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"], False)
@example(b"HEAD", [PLAIN.replace(b": 2", b": 0")[:-2]], False)
@example(b"HEAD", [PLAIN], False)
@example(b"GET", [CHUNKED], False)
@example(b"GET", [PLAIN[:5], PLAIN[5:]], True)
def test_it_says_what_twisteds_own_client_says(
    method: bytes, data: list[bytes], ends: bool
) -> None:
    ours, theirs = Connection(lambda _idle: None), HTTP11ClientProtocol()
    sent: Any = Sent(method)
    expected = heard(theirs, lambda: theirs.request(sent), data, ends)
    assert heard(ours, lambda: ours.request(GET(method)), data, ends) == expected


@given(pieces())
@example([PLAIN + PLAIN])
@example([PLAIN, PLAIN])
@example([CHUNKED + PLAIN])
@example([PLAIN[:-1], PLAIN[-1:] + b"x"])
def test_it_serves_again_only_with_nothing_behind_the_answer(data: list[bytes]) -> None:
    connection, idle = connected(Said())
    found = outcome_of(connection.request(GET()))
    is_delivered = False
    for piece in data:
        was_idle = connection.is_idle
        connection.dataReceived(piece)
        if found and not isinstance(found[0], Failure) and not is_delivered:
            found[0].deliverBody(Body())
            is_delivered = True
        if was_idle:
            assert connection.transport.disconnecting
        if connection.transport.disconnecting:
            assert not connection.is_idle or not idle
            return
    assert connection.is_idle == bool(idle)
    if idle:
        assert b"".join(data).count(b"HTTP/1") - b"".join(data).count(b"HTTP/1.1 100") <= 1


@pytest.mark.parametrize("answer", [PLAIN, CHUNKED, PLAIN.replace(b"200 OK", b"404 ")])
@pytest.mark.parametrize("cut", [0, 1, 30, 36])
def test_it_serves_one_request_after_the_other(answer: bytes, cut: int) -> None:
    connection, idle = connected()
    for number in range(1, 4):
        found = outcome_of(connection.request(GET()))
        assert not connection.is_idle
        for piece in (answer[:cut], answer[cut:]):
            connection.dataReceived(piece) if piece else None
        body = AnswerBody(Allowance(10))
        found[0].deliverBody(body)
        assert (body.collected, body.is_whole) == (b"ok", True)
        assert connection.is_idle
        assert len(idle) == number
    assert not connection.transport.disconnecting


BOTH = CHUNKED.replace(b"\r\n\r\n2", b"\r\nContent-Length: 2\r\n\r\n2")


@pytest.mark.parametrize(
    "data",
    [
        PLAIN + b"x",
        CHUNKED + PLAIN,
        BOTH,
        PLAIN.replace(b"\r\n\r\n", b"\r\nConnection: close\r\n\r\n"),
        CHUNKED.replace(b"\r\n\r\n2", b"\r\nConnection: close\r\n\r\n2"),
        b"HTTP/1.1 204 No\r\n\r\n" + PLAIN,
    ],
)
def test_where_an_answer_leaves_doubt_the_connection_is_closed(data: bytes) -> None:
    connection, _ = connected()
    found = outcome_of(connection.request(GET()))
    connection.dataReceived(data)
    found[0].deliverBody(Body())
    assert found[0].code in (200, 204)
    assert connection.transport.disconnecting


def test_what_comes_unasked_closes_the_connection() -> None:
    connection, idle = connected()
    outcome_of(connection.request(GET()))
    connection.dataReceived(PLAIN)
    connection.dataReceived(PLAIN)
    assert connection.transport.disconnecting
    assert not connection.is_idle
    assert len(idle) == 1


def test_an_endless_head_is_given_up() -> None:
    connection, _ = connected()
    found = outcome_of(connection.request(GET()))
    connection.dataReceived(b"HTTP/1.1 200 OK\r\n")
    for _ in range(MOST_HEAD // 1000 + 1):
        assert found == []
        connection.dataReceived(b"X-A: " + b"b" * 993 + b"\r\n")
    assert found[0].check(ResponseFailed)
    assert [each.type for each in found[0].value.reasons] == [ValueError]
    assert connection.transport.disconnecting
    assert not connection.is_idle


def test_a_long_body_has_no_such_bound() -> None:
    connection, _ = connected()
    found, body = outcome_of(connection.request(GET())), Body()
    connection.dataReceived(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (3 * MOST_HEAD))
    found[0].deliverBody(body)
    for _ in range(3):
        connection.dataReceived(b"x" * MOST_HEAD)
    assert body.ended == ["ResponseDone"]
    assert len(body.data) == 3 * MOST_HEAD
    assert connection.is_idle


# How it ends otherwise.


@pytest.mark.parametrize("begun", [b"", PLAIN[:5], PLAIN[:20]])
def test_who_gives_up_closes_the_connection(begun: bytes) -> None:
    connection, idle = connected()
    asking = connection.request(GET())
    found = outcome_of(asking)
    if begun:
        connection.dataReceived(begun)
    asking.cancel()
    assert isinstance(found[0], Failure)
    assert begun or found[0].check(CancelledError)
    assert connection.transport.disconnecting
    connection.connectionLost(Failure(ConnectionDone()))
    assert idle == []


@pytest.mark.parametrize("begun", [b"", PLAIN[:20]])
def test_what_comes_after_giving_up_is_for_nobody(begun: bytes) -> None:
    connection, idle = connected()
    asking = connection.request(GET())
    outcome_of(asking)
    if begun:
        connection.dataReceived(begun)
    asking.cancel()
    connection.dataReceived(PLAIN)
    assert (connection.is_idle, idle) == (False, [])


def test_neither_a_request_nor_an_answer_shows_its_secrets() -> None:
    headers = Headers({b"Authorization": [b"Bearer secret"]})
    answer = read_answer(PLAIN)
    assert "secret" not in repr(asked(b"GET", b"", b"/", b"h", headers, b"secret"))
    assert "ok" not in repr(answer)
    assert "ok" not in repr(KnownBody(b"ok"))


@pytest.mark.parametrize(
    ("begun", "kind"), [(b"", ResponseNeverReceived), (PLAIN[:20], ResponseFailed)]
)
def test_a_connection_that_is_lost_is_no_answer(begun: bytes, kind: type[Exception]) -> None:
    connection, idle = connected()
    found = outcome_of(connection.request(GET()))
    if begun:
        connection.dataReceived(begun)
    connection.connectionLost(Failure(ConnectionDone()))
    assert found[0].type is kind
    assert [each.type for each in found[0].value.reasons] == [ConnectionDone]
    assert (connection.is_idle, idle) == (False, [])


def test_closing_waits_for_the_end() -> None:
    connection, _ = connected()
    first, second = outcome_of(connection.close()), outcome_of(connection.close())
    assert connection.transport.disconnecting
    assert (first, second) == ([], [])
    connection.connectionLost(Failure(ConnectionDone()))
    assert (first, second) == ([None], [None])
    assert outcome_of(connection.close()) == [None]
