"""A head that is read in one piece: as Twisted reads it line by line, or not at all."""

from itertools import pairwise
from typing import Any

import pytest
from attrs import define, field
from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.resource import Resource

from lotus_guard.overload.http_limits import MOST_REQUEST, BoundedRequest, QuietSite
from lotus_guard.overload.request_head import MOST_BYTES, MOST_LINES, MOST_NAME, read_head
from tests.overload.test_http_limits import Page, Slow

HEAD = b"POST /get_token HTTP/1.1\r\nHost: h\r\ncontent-length:\t3 \r\nX-A: 1\r\nx-a: 2\r\n\r\n"
ASK = b"GET /next HTTP/1.1\r\nHost: h\r\n\r\n"


def test_a_plain_head_is_read() -> None:
    head = read_head(HEAD + b"abcGET / HTTP/1.1\r\n\r\n")
    assert head is not None
    assert head.request_line == b"POST /get_token HTTP/1.1"
    assert head.headers == {b"Host": [b"h"], b"X-A": [b"1", b"2"]}
    assert (head.length, head.size) == (b"3", len(HEAD))


@pytest.mark.parametrize(
    "head",
    [
        HEAD[:-1],
        b"\r\n" + HEAD,
        HEAD.replace(b"POST", b"post"),
        HEAD.replace(b"/get_token", b"/get token"),
        HEAD.replace(b"1.1", b"1.2"),
        HEAD.replace(b"Host:", b"Host :"),
        HEAD.replace(b"Host: h", b"Host"),
        HEAD.replace(b"Host: h", b": h"),
        HEAD.replace(b"Host: h", b" folded: h"),
        HEAD.replace(b"Host: h", b"Host: h\r X-B: 1"),
        HEAD.replace(b"Host: h", b"Host: h\nX-B: 1"),
        HEAD.replace(b"Host: h", b"Host: h\rX-B: 1"),
        HEAD.replace(b"Host: h", b"Host: h\0"),
        HEAD.replace(b"Host: h", b"Content-Length: 3"),
        HEAD.replace(b"Host: h", b"Transfer-Encoding: chunked"),
        HEAD.replace(b"Host: h", b"transfer-encoding: identity"),
        HEAD.replace(b"\t3 ", b"+3"),
        HEAD.replace(b"\t3 ", b"0x3"),
        HEAD.replace(b"\t3 ", b"3,3"),
        HEAD.replace(b"\t3 ", b""),
        HEAD.replace(b"\t3 ", b"1" * 5000),
        HEAD.replace(b"X-A", b"X" * (MOST_NAME + 1)),
        HEAD.replace(b"X-A: 1", b"X-A: " + b"1" * MOST_BYTES),
        HEAD.replace(b"X-A: 1\r\n", b"X-A: 1\r\n" * MOST_LINES),
    ],
)
def test_what_is_not_plain_is_left_to_twisted(head: bytes) -> None:
    assert read_head(head) is None


# The same requests are served, and the same answers given, as by Twisted alone.


@define
class Asked(Resource):
    """Notes what it is asked, as far as a door looks at it."""

    isLeaf = True
    seen: list[Any] = field(factory=list)

    def render(self, request: Any) -> bytes:
        headers = sorted(
            (name, list(said)) for name, said in request.requestHeaders.getAllRawHeaders()
        )
        body = request.content.read()
        self.seen.append((request.method, request.uri, request.clientproto, headers, body))
        return b"ok"


class Line(StringTransport):
    """A connection that is closed at once where its server wants that."""

    def setTcpNoDelay(self, _enabled: bool) -> None:
        """Do nothing: nothing is sent."""

    def abortConnection(self) -> None:
        self.disconnecting = True


def served(site: Any, chunks: list[bytes]) -> tuple[list[Any], bytes, Any]:
    """What a server was asked and said, and what it makes of the connection."""
    channel, line = site.buildProtocol(None), Line()
    channel.makeConnection(line)
    for chunk in chunks:
        if not line.disconnecting:
            channel.dataReceived(chunk)
    kept = None if line.disconnecting else (channel._channel._is_idle, site.connections.held)
    return site.resource.seen, bytes(line.value()), kept


