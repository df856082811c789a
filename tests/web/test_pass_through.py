"""Requests and answers go through as they were; what goes wrong on the way is named."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred
from twisted.internet.protocol import Factory, Protocol

from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.upstream import MOST_JUDGED, OF_HOMESERVERS, WITHHELD, Upstream
from lotus_guard.sandbox.stack import OPEN
from lotus_guard.web.pass_through import PassThrough
from tests.neighbours.answering import Answer, Answering, answering
from tests.recorder import CORS, parts, recording, wait
from tests.web.standing import Standing, leave
from tests.world import World, http_answer


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("HEAD", "/healthz"),
        ("OPTIONS", "/get_token"),
        ("PUT", "/some/path?with=a&query=b%20c"),
        ("DELETE", "/sfu%2Fget;x=y"),
        ("PATCH", "/a//b/../c"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_requests_go_through_as_they_were(world: World, method: str, path: str) -> None:
    got = recording(world, b"HTTP/1.1 418 Teapot\r\nX-Own: 1\r\nContent-Length: 0\r\n\r\n")
    answer = await world.request(method, path, b"body" if method == "PUT" else b"")
    assert answer.status == 418
    assert answer.headers["X-Own"] == "1"
    assert "Server" not in answer.headers
    assert "Content-Type" not in answer.headers
    first, _, body = parts(got[0])
    assert first == f"{method} {path} HTTP/1.1".encode()
    assert body == (b"body" if method == "PUT" else b"")


@pytest_twisted.ensureDeferred
async def test_headers_that_must_not_reach_upstream_and_those_that_must(world: World) -> None:
    got = recording(world, http_answer(b"{}"))
    await world.request(
        "POST",
        "/other",
        b"x",
        {
            "X-Matrix-User-Identifier": "@admin:s",
            "x_matrix_user_identifier": "@admin:s",
            "X-Matrix-Origin": "s",
            "Accept-Encoding": "gzip",
            "Range": "bytes=0-1",
            "Connection": "close, X-Secret-Hop",
            "X-Secret-Hop": "1",
            "Authorization": "Bearer kept",
            "X-Forwarded-For": "203.0.113.9",
            "X-Forwarded-Proto": "https",
            "Origin": "https://call.example",
        },
    )
    _, headers, _ = parts(got[0])
    assert not {
        "x-matrix-user-identifier",
        "x_matrix_user_identifier",
        "x-matrix-origin",
        "accept-encoding",
        "range",
        "x-secret-hop",
    } & set(headers)
    assert headers["authorization"] == "Bearer kept"
    assert headers["origin"] == "https://call.example"
    assert headers["x-forwarded-for"] == "203.0.113.9, 127.0.0.1"
    assert headers["x-forwarded-proto"] == "https"
    assert headers["x-forwarded-host"] == headers["host"]


@pytest_twisted.ensureDeferred
async def test_a_long_answer_is_streamed_through(world: World) -> None:
    long = b"x" * 3_000_000
    recording(world, http_answer(long))
    got = await world.request("GET", "/long")
    assert got.body == long


@pytest.mark.parametrize("body", [b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort", None])
@pytest_twisted.ensureDeferred
async def test_upstream_breaking_off_is_a_502_with_cors(world: World, body: bytes | None) -> None:
    class Cut(Protocol):
        def dataReceived(self, data: bytes) -> None:
            if body:
                self.transport.write(body)  # type: ignore[union-attr]
            self.transport.loseConnection()  # type: ignore[union-attr]

    factory = Factory.forProtocol(Cut)
    world.start_guard(LOTUS_GUARD_UPSTREAM=f"http://127.0.0.1:{world._listen(0, factory)}")
    got = await world.ask("alice", OPEN)
    assert got.status == 502
    assert got.headers[CORS] == "*"
    assert got.json()["errcode"] == "M_UNKNOWN"


@pytest_twisted.ensureDeferred
async def test_a_client_who_goes_away_is_no_failure_of_upstreams(world: World) -> None:
    world.start_guard(LOTUS_GUARD_UPSTREAM=world.serve())
    waiting = ensureDeferred(world.ask("alice", OPEN))
    await wait(world, 0.2)
    waiting.addErrback(lambda _failure: None)
    waiting.cancel()
    await wait(world, 0.2)
    (failures,) = world.guard.metrics.requests.upstream_failures.collect()
    assert failures.samples == [], "whatever the reason"
    await world.guard.public.door.drained()


# In memory.


def passing(agent: Answering, **more: Any) -> tuple[Standing, PassThrough]:
    standing = Standing()
    upstream = Upstream(agent, b"http://u:1", standing.clock)
    way = PassThrough(upstream, standing.answers, **more)

    async def through(request: Any) -> None:
        reply = await way.ask(request, request.content.read())
        if reply.body.is_whole:
            way.finish(request, reply, reply.body.collected)
        else:
            await way.stream(request, reply)

    standing.page.does = through
    return standing, way


def test_what_upstream_did_is_noted() -> None:
    standing, _ = passing(answering(Answer(204)))
    _, connection = standing.ask(b"/a?b", b"PUT", b"in")
    assert connection.value().startswith(b"HTTP/1.1 204 OK\r\n")
    assert standing.traffic.upstreams == [None]


@pytest.mark.parametrize(
    ("failure", "status"), [(TimeoutError(), b"504"), (ConnectionRefusedError(), b"502")]
)
def test_an_upstream_that_is_late_and_one_that_is_away_are_told_apart(
    failure: Exception, status: bytes
) -> None:
    standing, _ = passing(answering(failure))
    _, connection = standing.ask()
    assert connection.value().startswith(b"HTTP/1.1 " + status)
    assert b"\r\nAccess-Control-Allow-Origin: *\r\n" in connection.value()
    assert len(standing.traffic.upstreams) == 1
    assert isinstance(standing.traffic.upstreams[0], Outage)


def test_a_client_who_leaves_breaks_the_exchange_off_and_upstream_did_nothing() -> None:
    agent = answering()
    standing, _ = passing(agent)
    channel, _ = standing.ask()
    leave(channel)
    assert agent.cancelled == 1
    assert standing.traffic.upstreams == []


def test_a_door_may_withhold_other_headers() -> None:
    agent = answering(Answer(), Answer())
    standing, way = passing(agent)
    for withheld in (WITHHELD, WITHHELD - OF_HOMESERVERS):
        way.withheld = withheld
        standing.ask(headers=b"X-Matrix-User-Identifier: @alice:s\r\n")
    got = [asked.headers.hasHeader(b"X-Matrix-User-Identifier") for asked in agent.asked]
    assert got == [False, True]


def test_a_long_answer_comes_at_its_clients_pace() -> None:
    answer: Any = Answer(body=b"x" * (MOST_JUDGED + 1), ends=False)
    standing, _ = passing(answering(answer))
    _, connection = standing.ask()
    assert connection.value().count(b"x") == MOST_JUDGED + 1
    producer: Any = connection.producer
    producer.pauseProducing()
    assert answer.transport.producerState == "paused"
    producer.resumeProducing()
    answer.send(b"yy")
    answer.end()
    assert connection.value().count(b"y") == 2
