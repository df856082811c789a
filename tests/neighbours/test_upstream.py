"""What upstream gets of a request, and what clients get of its answer."""

from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.web.client import URI
from twisted.web.http_headers import Headers

from lotus_guard.enforce.ports import Reason
from lotus_guard.neighbours import upstream
from lotus_guard.neighbours.answers import read_answer
from lotus_guard.neighbours.upstream import (
    OF_HOMESERVERS,
    WITHHELD,
    Upstream,
    prepare_headers,
    target_of,
)
from tests.neighbours.answering import Answer, Answering, Later, answering, outcome_of

# The target.


@pytest.mark.parametrize(
    ("raw_target", "wanted"),
    [
        (b"/sfu/get;", b"/sfu/get"),
        (b"/sfu/get?", b"/sfu/get"),
        (b"http://h/sfu/get;?", b"/sfu/get"),
        (b"/a;b=c?d#e", b"/a;b=c?d%23e"),
        (b"/\xff \x00", b"/%FF%20%00"),
        (b"http://h", b"/"),
    ],
)
def test_what_is_looked_at_is_what_goes_out(raw_target: bytes, wanted: bytes) -> None:
    assert target_of(raw_target) == wanted


@given(st.from_regex(rb"/?(/[a-zA-Z0-9_;.%]{0,4}){1,3}(\?[a-z0-9_=&;%]{0,6}){0,2}", fullmatch=True))
@example(b"/sfu/get?n=1")
def test_a_plain_target_goes_out_as_the_client_below_would_write_it(target: bytes) -> None:
    assert target_of(target) == URI.fromBytes(b"http://u" + target).originForm


@pytest.mark.parametrize("target", [b"sfu/get", b"*", b"x:/sfu/get", b"ftp://h/", b"h:443"])
def test_what_is_neither_a_path_nor_a_url_has_no_target(target: bytes) -> None:
    with pytest.raises(ValueError, match="neither a path nor an http URL"):
        target_of(target)


# The headers.


def prepared(fields: dict[bytes, bytes], **more: Any) -> dict[bytes, list[bytes]]:
    headers = Headers({name: [value] for name, value in fields.items()})
    prepare_headers(headers, "192.0.2.1", b"guard", **more)
    return {name.lower(): list(values) for name, values in headers.getAllRawHeaders()}


FORWARDED = {
    b"x-forwarded-for": [b"192.0.2.1"],
    b"x-forwarded-proto": [b"http"],
    b"x-forwarded-host": [b"guard"],
}


def test_who_asked_for_what_host_by_what_scheme_is_told_behind_what_others_told() -> None:
    assert prepared({}) == FORWARDED
    told = {b"X-Forwarded-For": b"a, b", b"X-Forwarded-Proto": b"https", b"X-Forwarded-Host": b"h"}
    assert prepared(told) == {
        b"x-forwarded-for": [b"a, b, 192.0.2.1"],
        b"x-forwarded-proto": [b"https"],
        b"x-forwarded-host": [b"h"],
    }


@given(st.sampled_from(sorted(WITHHELD)), st.data())
def test_no_spelling_of_a_withheld_header_goes_through(name: bytes, data: Any) -> None:
    letters = [bytes([byte]) for byte in name]
    spelt = b"".join(
        data.draw(st.sampled_from([each, each.upper(), b"_" if each == b"-" else each]))
        for each in letters
    )
    assert prepared({spelt: b"x"}) == FORWARDED


def test_long_names_of_headers_fill_no_memory_and_are_withheld_all_the_same() -> None:
    long = b"X" * 8000
    assert (
        prepared({b"Connection": long + b", X-Made-Up-Here", long: b"1"})
        .keys()
        .isdisjoint({long.lower(), b"connection"})
    )
    for number in range(200):
        prepared({b"X-Made-Up-%d" % number: b"1"})
    assert upstream._found.cache_info().currsize <= 64


def test_what_connection_names_is_for_us_alone() -> None:
    fields = {b"Connection": b"close, X-Hop ,x_other", b"X-Hop": b"1", b"X-Other": b"2"}
    assert prepared({**fields, b"Cookie": b"kept"}) == {**FORWARDED, b"cookie": [b"kept"]}


def test_a_door_may_let_a_homeservers_word_through() -> None:
    named = {b"X-Matrix-User-Identifier": b"@alice:s", b"Connection": b"close"}
    assert prepared(named, withheld=WITHHELD - OF_HOMESERVERS) == {
        **FORWARDED,
        b"x-matrix-user-identifier": [b"@alice:s"],
    }


# The answer.


def forward(agent: Answering, body: bytes = b"", **more: Any) -> list[Any]:
    upstream = Upstream(agent, b"http://u:1", Clock(), **more)
    return outcome_of(upstream.forward(b"POST", b"/sfu/get", Headers({b"A": [b"b"]}), body))


def test_an_answer_comes_back_without_what_is_between_us_and_upstream() -> None:
    fields = {b"Keep-Alive": b"5", b"Connection": b"X-Hop", b"X-Hop": b"1", b"X-Own": b"2"}
    agent = answering(Answer(418, b"tea", fields, phrase=b"Teapot"))
    (reply,) = forward(agent, b"in")
    assert (reply.status, reply.phrase, reply.body.collected) == (418, b"Teapot", b"tea")
    assert reply.body.is_whole
    assert dict(reply.headers.getAllRawHeaders()) == {b"X-Own": [b"2"]}
    (asked,) = agent.asked
    assert (asked.method, asked.uri, asked.body) == (b"POST", b"http://u:1/sfu/get", b"in")


@pytest.mark.parametrize(("most", "is_whole"), [(3, True), (2, False)])
def test_an_answer_that_came_in_one_piece_is_there_at_once(most: int, is_whole: bool) -> None:
    answer = read_answer(
        b"HTTP/1.1 418 Teapot\r\nContent-Length: 3\r\nTrailer: a\r\nX-Own: 2\r\n\r\ntea"
    )
    assert answer is not None
    (reply,) = forward(answering(answer), most=most)
    assert (reply.status, reply.phrase) == (418, b"Teapot")
    assert dict(reply.headers.getAllRawHeaders()) == {b"X-Own": [b"2"]}
    assert (reply.body.is_whole, reply.body.collected) == (is_whole, b"tea"[:most])
    client = StringTransport()
    assert outcome_of(reply.body.stream(client)) == [None]
    assert client.value() == b"tea"


def test_one_deadline_is_for_the_headers_and_the_body_together() -> None:
    clock, answered, answer = Clock(), Deferred[Any](), Answer(ends=False)
    agent: Any = Later(answered)
    asking = Upstream(agent, b"http://u:1", clock, 10.0)
    found = outcome_of(asking.forward(b"GET", b"/", Headers(), b""))
    clock.advance(6.0)
    answered.callback(answer)
    clock.pump([3.9, 0.0])
    assert found == []
    clock.pump([0.2, 0.0])
    assert found[0].value.reason is Reason.TIMEOUT
    assert answer.is_closed


def test_a_long_answer_is_there_before_its_end() -> None:
    answer = Answer(body=b"12345", ends=False)
    (reply,) = forward(answering(answer), most=4)
    assert not reply.body.is_whole
    assert not answer.is_closed


def test_an_upstream_that_breaks_off_or_refuses_is_an_outage() -> None:
    answer = Answer(ends=False)
    found = forward(answering(answer))
    answer.break_off()
    assert found[0].value.reason is Reason.RESET
    (failed,) = forward(answering(TimeoutError()))
    assert failed.value.reason is Reason.TIMEOUT