def cut(data: bytes, cuts: list[int]) -> list[bytes]:
    """What comes, read by read."""
    chunks = [data[a:b] for a, b in pairwise([0, *sorted(cuts), len(data)])]
    return [chunk for chunk in chunks if chunk]


class TwistedSite(QuietSite):
    """The same server, whose channel takes in no head in one piece."""

    def protocol(self) -> Any:
        made = super().protocol()
        made._channel._take_head = lambda data: data
        return made


def both(chunks: list[bytes]) -> tuple[Any, Any]:
    found = []
    for kind in (QuietSite, TwistedSite):
        site: Any = kind(Asked(), requestFactory=BoundedRequest, reactor=Clock())
        seen, said, over = served(site, chunks)
        dated = [each for each in said.split(b"\r\n") if not each.startswith(b"Date:")]
        found.append((seen, dated, over))
    return found[0], found[1]


WORDS = (
    b"GET POST HEAD get G\xe9T / /a?b=c /%2e/ * \xb0 \xb1 HTTP/1.1 HTTP/1.0 HTTP/1.2 Host host "
    b"Content-Length content-length Content_Length Content-Length\t Transfer-Encoding "
    b"transfer-encoding chunked identity Connection close keep-alive Expect 100-continue X-A x-a "
    b"Cookie 0 1 3 5 +3 0x3 3,3 a: :"
).split(b" ")
SEPARATORS = (
    b"\r\n",
    b"\r\n\r\n",
    b"\r\n ",
    b"\r\n\t",
    b"\n",
    b"\r",
    b"\0",
    b": ",
    b":",
    b" ",
    b"\t",
)
PLAIN = (
    b"GET / HTTP/1.1\r\n",
    b"POST /a HTTP/1.1\r\n",
    b"POST /a HTTP/1.0\r\n",
    b"Host: h\r\n",
    b"Content-Length: 3\r\n\r\nabc",
    b"Content-Length: 0\r\n\r\n",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"Connection: close\r\n",
    b"Expect: 100-continue\r\n",
    b"X-A: \r\n",
    b"\r\n",
)
PIECES = st.one_of(
    st.sampled_from(PLAIN),
    st.sampled_from(PLAIN),
    st.sampled_from(WORDS),
    st.sampled_from(SEPARATORS),
)


