"""Nothing of one user's reaches another by treq, and nothing grows on its way."""

import gzip
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.web.http_headers import Headers

from lotus_guard.enforce.ports import Allowance
from lotus_guard.neighbours.bodies import collect
from lotus_guard.neighbours.synapse_admin import state_path
from lotus_guard.neighbours.treq_client import Client
from tests.neighbours.answering import Answer, Answering, answering, outcome_of, result_of

BASE = "http://127.0.0.1:8008"


def ask(agent: Answering, url: str = f"{BASE}/x", method: str = "GET", **more: Any) -> Any:
    headers = Headers({b"Authorization": [b"Bearer t"]})
    (answer,) = outcome_of(
        Client(agent).request(method, url.encode(), headers=headers, data=more.get("body"))
    )
    return answer


def test_no_cookie_of_an_answer_is_sent_with_the_next_request() -> None:
    agent = answering(*(Answer(fields={b"Set-Cookie": b"user=alice; Path=/"}) for _ in range(2)))
    client = Client(agent)
    for _ in range(2):
        outcome_of(client.request("GET", f"{BASE}/x".encode()))
    assert [asked.headers.hasHeader(b"Cookie") for asked in agent.asked] == [False, False]


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_an_answer(status: int) -> None:
    agent = answering(Answer(status, fields={b"Location": b"http://elsewhere/"}))
    assert ask(agent).code == status
    assert len(agent.asked) == 1


def test_no_compression_is_asked_for_and_none_is_undone() -> None:
    bomb = gzip.compress(b"x" * 1_000_000)
    agent = answering(Answer(body=bomb, fields={b"Content-Encoding": b"gzip"}))
    answer = ask(agent)
    assert not agent.asked[0].headers.hasHeader(b"Accept-Encoding")
    assert result_of(collect(answer, Allowance(len(bomb)))) == bomb


def test_headers_that_are_handed_in_stay_as_they_were() -> None:
    headers = Headers({b"A": [b"b"]})
    outcome_of(Client(answering()).request("GET", b"http://h/", headers=headers))
    assert dict(headers.getAllRawHeaders()) == {b"A": [b"b"]}


@pytest.mark.parametrize("body", [None, b"", b"text", b'{"json": 1}'])
def test_a_body_goes_out_as_it_is(body: bytes | None) -> None:
    agent = answering()
    outcome_of(Client(agent).request("PUT", b"http://h/", data=body))
    (asked,) = agent.asked
    assert (asked.method, asked.body) == (b"PUT", body or b"")
    assert dict(asked.headers.getAllRawHeaders()) == {}


@given(st.text(), st.text())
def test_a_url_goes_out_as_it_is_written(room: str, event_type: str) -> None:
    agent = answering()
    url = f"{BASE}{state_path(room, event_type)}".encode()
    outcome_of(Client(agent).request("GET", url))
    assert agent.asked[0].uri == url


def test_what_treq_can_do_besides_is_refused() -> None:
    client: Any = Client(answering())
    others: list[dict[str, Any]] = [
        {"params": {"a": "b"}},
        {"json": {}},
        {"timeout": 1.0},
        {"cookies": {}},
    ]
    for more in others:
        with pytest.raises(TypeError):
            client.request("GET", b"http://h/", **more)


def test_treqs_own_methods_go_the_same_way() -> None:
    agent = answering(Answer(body=b"out"))
    client: Any = Client(agent)
    (answer,) = outcome_of(client.post(b"http://h/x", data=b"in"))
    assert result_of(collect(answer, Allowance(3))) == b"out"
    assert (agent.asked[0].method, agent.asked[0].body) == (b"POST", b"in")
