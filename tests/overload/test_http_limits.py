"""Clients that do not read what they were answered, and bodies without an end: what is kept."""

from io import BytesIO
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from lotus_guard.overload.connections import MOST_UNREAD, UNREAD_SECONDS, Connections
from lotus_guard.overload.http_limits import (
    MOST_DRAINED,
    MOST_NAME,
    MOST_REQUEST,
    PIECE,
    BoundedRequest,
    QuietSite,
)

PAGE = b"x" * 5000
ASK = b"GET / HTTP/1.1\r\nHost: h\r\n\r\n"


class Page(Resource):
    isLeaf = True

    def render(self, request: Any) -> bytes:
        return PAGE


class Slow(StringTransport):
    """A connection whose client reads only when it is told to, as Twisted's sockets do it."""

    bufferSize = 65536
    aborted = False
    is_paused = False
    served = 0

    def write(self, data: bytes) -> None:
        super().write(data)
        self.served += data.count(b"HTTP/1.1 200")
        if len(self.value()) > self.bufferSize and self.producer and not self.is_paused:
            self.is_paused = True
            self.producer.pauseProducing()

    def writeSequence(self, data: Any) -> None:
        self.write(b"".join(data))

    def read(self) -> None:
        self.clear()
        if self.is_paused and self.producer:
            self.is_paused = False
            self.producer.resumeProducing()

    def abortConnection(self) -> None:
        self.aborted = True


@define(eq=False)
class Port:
    clock: Clock = field(factory=Clock)
    cuts: list[str] = field(factory=list)
    site: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        connections = Connections(on_cut=self.cuts.append, now=self.clock.seconds)
        self.site = QuietSite(
            Page(), connections, requestFactory=BoundedRequest, reactor=self.clock
        )
        self.site.startFactory()

    def connect(self) -> tuple[Any, Slow]:
        channel, transport = self.site.buildProtocol(None), Slow()
        channel.makeConnection(transport)
        return channel, transport


@pytest.fixture
def port() -> Port:
    return Port()


def test_of_a_client_who_does_not_read_only_few_requests_are_worked_on(port: Port) -> None:
    channel, transport = port.connect()
    channel.dataReceived(ASK * 1000)
    assert len(transport.value()) < PIECE + len(PAGE) + 1000
    assert transport.producerState == "paused", "no more of it is read, either"
    port.clock.pump([1.0] * 19)
    assert not transport.aborted
    port.clock.pump([1.0] * 2)
    assert transport.aborted, "the rest of what it sent has waited for 20 s"
    assert port.cuts == ["late"]


def test_what_was_put_off_is_served_as_the_client_reads(port: Port) -> None:
    channel, transport = port.connect()
    channel.dataReceived(ASK * 100)
    for _ in range(100):
        transport.read()
    assert transport.served == 100
    assert transport.producerState == "producing"
    channel.dataReceived(ASK)
    assert transport.served == 101
    connections = port.site.connections
    assert not connections._unread
    assert connections.held == 0


@given(st.lists(st.one_of(st.integers(1, 4000), st.none()), max_size=60))
def test_however_it_sends_and_reads_each_request_is_answered_once(steps: list[int | None]) -> None:
    """A number: so many bytes more are sent; None: the client reads."""
    port = Port()
    channel, transport = port.connect()
    left, sent = ASK * 500, 0
    for step in steps:
        if step is None:
            transport.read()
        elif transport.producerState == "producing":
            channel.dataReceived(left[:step])
            left, sent = left[step:], sent + len(left[:step])
        assert len(transport.value()) <= PIECE + len(PAGE) + 1000
    for _ in range(500):
        transport.read()
    assert transport.served == sent // len(ASK)


def test_an_answer_that_nobody_reads_is_not_kept_for_ever(port: Port) -> None:
    """It is one answer, long enough to be noticed; the connection would be of use again."""
    channel, transport = port.connect()
    channel.dataReceived(ASK * 4)
    assert transport.is_paused
    port.clock.pump([1.0] * (int(UNREAD_SECONDS) - 1))
    assert not transport.aborted
    port.clock.pump([1.0] * 2)
    assert transport.aborted
    assert port.cuts == ["unread"]


