"""The Matrix errors that we make ourselves."""

import json
from typing import Any

import pytest
from twisted.web.http_headers import Headers

from lotus_guard.core.sentence import Sentence
from lotus_guard.enforce.admission import Refusal
from lotus_guard.rules.rule import Refuse
from lotus_guard.web.problems import (
    RETRY_MS,
    Objections,
    Problem,
    name_decision,
    refused,
    too_many,
)
from tests.saying import ENGLISH, GERMAN
from tests.web.standing import Recorded

EXPOSED = b"Access-Control-Expose-Headers"


def test_a_problem_is_a_matrix_error_with_what_belongs_to_it() -> None:
    problem = Problem(403, "M_FORBIDDEN", Sentence("no"), (("io.lotus.limit", {"users": 2}),), "d1")
    assert json.loads(problem.body(ENGLISH)) == {
        "errcode": "M_FORBIDDEN",
        "error": "no",
        "io.lotus.limit": {"users": 2},
        "io.lotus.decision": "d1",
    }


def test_without_a_decision_none_is_named() -> None:
    problem = Problem(502, "M_UNKNOWN", Sentence("no_homeserver"))
    assert b"decision" not in problem.body(ENGLISH)


def test_what_upstream_exposes_stays_exposed() -> None:
    headers = Headers({EXPOSED: [b"X-A, X-B", b"X-C"]})
    name_decision(headers, "d1")
    assert headers.getRawHeaders(EXPOSED) == [b"X-A, X-B, X-C, Lotus-Guard-Decision"]


def test_a_rules_refusal_is_its_own_sentence_and_fields() -> None:
    problem = refused(Refusal(Refuse(Sentence("Full."), "why", fields={"io.lotus.limit": 2}), "d7"))
    assert (problem.status, problem.errcode) == (403, "M_FORBIDDEN")
    body = json.loads(problem.body(ENGLISH))
    assert body["error"] == "Full. (Reference: d7)"
    assert body["io.lotus.limit"] == 2
    assert problem.decision == "d7"


def test_a_problem_is_said_in_the_language_of_who_reads_it() -> None:
    problem = refused(Refusal(Refuse(Sentence("not_a_member"), "why"), "d7"))
    body = json.loads(problem.body(GERMAN))
    assert body["error"] == "Du bist nicht in diesem Raum. (Referenz: d7)"
    assert body["errcode"] == "M_FORBIDDEN"


def test_who_asks_too_much_is_told_when_to_come_again() -> None:
    assert json.loads(too_many().body(ENGLISH))["retry_after_ms"] == RETRY_MS


@pytest.mark.parametrize("observes", [False, True])
def test_what_could_be_served_is_refused_or_only_put_on_record(observes: bool) -> None:
    records = Recorded()
    kept: Any = records
    objections = Objections(kept, observes)
    problem = Problem(400, "M_BAD_JSON", Sentence("body_field_twice"))
    if observes:
        objections.object(problem)
    else:
        with pytest.raises(Problem) as raised:
            objections.object(problem)
        assert raised.value is problem
        assert problem.decision == "d1"
    (ruling,) = records.rulings
    assert "names a field twice" in str(ruling)
    assert records.observed == [observes]


def test_what_cannot_be_served_is_refused_even_where_all_is_observed() -> None:
    records = Recorded()
    kept: Any = records
    with pytest.raises(Problem):
        Objections(kept, observes=True).refuse(Problem(413, "M_TOO_LARGE", Sentence("long")))
    assert records.observed == [False]
