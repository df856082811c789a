"""Which client a request comes from, and that an operator hears if nobody says so."""

from typing import Any

import pytest
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from lotus_guard.overload.client_address import Origin, Origins, networks_of
from lotus_guard.web.client_request import BLIND_REQUESTS, Clients
from tests.web.standing import Standing


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
        if "does not say for whom" in str(event.get("log_format")):
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