def test_nor_is_the_last_answer_on_a_connection(port: Port) -> None:
    channel, transport = port.connect()
    channel.dataReceived(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert transport.disconnecting
    port.clock.pump([1.0] * (int(UNREAD_SECONDS) + 2))
    assert transport.aborted
    assert port.cuts == ["unread"]


def test_of_many_who_do_not_read_the_oldest_goes(port: Port) -> None:
    kept = []
    for _ in range(MOST_UNREAD + 2):
        channel, transport = port.connect()
        channel.dataReceived(ASK * 10)
        kept.append(transport)
    assert [each.aborted for each in kept] == [True, True] + [False] * MOST_UNREAD
    assert port.cuts == ["room"] * 2


def test_who_leaves_is_forgotten(port: Port) -> None:
    for ask in (ASK * 10, b"GET / HTTP/1.0\r\n\r\n"):
        channel, _ = port.connect()
        channel.dataReceived(ask)
        channel.connectionLost(Failure(ConnectionDone()))
    connections = port.site.connections
    assert (connections.open, connections.held) == (0, 0)
    assert not connections._unread
    assert not connections._closing


# What is written is sent at once.


class Kernel(Slow):
    """A connection whose kernel takes so many bytes at once."""

    _tempDataLen = 0

    def __init__(self) -> None:
        super().__init__()
        self.sent: list[int] = []
        self.takes: int | Exception = 1 << 30

    @property
    def dataBuffer(self) -> bytes:
        return bytes(self.value())

    def writeSomeData(self, data: bytes) -> int | Exception:
        self.sent.append(len(data))
        self.served += data.count(b"HTTP/1.1 200")
        return min(self.takes, len(data)) if isinstance(self.takes, int) else self.takes


def sending(port: Port) -> tuple[Any, Kernel]:
    made, transport = port.site.buildProtocol(None), Kernel()
    made.makeConnection(transport)
    return made._channel, transport


def test_what_is_written_now_is_sent_in_the_same_turn_unless_the_client_does_not_read(
    port: Port,
) -> None:
    channel, transport = sending(port)
    channel.write_now(b"x" * 100)
    assert transport.sent == [100]
    assert not transport.value(), "the reactor has nothing to do"
    transport.takes = 10
    channel.write_now(b"y" * (PIECE + 11))
    assert transport.value() == b"y" * (PIECE + 1)
    assert transport.is_paused
    assert len(transport.sent) == 2
    channel.write_now(b"z")
    assert len(transport.sent) == 2, "the reactor sends it behind the rest, as the client reads"
    assert transport.value() == b"y" * (PIECE + 1) + b"z"
    transport.read()
    channel.write_now(b"x")
    assert transport.sent[2:] == [1]


def test_nothing_overtakes_what_the_reactor_has_not_taken_in_hand_yet(port: Port) -> None:
    channel, transport = sending(port)
    transport._tempDataLen = 1
    channel.write_now(b"x")
    assert transport.sent == []
    assert transport.value() == b"x"


def test_of_a_connection_that_has_broken_the_reactor_hears(port: Port) -> None:
    channel, transport = sending(port)
    transport.takes = ConnectionDone()
    channel.write_now(b"x")
    assert transport.value() == b"x"


class Wrapped(Slow):
    """A connection with TLS: it hands names that it does not know to the one below it."""

    def __init__(self) -> None:
        super().__init__()
        self.below = Kernel()

    def __getattr__(self, name: str) -> Any:
        return getattr(self.below, name)


def test_with_tls_nobody_sends_past_it(port: Port) -> None:
    made, transport = port.site.buildProtocol(None), Wrapped()
    made.makeConnection(transport)
    made._channel.write_now(b"x" * 100)
    assert transport.value() == b"x" * 100
    assert transport.below.sent == []


def test_where_the_connection_is_being_closed_the_reactor_sends(port: Port) -> None:
    """Or it would never hear that all has been sent."""
    channel, transport = sending(port)
    transport.disconnecting = True
    channel.write_now(b"x")
    assert transport.sent == []


class Quick(Page):
    """A page that is written at once."""

    def render(self, request: Any) -> Any:
        head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % len(PAGE)
        request.startedWriting = 1
        request.channel.write_now(head + PAGE)
        request.finish()
        return NOT_DONE_YET


def test_requests_that_come_at_once_do_not_keep_everybody_else_waiting() -> None:
    """A read of 16 KiB holds hundreds of them."""
    site: Any = QuietSite(Quick(), requestFactory=BoundedRequest, reactor=Clock())
    channel, transport = site.buildProtocol(None), Kernel()
    channel.makeConnection(transport)
    channel.dataReceived(ASK)
    assert len(transport.sent) == 1, "one alone is answered at once"
    channel.dataReceived(ASK * 500)
    assert transport.served < 10
    for _ in range(500):
        transport.read()
    assert transport.served == 501


@pytest.mark.parametrize("pieces", [1, 2])
def test_a_header_with_an_endless_name_is_refused(pieces: int, port: Port) -> None:
    """Twisted remembers names for ever, of whatever length."""
    for length, answer in ((MOST_NAME, b"200"), (MOST_NAME + 1, b"400")):
        channel, transport = port.connect()
        ask = ASK[:-2] + b"X" * length + b": 1\r\n\r\n"
        for piece in (ask,) if pieces == 1 else (ask[:30], ask[30:]):
            channel.dataReceived(piece)
        assert transport.value().startswith(b"HTTP/1.1 " + answer)


# Bodies.


class Echo(Resource):
    """Says what it was given, and how long that was allowed to be."""

    isLeaf = True

    def render(self, request: Any) -> bytes:
        got = request.content.getvalue()
        return b"%d %d %s" % (request.too_long, request.most, got[:10])


def posting(body: bytes, trusted: int | None = None, length: int | None = -1) -> Slow:
    """Post a body; its length is told, unless `length` is None: then it comes in chunks."""
    bounds: list[bytes] = []

    def bound(target: bytes, _headers: Any) -> int | None:
        bounds.append(target)
        return trusted

    site: Any = QuietSite(Echo(), bounds=bound, requestFactory=BoundedRequest, reactor=Clock())
    channel, transport = site.buildProtocol(None), Slow()
    channel.makeConnection(transport)
    if length is None:
        head = b"Transfer-Encoding: chunked\r\n\r\n"
        body = b"%x\r\n%s\r\n0\r\n\r\n" % (len(body), body)
    else:
        head = b"Content-Length: %d\r\n\r\n" % (len(body) if length < 0 else length)
    channel.dataReceived(b"POST /path?q HTTP/1.1\r\nHost: h\r\n" + head + body)
    assert bounds == [b"/path?q"]
    return transport


def told(transport: Slow) -> bytes:
    return bytes(transport.value()).rpartition(b"\r\n")[2]


@pytest.mark.parametrize("length", [-1, None])
def test_a_body_is_kept_up_to_its_bound(length: int | None) -> None:
    assert told(posting(b"x" * MOST_REQUEST, length=length)).startswith(b"0 65536 xxxxxxxxxx")
    assert told(posting(b"x" * (MOST_REQUEST + 1), length=length)) in (b"1 65536 ",)


def test_one_of_our_own_servers_may_send_more() -> None:
    assert told(posting(b"x" * 100_000, trusted=100_000)).startswith(b"0 100000 x")
    assert told(posting(b"x" * 100_001, trusted=100_000)).startswith(b"1 100000")


def test_who_sends_on_and_on_is_hung_up_on() -> None:
    transport = posting(b"x" * (MOST_DRAINED + 1), length=MOST_DRAINED * 2)
    assert transport.disconnecting


def test_a_body_stays_in_memory_whatever_length_it_announces() -> None:
    """Twisted would put one of over 100,000 bytes into a file."""
    site: Any = QuietSite(Echo(), requestFactory=BoundedRequest, reactor=Clock())
    channel = site.buildProtocol(None)
    channel.makeConnection(Slow())
    channel.dataReceived(b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 200000\r\n\r\n")
    assert isinstance(channel._channel.requests[-1].content, BytesIO)