@given(st.lists(PIECES, max_size=40), st.lists(st.integers(0, 400), max_size=6))
def test_no_byte_makes_another_request_of_it_than_twisted_reads(
    pieces: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(pieces)
    ours, theirs = both(cut(data, cuts))
    assert ours == theirs


EVIL = st.sampled_from((*SEPARATORS, *WORDS, *PLAIN))


@given(
    st.lists(st.tuples(st.integers(0, len(HEAD) + 2), EVIL), min_size=1, max_size=2),
    st.lists(st.integers(0, 400), max_size=2),
)
@settings(max_examples=400)
def test_nor_does_a_byte_within_a_plain_request(
    spoilt: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    data = HEAD + b"abc"
    for place, evil in spoilt:
        data = data[:place] + evil + data[place:]
    ours, theirs = both(cut(data + ASK, cuts))
    assert ours == theirs


REQUESTS = st.builds(
    lambda method, body, more: (
        b"%s /p HTTP/1.1\r\nHost: h\r\n%s%s\r\n%s"
        % (method, b"Content-Length: %d\r\n" % len(body) if body else b"", more, body)
    ),
    st.sampled_from((b"GET", b"POST", b"OPTIONS", b"HEAD")),
    st.binary(max_size=30),
    st.sampled_from((b"", b"X-A:  1 \r\n", b"Expect: 100-continue\r\n", b"Connection: close\r\n")),
)


@given(st.lists(REQUESTS, min_size=1, max_size=5), st.lists(st.integers(0, 500), max_size=6))
def test_requests_one_after_another_are_served_alike(
    requests: list[bytes], cuts: list[int]
) -> None:
    data = b"".join(requests)
    ours, theirs = both(cut(data, cuts))
    assert ours == theirs
    assert ours[0], "the first is served, whatever comes after it"


@pytest.mark.parametrize("cut_at", [b"Host", b"X-A", b"abc", b"c"])
def test_what_looks_like_a_head_within_a_request_is_none(cut_at: bytes) -> None:
    """A cut between two lines, or in a body, makes no other request of what follows."""
    whole = HEAD.replace(b"3 ", b"%d " % (3 + len(ASK))) + b"abc"
    place = whole.index(cut_at)
    ours, theirs = both([whole[:place], ASK + whole[place:]])
    assert ours == theirs
    assert len(ours[0]) < 2


@pytest.mark.parametrize(
    "chunks",
    [
        [b"\r\n", ASK, b"\r\n", ASK],
        [b"\r\n", ASK, b"\r\n" + ASK],
        [ASK, b"\r\n", ASK, ASK],
        [ASK + b"\r\n", ASK, b"\r\n" + ASK],
        [ASK, b"\r\n", b"\r\n", ASK],
        [HEAD + b"abc", ASK[:5], ASK[5:], HEAD + b"abc"],
        [HEAD.replace(b"X-A", b"Expect") + b"abc", ASK],
        [HEAD.replace(b"X-A: 1", b"Expect: 100-continue") + b"abc", ASK],
        [HEAD.replace(b"1.1", b"1.0") + b"abc", ASK],
        [HEAD.replace(b"X-A: 1", b"Connection: close") + b"abc", ASK],
        [HEAD + b"abcd", ASK],
        [HEAD + b"ab", b"c", ASK],
        [ASK.replace(b"Host: h", b"Content-Length: 0"), ASK],
    ],
)
def test_a_request_that_comes_whole_is_served_alike_whatever_is_around_it(
    chunks: list[bytes],
) -> None:
    """An empty line before a request is read over, once."""
    ours, theirs = both(chunks)
    assert ours == theirs
    assert ours[0]


@pytest.mark.parametrize("more", [0, 1])
def test_a_body_that_may_be_too_long_is_counted_by_twisted(more: int) -> None:
    head = b"POST / HTTP/1.1\r\nContent-Length: %d\r\n\r\n" % (MOST_REQUEST + more)
    found = read_head(head)
    assert found is not None
    whole = head + b"x" * (MOST_REQUEST + more)
    assert found.is_whole_in(whole, MOST_REQUEST) is not bool(more)


def test_no_request_more_is_served_while_the_client_does_not_read() -> None:
    """What follows a body comes back to the channel as if it had just been read."""
    counts = []
    for kind in (QuietSite, TwistedSite):
        site: Any = kind(Page(), requestFactory=BoundedRequest, reactor=Clock())
        channel, line = site.buildProtocol(None), Slow()
        channel.makeConnection(line)
        channel.dataReceived((ASK + HEAD + b"abc") * 100)
        counts.append(line.served)
        for _ in range(200):
            line.read()
        assert line.served == 200
    assert counts[0] == counts[1] < 10


def test_nothing_is_served_behind_the_last_request_of_a_connection() -> None:
    class HalfClosed(Line):
        """Its client reads no more: Twisted then says nowhere that it is being closed."""

        def loseConnection(self) -> None:
            pass

    site: Any = QuietSite(Asked(), requestFactory=BoundedRequest, reactor=Clock())
    channel = site.buildProtocol(None)
    channel.makeConnection(HalfClosed())
    channel.dataReceived(ASK.replace(b"1.1", b"1.0"))
    channel.dataReceived(ASK)
    assert len(site.resource.seen) == 1


def test_a_head_that_comes_at_once_is_read_at_once() -> None:
    """Or all of this would be for nothing."""
    site: Any = QuietSite(Asked(), requestFactory=BoundedRequest, reactor=Clock())
    channel, lines = site.buildProtocol(None), []
    read = channel._channel.lineReceived

    def count(line: bytes) -> None:
        lines.append(line)
        read(line)

    channel._channel.lineReceived = count
    channel.makeConnection(Line())
    for chunk in (HEAD + b"abc", HEAD, b"abc"):
        channel.dataReceived(chunk)
    assert len(site.resource.seen) == 2
    assert lines == [b"POST /get_token HTTP/1.1", b""], "of one that is whole, Twisted reads none"
