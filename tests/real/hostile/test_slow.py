"""Clients that are slow on purpose, on both ports of a guard as a process.

The figures are printed (`pytest -s`); what is asserted leaves room for a loaded machine.
"""

import asyncio
import socket
import time
from contextlib import ExitStack, suppress
from typing import Any

import pytest

from tests.real.neighbours import SLOW_SECONDS
from tests.real.processes import http
from tests.real.test_overload import (
    Crush,
    Others,
    apart,
    ask,
    connect,
    crush,
    files,
    held,
    is_guarded,
    pass_unjudged,
    question,
)

__all__ = ["crush", "files"]
DEAF = 40


def port_of(where: Crush, name: str) -> int:
    return where.guard.port if name == "public" else int(where.operators.rpartition(":")[2])


@pytest.mark.parametrize(
    ("name", "path"), [("public", "/"), ("public", "/odd?"), ("operators", "/metrics")]
)
def test_answers_that_nobody_reads_fill_no_memory(crush: Crush, name: str, path: str) -> None:
    """Forty connections ask as fast as they can, and never read."""
    asking = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode() * 1500

    async def run() -> None:
        before, others, sent = crush.rss(), Others(crush), [0]

        async def ask_on() -> None:
            with ExitStack() as ends:
                deaf = [ends.enter_context(socket.socket()) for _ in range(DEAF)]
                for sock in deaf:
                    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
                    sock.connect(("127.0.0.1", port_of(crush, name)))
                    sock.setblocking(False)
                for _ in range(60):
                    for sock in deaf:
                        with suppress(OSError):
                            sent[0] += sock.send(asking)
                    await asyncio.sleep(0.05)

        await others.during(ask_on())
        grown = crush.rss() - before
        others.report(f"{sent[0] / 1e6:.0f} MB of requests on {DEAF}, {grown:.0f} MiB more")
        assert grown < 60
        others.were_served(with_timeout=5.0)

    apart(run())


def test_the_operators_port_bears_slow_clients(crush: Crush) -> None:
    """Two thousand connections, half of them silent, half with a body that never ends."""
    head = b"POST /policy HTTP/1.1\r\nHost: h\r\nContent-Length: 60000\r\n\r\n"

    async def run() -> None:
        before, sockets = crush.rss(), []
        port = crush.guard.port
        crush.guard.port = port_of(crush, "operators")
        try:
            sockets += await held(crush, b"", 1000, "127.0.0.1")
            sockets += await held(crush, head + b"x" * 50_000, 1000, "127.0.0.1")
        finally:
            crush.guard.port = port
        begun = time.monotonic()
        assert crush.metrics()
        took, grown = time.monotonic() - begun, crush.rss() - before
        print(
            f"\n{len(sockets)} slow connections: metrics after {took:.2f} s, {grown:.0f} MiB more"
        )
        assert took < 3.0
        assert grown < 90, "32 MiB of unfinished requests are kept, and what each connection costs"
        pass_unjudged(sockets)

    apart(run())


def test_pages_that_do_not_read_take_no_more_than_their_places(crush: Crush) -> None:
    """As many as there are places; more are told so, and those that close make room again."""
    asking = b"GET /status/events HTTP/1.1\r\nHost: localhost\r\n\r\n"
    before = crush.rss()
    with ExitStack() as ends:
        pages = [
            ends.enter_context(socket.create_connection(("127.0.0.1", port_of(crush, "operators"))))
            for _ in range(60)
        ]
        for page in pages:
            page.sendall(asking)
        heads = [page.recv(12) for page in pages]
        assert sorted(set(heads)) == [b"HTTP/1.1 200", b"HTTP/1.1 503"]
        assert heads.count(b"HTTP/1.1 200") == 16
        for _ in range(20):  # the page changes all the time, and nobody reads it
            http("POST", f"http://127.0.0.1:{crush.guard.port}/sfu/get", b"[]")
            time.sleep(0.1)
        assert crush.metrics()
        assert crush.rss() - before < 30
    answer = b""
    end = time.monotonic() + 10.0
    while not answer.startswith(b"HTTP/1.1 200") and time.monotonic() < end:
        with socket.create_connection(("127.0.0.1", port_of(crush, "operators"))) as page:
            page.sendall(asking)
            answer = page.recv(12)
    assert answer == b"HTTP/1.1 200"


def test_who_has_said_all_and_closes_half_costs_nothing(crush: Crush) -> None:
    """A half-closed connection is closed, whether its request was whole or not."""
    raw = question("203.0.113.66", user="@slow:evil")
    for sends in (b"", raw[:100], raw):
        with socket.create_connection(("127.0.0.1", crush.guard.port)) as sock:
            sock.settimeout(5.0)
            sock.sendall(sends)
            sock.shutdown(socket.SHUT_WR)
            assert sock.recv(1) == b""
    end = time.monotonic() + 5.0
    while crush.count("requests_under_way") and time.monotonic() < end:
        time.sleep(0.05)
    assert crush.count("requests_under_way") == 0.0


def test_a_slow_homeserver_takes_the_places_of_its_own_users_alone(crush: Crush) -> None:
    """lk-jwt-service waits for it; others are served, and what comes late is judged as ever."""
    slow = "203.0.113.66"

    async def one() -> tuple[int, Any]:
        streams = await connect(crush)
        answer = await ask(streams, question(slow, user="@slow:evil", close=True))
        streams[1].close()
        return answer

    async def run() -> None:
        others, begun = Others(crush), time.monotonic()

        async def all_of_them() -> list[tuple[int, Any]]:
            return list(await asyncio.gather(*(one() for _ in range(1500))))

        waiting = asyncio.ensure_future(all_of_them())
        await others.during(waiting)
        took, answers = time.monotonic() - begun, waiting.result()
        given = [answer for status, answer in answers if status == 200]
        others.report(f"1500 of a slow homeserver: {len(given)} tokens after {took:.1f} s")
        assert took > SLOW_SECONDS, "far beyond the rules' deadline, which is not the client's"
        assert len(given) > 200
        assert all(map(is_guarded, given))
        assert {status for status, _ in answers} <= {200, 429}
        others.were_served(with_timeout=5.0)

    apart(run())


def test_slow_users_of_many_addresses_leave_a_place_for_whoever_comes_new(crush: Crush) -> None:
    async def run() -> None:
        others = Others(crush)

        async def slow(which: int) -> None:
            address = f"203.0.113.{which % 60}"
            streams = await connect(crush)
            await ask(streams, question(address, user="@slow:evil"))
            streams[1].close()

        await others.during(asyncio.gather(*(slow(which) for which in range(1200))))
        others.report("1200 of a slow homeserver at 60 addresses")
        others.were_served(with_timeout=5.0)

    apart(run())
