"""State as an application service reads it: refusals in its own words are no failures."""

import pytest

from lotus_guard.core.membership import Membership
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.client_state import (
    Piece,
    Seen,
    is_refusal,
    read_state,
    said_by,
    state_as_path,
)
from lotus_guard.neighbours.http import HttpAnswer
from tests.neighbours.answering import Answer
from tests.neighbours.model_homeserver import refusal, said


def read(answer: Answer) -> HttpAnswer:
    return HttpAnswer(answer.code, answer.headers, answer.body)


def test_the_key_may_be_empty_and_the_user_is_always_named() -> None:
    path = state_as_path("!r", Piece("m.room.name"), "@a:s")
    assert path == "/_matrix/client/v3/rooms/%21r/state/m.room.name/?user_id=%40a%3As"
    assert state_as_path("!r", Piece("m.x", "k"), "@a:s").endswith("/m.x/k?user_id=%40a%3As")


def test_all_of_an_event_is_asked_for_beside_the_user() -> None:
    path = state_as_path("!r", Piece("m.room.create", is_whole=True), "@a:s")
    assert path.endswith("/m.room.create/?user_id=%40a%3As&format=event")


def test_content_and_refusals() -> None:
    assert read_state(read(said(a=1))) == Seen(200, content={"a": 1})
    for status in (400, 401, 403, 404):
        seen = read_state(read(refusal(status)))
        assert (seen.status, seen.content) == (status, None)
        assert is_refusal(read(refusal(status)))
    assert read_state(read(refusal(404))).is_none
    assert not read_state(read(refusal(404, "M_UNKNOWN"))).is_none
    assert not read_state(read(refusal(403, "M_NOT_FOUND"))).is_none


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (Answer(200, b"[]"), Reason.GARBAGE),
        (Answer(403, b"<html>"), Reason.GARBAGE),
        (Answer(404, b"<html>"), Reason.NOT_FOUND),
        (refusal(404, "M_UNRECOGNIZED"), Reason.NOT_FOUND),
        (said(403, errcode=7), Reason.GARBAGE),
        (refusal(429), Reason.GARBAGE),
        (refusal(502), Reason.SERVER_ERROR),
        (refusal(302), Reason.GARBAGE),
    ],
)
def test_all_else_is_an_outage(answer: Answer, reason: Reason) -> None:
    assert not is_refusal(read(answer))
    with pytest.raises(Outage) as raised:
        read_state(read(answer))
    assert raised.value.reason is reason


def test_a_membership_is_one_of_matrixs() -> None:
    assert said_by({"membership": "knock"}) is Membership.KNOCK
    for content in ({}, {"membership": 7}, {"membership": "unheard"}, {"membership": "no room"}):
        with pytest.raises(Outage):
            said_by(content)
