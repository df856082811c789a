"""What a door does with a request before its route does, and that it always gets an answer."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred
from twisted.logger import ILogObserver, globalLogPublisher
from twisted.web.http_headers import Headers
from zope.interface import implementer

from lotus_guard.core.probe import FIELD, HEADER, sign_probe
from lotus_guard.core.sentence import Sentence
from lotus_guard.overload.fair_share import Bounds
from lotus_guard.sandbox.stack import SECRET
from lotus_guard.web.door import PLACE_BYTES, SLOW_SECONDS
from lotus_guard.web.problems import Problem
from tests.web.standing import Standing, leave
from tests.world import World

# The probes of `lotus-guard check`.


@ensureDeferred
async def test_the_guard_says_what_arrived(world: World) -> None:
    world.start_guard()
    headers = {HEADER: sign_probe(SECRET, time.time()), "X-Forwarded-For": "x, [2001:db8::1]:80"}
    got = await world.request("POST", "/prefix//get_token?x=1", b"{}", headers)
    assert got.status == 200
    assert got.json() == {
        FIELD: {
            "method": "POST",
            "target": "/prefix//get_token?x=1",
            "client": "2001:db8::/64",
            "crowd": False,
            "peer": "127.0.0.1",
            "real": [],
            "forwarded": ["unclear", "2001:db8::1"],
        }
    }
    assert got.headers["Access-Control-Allow-Origin"] == "*"


@ensureDeferred
async def test_a_forged_probe_goes_to_upstream(world: World) -> None:
    world.start_guard()
    headers = {HEADER: sign_probe("another secret", time.time())}
    got = await world.request("GET", "/healthz", headers=headers)
    assert (got.status, got.body) == (200, b"")


# What becomes of a request before and after its route.


@contextmanager
def logged_events() -> Iterator[list[Any]]:
    """The failures that are logged meanwhile."""
    events: list[Any] = []

    @implementer(ILogObserver)
    def observer(event: Any) -> None:
        if "log_failure" in event:
            events.append(event)

    globalLogPublisher.addObserver(observer)
    try:
        yield events
    finally:
        globalLogPublisher.removeObserver(observer)


def status_of(connection: Any) -> bytes:
    return bytes(connection.value()).partition(b"\r\n")[0]


def body_of(connection: Any) -> Any:
    return json.loads(connection.value().partition(b"\r\n\r\n")[2])


def test_a_request_has_its_client_and_its_target() -> None:
    standing = Standing()
    standing.ask(b"http://h//get_token;?", b"POST", host="192.0.2.7")
    (request,) = standing.page.asked
    assert request.target == b"/get_token"
    assert request.origin.address == "192.0.2.7"
    assert standing.traffic.answers == [("other", 200)]


def test_what_has_no_target_is_refused_and_put_on_record() -> None:
    standing = Standing()
    _, connection = standing.ask(b"sfu/get")
    assert status_of(connection) == b"HTTP/1.1 400 Bad Request"
    assert body_of(connection)["errcode"] == "M_UNRECOGNIZED"
    assert standing.page.asked == []
    assert len(standing.records.rulings) == 1


def test_a_problem_is_the_answer() -> None:
    standing = Standing()

    async def refuse(_request: Any) -> None:
        raise Problem(403, "M_FORBIDDEN", Sentence("no"), decision="d7")

    standing.page.does = refuse
    _, connection = standing.ask()
    assert status_of(connection) == b"HTTP/1.1 403 Forbidden"
    assert body_of(connection)["io.lotus.decision"] == "d7"


def test_a_bug_is_an_answer_too_and_is_logged_once_a_minute() -> None:
    standing = Standing()

    async def fail(_request: Any) -> None:
        raise RuntimeError("a bug")

    standing.page.does = fail
    with logged_events() as events:
        for _ in range(3):
            _, connection = standing.ask()
            assert status_of(connection) == b"HTTP/1.1 502 Bad Gateway"
            assert b"Access-Control-Allow-Origin: *" in connection.value()
    assert len(events) == 1


def test_a_bug_in_the_middle_of_an_answer_breaks_it_off() -> None:
    standing = Standing()

    async def half(request: Any) -> None:
        standing.answers.begin(request, 200, None, Headers())
        request.write(b"half")
        raise RuntimeError("a bug")

    standing.page.does = half
    with logged_events():
        _, connection = standing.ask()
    assert connection.disconnecting
    assert status_of(connection) == b"HTTP/1.1 200 OK"


def test_a_client_who_leaves_ends_the_work_and_gives_the_place_back() -> None:
    standing, given_up = Standing(), list[bool]()

    async def wait(request: Any) -> None:
        await Deferred(lambda _: given_up.append(request.is_gone))

    standing.page.does = wait
    with logged_events() as events:
        channel, _ = standing.ask()
        assert standing.shedding.requests.shares.used == 1
        leave(channel)
    assert given_up == [True]
    assert standing.shedding.requests.shares.used == 0
    assert events == []


def test_over_its_share_an_address_waits_and_one_that_has_too_much_is_turned_away() -> None:
    standing = Standing()
    shares = standing.shedding.requests.shares
    shares.bounds = Bounds(most=1, each=1, crowd=1, line=4, waiting=4, cap=1)
    under_way: list[Any] = []

    async def wait(request: Any) -> None:
        done: Deferred[None] = Deferred()
        under_way.append(done)
        await done
        await standing.ok(request)

    standing.page.does = wait
    _, first = standing.ask()
    _, second = standing.ask(body=b"x" * 3 * PLACE_BYTES)
    assert (len(under_way), shares.waiting) == (1, 4), "one place, and one for each 2 KiB"
    _, third = standing.ask()
    assert standing.turned_away == [None]
    assert third.value() == b"", "it hears so late of it"
    standing.clock.advance(SLOW_SECONDS)
    assert body_of(third)["errcode"] == "M_LIMIT_EXCEEDED"
    under_way.pop().callback(None)
    under_way.pop().callback(None)
    assert status_of(first) == status_of(second) == b"HTTP/1.1 200 OK"


def test_one_of_our_own_servers_waits_in_nobodys_line() -> None:
    standing = Standing()
    standing.shedding.requests.shares.bounds = Bounds(0, 0, 0, 0, 0, 0)
    standing.page.trusted = 1000
    _, connection = standing.ask()
    assert status_of(connection) == b"HTTP/1.1 200 OK"


def test_an_end_waits_for_what_is_open() -> None:
    standing, under_way = Standing(), list[Any]()

    async def wait(request: Any) -> None:
        under_way.append(Deferred())
        await under_way[-1]
        await standing.ok(request)

    assert standing.door.drained().called
    standing.page.does = wait
    standing.ask()
    standing.ask()
    drained = standing.door.drained()
    under_way.pop().callback(None)
    assert not drained.called
    under_way.pop().callback(None)
    assert drained.called
