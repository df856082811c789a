"""The client API as the command line asks it; tests/contract/synapse.py asks a real one."""

import json
from typing import Any

import pytest
from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.matrix import Denied, Matrix
from tests.neighbours.answering import Answer, Answering, answering, outcome_of, result_of

ROOM = RoomId("!a:s")


def matrix(agent: Answering, token: str = "a-token-of-alices", **more: Any) -> Matrix:
    return Matrix(Http(agent, more.pop("clock", Clock())), "http://s", token, **more)


def said(status: int = 200, fields: Any = (), **headers: str) -> Answer:
    names = {name.replace("_", "-").encode(): value.encode() for name, value in headers.items()}
    return Answer(status, json.dumps(dict(fields)).encode(), names)


def test_what_is_asked_and_what_is_read() -> None:
    agent = answering(
        said(fields={"room_id": ROOM}),
        said(fields={"user_id": "@alice:s"}),
        said(fields={"membership": "join"}),
        said(fields={"event_id": "$1"}),
        said(fields={"state": [{"type": "m.x"}]}),
        said(fields={"access_token": "proof", "expires_in": 60}),
    )
    client = matrix(agent)
    assert result_of(client.room_of("#a/b:s")) == ROOM
    assert result_of(client.whoami()) == "@alice:s"
    assert result_of(client.membership(ROOM, "@alice:s")) == "join"
    result_of(client.set_state(ROOM, "m.x", {"a": 1}))
    assert result_of(client.events(ROOM, "m.x")) == [{"type": "m.x"}]
    assert result_of(client.openid_token("@alice:s"))["access_token"] == "proof"
    assert [(asked.method, asked.uri.decode()[8:]) for asked in agent.asked] == [
        (b"GET", "/_matrix/client/v3/directory/room/%23a%2Fb%3As"),
        (b"GET", "/_matrix/client/v3/account/whoami"),
        (b"GET", "/_matrix/client/v3/rooms/%21a%3As/state/m.room.member/%40alice%3As"),
        (b"PUT", "/_matrix/client/v3/rooms/%21a%3As/state/m.x/"),
        (b"GET", "/_synapse/admin/v1/rooms/%21a%3As/state?type=m.x"),
        (b"POST", "/_matrix/client/v3/user/%40alice%3As/openid/request_token"),
    ]
    assert [asked.body for asked in agent.asked if asked.body] == [b'{"a": 1}', b"{}"]
    tokens = {tuple(asked.headers.getRawHeaders(b"Authorization", [])) for asked in agent.asked}
    assert tokens == {(b"Bearer a-token-of-alices",)}


def test_the_homeservers_log_says_who_asked_where_that_is_told() -> None:
    agent = answering(said(fields={"user_id": "@a:s"}), said(fields={"user_id": "@a:s"}))
    result_of(matrix(agent).whoami())
    result_of(matrix(agent, user_agent="me").whoami())
    names = [asked.headers.getRawHeaders(b"User-Agent") for asked in agent.asked]
    assert names[1] == [b"me"]
    assert names[0] != names[1]


def test_without_a_token_none_is_sent() -> None:
    agent = answering(said(fields={"room_id": ROOM}))
    result_of(matrix(agent, token="").room_of("#a:s"))
    assert not agent.asked[0].headers.hasHeader(b"Authorization")


@pytest.mark.parametrize(
    "answer", [said(fields={"room_id": "no room"}), said(fields={"room_id": 1}), Answer(body=b"[]")]
)
def test_an_answer_that_makes_no_sense_is_none(answer: Answer) -> None:
    with pytest.raises(Denied) as raised:
        result_of(matrix(answering(answer)).room_of("#a:s"))
    assert (raised.value.status, raised.value.errcode) == (200, "")


def test_a_refusal_says_why_and_never_the_token() -> None:
    fields = {"errcode": "M_FORBIDDEN", "error": "a-token-of-alices may not"}
    with pytest.raises(Denied) as raised:
        result_of(matrix(answering(said(403, fields))).whoami())
    assert str(raised.value) == "403 M_FORBIDDEN: *** may not"
    assert "a-token" not in repr(matrix(answering()))


@pytest.mark.parametrize(
    ("later", "seconds"),
    [
        (said(429, {"retry_after_ms": 2500}), 2.5),
        (said(429, Retry_After="3"), 3.0),
        (said(429, {"retry_after_ms": 1}), 0.5),
        (said(429, {"retry_after_ms": True}), 0.5),
        (said(429, Retry_After="soon"), 0.5),
    ],
)
def test_who_is_told_to_come_later_does(later: Answer, seconds: float) -> None:
    clock, waits = Clock(), list[float]()
    agent = answering(later, said(fields={"user_id": "@alice:s"}))
    found = outcome_of(matrix(agent, clock=clock, on_wait=waits.append).whoami())
    assert (found, waits) == ([], [seconds])
    clock.advance(seconds)
    assert found == ["@alice:s"]


@pytest.mark.parametrize("much", [31_000, 10**30, float("inf")])
def test_nobody_waits_longer_than_their_patience(much: float) -> None:
    with pytest.raises(Denied) as raised:
        result_of(matrix(answering(said(429, {"retry_after_ms": much}))).whoami())
    assert raised.value.status == 429


def test_patience_is_for_all_waits_of_a_call_together() -> None:
    clock = Clock()
    agent = answering(*(said(429, {"retry_after_ms": 1000}) for _ in range(3)))
    found = outcome_of(matrix(agent, clock=clock, patience=2.5).whoami())
    clock.pump([1.0, 1.0])
    assert found[0].check(Denied)
    assert len(agent.asked) == 3
