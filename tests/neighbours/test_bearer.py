"""A token that may be renewed, within one deadline; and whose it is."""

from typing import Any

import pytest
from twisted.internet.task import Clock

from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.bearer import Bearer
from lotus_guard.neighbours.http import Http
from tests.neighbours.answering import Answer, Answering, answering, outcome_of, result_of
from tests.neighbours.model_homeserver import refusal, said


def bearer(agent: Answering, ends: list[Any], token: Credential[str] | None = None) -> Bearer:
    used = token or Credential("TOKEN", "secret")
    return Bearer(Http(agent, Clock()), "http://s", used, "the token", ends.append)


def test_whose_a_token_is_and_whether_it_serves_for_a_user() -> None:
    agent, ends = answering(said(user_id="@a:s"), said(user_id="@b/c:s")), list[Any]()
    asking = bearer(agent, ends)
    assert result_of(asking.whoami(1.0)) == "@a:s"
    assert result_of(asking.whoami(1.0, "@b/c:s")) == "@b/c:s"
    path = b"http://s/_matrix/client/v3/account/whoami"
    assert [each.uri for each in agent.asked] == [path, path + b"?user_id=%40b%2Fc%3As"]
    assert ends == [None, None]


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (refusal(401), Reason.UNAUTHORIZED),
        (refusal(403), Reason.UNAUTHORIZED),
        (refusal(404), Reason.NOT_FOUND),
        (refusal(429), Reason.GARBAGE),
        (said(500), Reason.SERVER_ERROR),
        (said(200), Reason.GARBAGE),
        (said(200, user_id="a:s"), Reason.GARBAGE),
        (said(200, user_id=7), Reason.GARBAGE),
        (Answer(200, b"<html>"), Reason.GARBAGE),
    ],
)
def test_what_names_nobody_is_an_outage_that_is_told(answer: Answer, reason: Reason) -> None:
    ends: list[Any] = []
    with pytest.raises(Outage) as raised:
        result_of(bearer(answering(answer), ends).whoami(1.0))
    assert raised.value.reason is reason
    assert ends == [raised.value]


def test_a_renewed_token_is_tried_until_the_same_moment() -> None:
    token: Credential[str] = Credential("TOKEN", "old", read=lambda: "new", now=lambda: 1.0)
    agent, ends = answering(refusal(401)), list[Any]()
    asking = bearer(agent, ends, token)
    outcome = outcome_of(asking.whoami(asking.due(1.0)))
    sent = [asked.headers.getRawHeaders(b"Authorization") for asked in agent.asked]
    assert sent == [[b"Bearer old"], [b"Bearer new"]]
    clock: Any = asking.http.clock
    clock.pump([1.0, 0.0, 0.0])
    assert outcome[0].value.reason is Reason.TIMEOUT
    assert asking.left(0.5) == 0.0
