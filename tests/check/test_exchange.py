"""How the checks ask, and how an answer or a failure reads."""

import json

import pytest
from pytest_twisted import ensureDeferred
from twisted.web.http_headers import Headers

from lotus_guard.check.exchange import (
    clock_offset_of,
    describe_answer,
    describe_outage,
    errcode_of,
    fields_of,
    header,
    outage_in_words,
    request,
)
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.agents import pooled_agents
from lotus_guard.neighbours.http import Http, HttpAnswer
from tests.world import World, http_answer, reactor

URL = "http://127.0.0.1:1"


def answer(status: int = 200, body: bytes = b"", **headers: str) -> HttpAnswer:
    sent = Headers({name.replace("_", "-"): [value] for name, value in headers.items()})
    return HttpAnswer(status, sent, body)


@ensureDeferred
async def test_a_request_says_who_asks_and_brings_the_whole_answer(world: World) -> None:
    world.start_guard()
    agents = pooled_agents(reactor)
    http = Http(agents.upstream, reactor)
    try:
        found = await request(http, "POST", f"{world.url}/sfu/get", {"Origin": "x"}, b"{}")
        assert (found.status, errcode_of(found)) == (400, "M_BAD_JSON")
        with pytest.raises(Outage) as raised:
            await request(http, "GET", world.serve(), seconds=0.2)
        assert raised.value.reason is Reason.TIMEOUT
        with pytest.raises(Outage) as raised:
            await request(http, "GET", world.serve(http_answer(b"", length=9 * 1024 * 1024)))
        assert raised.value.reason is Reason.OVERSIZED
    finally:
        await agents.close()


@pytest.mark.parametrize(
    ("reason", "url", "words"),
    [
        (Reason.REFUSED, URL, f"no answer from {URL}: connection refused"),
        (Reason.DNS, URL, "the host name does not resolve"),
        (Reason.TIMEOUT, URL, "no answer in time"),
        (Reason.GARBAGE, URL, "does not speak HTTP (why)"),
        (Reason.GARBAGE, "https://x", "https://x has no TLS certificate that can be trusted (why)"),
    ],
)
def test_why_nothing_came(reason: Reason, url: str, words: str) -> None:
    assert words in describe_outage(Outage(reason, "why"), url)


def test_why_nothing_came_in_few_words() -> None:
    assert outage_in_words(Outage(Reason.RESET, "x")) == "the connection broke"
    assert outage_in_words(Outage(Reason.GARBAGE, "what it was")) == "what it was"


def test_an_answer_is_described_without_its_body() -> None:
    found = answer(401, b"invalid token: eyJ", Content_Type="text/plain; charset=utf-8")
    assert describe_answer(found) == "401 text/plain"
    assert describe_answer(answer(204)) == "204"


def test_what_is_no_object_has_no_fields() -> None:
    assert fields_of(answer(body=b'{"a": 1}')) == {"a": 1}
    assert fields_of(answer(body=b"[1]")) == {}
    assert errcode_of(answer(body=json.dumps({"errcode": 5}).encode())) == ""
    assert header(answer(), "X") == ""


@pytest.mark.parametrize(
    ("date", "offset"),
    [("Thu, 01 Jan 1970 00:01:40 GMT", 60.0), ("soon", None), ("", None)],
)
def test_a_servers_clock_against_ours(date: str, offset: float | None) -> None:
    assert clock_offset_of(answer(Date=date), 40.0) == offset
