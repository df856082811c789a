"""Whose an OpenID token is: only our homeserver is asked, and only its word counts."""

import json
from typing import Any

import pytest
from twisted.internet.task import Clock

from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.openid import (
    KNOWN_SECONDS,
    MOST_KNOWN,
    MOST_TOKEN,
    OpenId,
    OpenIdToken,
)
from lotus_guard.neighbours.our_server import OurServer
from tests.neighbours.answering import Answer, Answering, answering, result_of

URL = "http://hs:8008"
TOKEN = OpenIdToken("secret-token", "s")


def said(sub: object = "@a:s", code: int = 200) -> Answer:
    return Answer(code, json.dumps({"sub": sub}).encode())


def error(code: int, errcode: str | None = "M_UNKNOWN_TOKEN") -> Answer:
    return Answer(code, json.dumps({"errcode": errcode}).encode() if errcode else b"<html>")


def openid(agent: Answering, clock: Clock | None = None, name: str = "s") -> OpenId:
    clock = clock or Clock()
    return OpenId(Http(agent, clock), URL, OurServer(name), 3.0, clock.seconds)


def asked(*answers: Any, token: OpenIdToken = TOKEN, name: str = "s") -> Any:
    return result_of(openid(answering(*answers), name=name).user(token))


def test_our_homeserver_is_asked_whose_it_is() -> None:
    agent = answering(said())
    assert result_of(openid(agent).user(OpenIdToken("a b&c/e", "s"))) == "@a:s"
    (one,) = agent.asked
    path = b"/_matrix/federation/v1/openid/userinfo?access_token=a%20b%26c%2Fe"
    assert (one.method, one.uri) == (b"GET", URL.encode() + path)


@pytest.mark.parametrize("name", ["s", ""])
def test_another_server_is_never_believed(name: str) -> None:
    agent = answering(said("@a:s"))
    assert result_of(openid(agent, name=name).user(OpenIdToken("t", "evil"))) is None
    assert len(agent.asked) == (0 if name else 1)


def test_a_user_of_another_server_is_nobodys() -> None:
    assert asked(said("@a:elsewhere")) is None


@pytest.mark.parametrize("secret", ["", "x" * (MOST_TOKEN + 1), "a\x00b", "a\nb", "ä", "\ud800"])
def test_what_no_homeserver_makes_is_never_asked_about(secret: str) -> None:
    agent = answering()
    assert result_of(openid(agent).user(OpenIdToken(secret, "s"))) is None
    assert agent.asked == []


@pytest.mark.parametrize(
    "answer", [error(401), error(403, "M_FORBIDDEN"), error(401, "M_MISSING_TOKEN")]
)
def test_whom_it_does_not_know_it_does_not_vouch_for(answer: Answer) -> None:
    assert asked(answer) is None


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (error(401, None), Reason.UNAUTHORIZED),
        (error(404, "M_UNRECOGNIZED"), Reason.NOT_FOUND),
        (error(429, "M_LIMIT_EXCEEDED"), Reason.GARBAGE),
        (error(502, None), Reason.SERVER_ERROR),
        (said(code=302), Reason.GARBAGE),
        (said(None), Reason.GARBAGE),
        (said("@a:s\n"), Reason.GARBAGE),
        (said("nobody"), Reason.GARBAGE),
        (Answer(200, b"x" * 5000), Reason.OVERSIZED),
    ],
)
def test_any_other_answer_is_an_outage(answer: Answer, reason: Reason) -> None:
    with pytest.raises(Outage) as raised:
        asked(answer)
    assert raised.value.reason is reason


def test_a_yes_is_remembered_for_a_moment_and_a_no_is_not() -> None:
    clock = Clock()
    agent = answering(error(401), said(), said("@b:s"))
    asking = openid(agent, clock)
    assert result_of(asking.user(TOKEN)) is None
    assert result_of(asking.user(TOKEN)) == "@a:s"
    clock.advance(KNOWN_SECONDS)
    assert result_of(asking.user(TOKEN)) == "@a:s"
    clock.advance(0.1)
    assert result_of(asking.user(TOKEN)) == "@b:s"
    assert len(agent.asked) == 3


def test_the_same_token_for_another_server_is_another_one() -> None:
    agent = answering(said(), said())
    asking = openid(agent, name="")
    assert result_of(asking.user(TOKEN)) == "@a:s"
    assert result_of(asking.user(OpenIdToken(TOKEN.secret, "t"))) is None


def test_the_memory_is_bounded_and_holds_no_secret() -> None:
    agent = answering(*(said() for _ in range(MOST_KNOWN + 5)))
    asking = openid(agent)
    for number in range(MOST_KNOWN + 5):
        result_of(asking.user(OpenIdToken(f"secret-{number}", "s")))
    assert len(asking._known) == MOST_KNOWN
    assert asking._known.bytes < MOST_KNOWN * 1024
    assert all(isinstance(key, bytes) and len(key) == 32 for key, _ in asking._known.items())
    assert "secret" not in repr(TOKEN)
