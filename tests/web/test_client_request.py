"""Which client a request comes from, and how its answer is written."""

from contextlib import suppress
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.web.http_headers import Headers
from zope.interface import implementer

from lotus_guard.overload.client_address import Origin, Origins, networks_of
from lotus_guard.web.client_request import BLIND_REQUESTS, Clients
from tests.web.standing import Connection, Standing, leave


def origin_of(host: str, headers: bytes) -> Origin:
    standing = Standing()
    standing.ask(host=host, headers=headers)
    (request,) = standing.page.asked
    return request.origin


@pytest.mark.parametrize(
    ("host", "headers", "wanted"),
    [
        ("192.0.2.1", b"X-Forwarded-For: 198.51.100.1\r\n", Origin("192.0.2.1")),
        ("127.0.0.1", b"X-Forwarded-For: 198.51.100.1\r\n", Origin("198.51.100.1")),
        ("127.0.0.1", b"X-Real-IP: 198.51.100.1\r\n", Origin("198.51.100.1")),
        ("127.0.0.1", b"", Origin("127.0.0.1", is_crowd=True)),
        (
            "127.0.0.1",
            b"X-Forwarded-For: 198.51.100.1\r\nX-Forwarded-For: 198.51.100.2\r\n",
            Origin("198.51.100.2"),
        ),
    ],
)
def test_a_client_is_named_by_a_proxy_or_by_themselves(
    host: str, headers: bytes, wanted: Origin
) -> None:
    assert origin_of(host, headers) == wanted


def lines_of(clients: Clients, origins: list[Origin]) -> int:
    lines: list[Any] = []

    @implementer(ILogObserver)
    def observer(event: Any) -> None:
        if "does not name its clients" in str(event.get("log_format")):
            lines.append(event)

    globalLogPublisher.addObserver(observer)
    try:
        for origin in origins:
            clients.note(origin)
    finally:
        globalLogPublisher.removeObserver(observer)
    return len(lines)


CROWD, CLIENT = Origin("127.0.0.1", is_crowd=True), Origin("192.0.2.1")


@pytest.mark.parametrize(
    ("origins", "lines"),
    [
        ([CROWD] * (BLIND_REQUESTS - 1), 0),
        ([CROWD] * 3 * BLIND_REQUESTS, 1),
        ([CLIENT, *[CROWD] * 3 * BLIND_REQUESTS], 0),
        ([*[CROWD] * (BLIND_REQUESTS - 1), CLIENT, *[CROWD] * BLIND_REQUESTS], 0),
    ],
)
def test_one_line_is_written_where_no_proxy_ever_names_anybody(
    origins: list[Origin], lines: int
) -> None:
    assert lines_of(Clients(Origins(networks_of("loopback"))), origins) == lines


# What a request is spared of what Twisted makes ready for others.


class Counting(Connection):
    """A connection that counts what is written."""

    writes = 0

    def write(self, data: bytes) -> None:
        self.writes += 1
        super().write(data)


def test_a_whole_answer_is_written_in_one_piece() -> None:
    standing = Standing()
    channel, connection = standing.site.buildProtocol(None), Counting("192.0.2.1")
    channel.makeConnection(connection)
    for number in range(1, 4):
        channel.dataReceived(b"GET /x HTTP/1.1\r\nHost: h\r\n\r\n")
        assert connection.writes == number
    assert bytes(connection.value()) == b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok" * 3


def test_whoever_has_gone_is_written_nothing() -> None:
    standing = Standing()
    waiting: Deferred[None] = Deferred()

    async def stubborn(request: Any) -> None:
        with suppress(CancelledError):
            await waiting
        standing.answers.finish(request, 200, None, Headers(), b"ok")

    standing.page.does = stubborn
    channel, connection = standing.ask()
    leave(channel)
    assert waiting.called
    assert bytes(connection.value()) == b""
    assert standing.door.drained().called


def test_nothing_is_kept_of_the_work_on_a_request_that_is_over() -> None:
    standing = Standing()
    standing.ask()
    (request,) = standing.page.asked
    assert request.exchange is None


@pytest.mark.parametrize(("method", "status"), [(b"OPTIONS", b"200"), (b"GET", b"405")])
def test_who_asks_for_no_path_is_answered_by_twisted(method: bytes, status: bytes) -> None:
    standing = Standing()
    _, connection = standing.ask(b"*", method)
    assert bytes(connection.value()).startswith(b"HTTP/1.1 %b " % status)
    assert not standing.page.asked
