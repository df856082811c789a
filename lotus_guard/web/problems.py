"""The answers of our own making: Matrix errors, and those of them that are put on record.

Each is JSON and has upstream's CORS headers; without these a browser reports nothing but a network
failure, and Element Call retries for half a minute (docs/facts.md, Element Call: refusals).
"""

import json
from typing import Any, Never

from attrs import define, field
from twisted.web.http_headers import Headers

from lotus_guard.core.sentence import Catalogue, Sentence
from lotus_guard.enforce.admission import Refusal
from lotus_guard.enforce.ports import Records
from lotus_guard.rules.decision import DECISION_FIELD
from lotus_guard.rules.rulings import request_refused
from lotus_guard.words.files import ENGLISH, built_in

RETRY_MS = 2000

CORS = {
    b"Content-Type": b"application/json",
    b"Vary": b"Accept-Language",
    b"Access-Control-Allow-Origin": b"*",
    b"Access-Control-Allow-Methods": b"POST",
    b"Access-Control-Allow-Headers": (
        b"Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token"
    ),
}

UNRECOGNISED = Sentence("Unrecognised homeserver access token")
"""In upstream's words, whatever the language: homeservers read it, not users."""

DECISION_HEADER = b"Lotus-Guard-Decision"
_EXPOSED = b"Access-Control-Expose-Headers"


@define(eq=False)
class Problem(Exception):
    """Why a request gets another answer than upstream's."""

    status: int
    errcode: str
    sentence: Sentence
    """What whoever asked reads, in their language."""
    extra: tuple[tuple[str, Any], ...] = ()
    decision: str = ""
    """The id of the decision to refuse; empty where nobody decided anything."""

    def body(self, words: Catalogue) -> bytes:
        """Write the Matrix error in a language."""
        error = words.say(self.sentence)
        fields = {"errcode": self.errcode, "error": error, **dict(self.extra)}
        if self.decision:
            fields[DECISION_FIELD] = self.decision
        return json.dumps(fields).encode() + b"\n"


def name_decision(headers: Headers, decision: str) -> None:
    """Name the decision in an answer, where a browser's scripts may read it as well."""
    lines = headers._rawHeaders  # what is put there is all ours: nothing in it needs cleaning
    lines[DECISION_HEADER] = [decision.encode("ascii")]
    lines[_EXPOSED] = [b", ".join([*lines.get(_EXPOSED, ()), DECISION_HEADER])]


def refused(refusal: Refusal) -> Problem:
    """A rule refuses the token. Element Call shows the sentence under "Technical details"."""
    said: dict[str, str | Sentence] = {
        "sentence": refusal.refuse.sentence,
        "decision": refusal.decision,
    }
    return Problem(
        403,
        "M_FORBIDDEN",
        Sentence("reference", said),
        tuple(refusal.refuse.fields.items()),
        refusal.decision,
    )


def too_many() -> Problem:
    """One client asks for too much at once."""
    return Problem(
        429,
        "M_LIMIT_EXCEEDED",
        Sentence("too_many_requests"),
        (("retry_after_ms", RETRY_MS),),
    )


@define(eq=False)
class Objections:
    """Refuses requests that we do not serve, whatever the policy, and puts that on record."""

    records: Records
    observes: bool = False
    """Whether what could be served all the same is, and only recorded."""
    english: Catalogue = field(factory=lambda: built_in()[ENGLISH])
    """What is on record is for operators, who look it up: it is the same for all clients."""

    def object(self, problem: Problem) -> None:
        """Refuse a request that we could serve, though unjudged; raises the problem."""
        if self.observes:
            self._record(problem, observed=True)
        else:
            self.refuse(problem)

    def refuse(self, problem: Problem) -> Never:
        """Refuse a request that we cannot serve; raises the problem."""
        problem.decision = self._record(problem)
        raise problem

    def _record(self, problem: Problem, observed: bool = False) -> str:
        error = self.english.say(problem.sentence)
        ruling = request_refused(problem.status, problem.errcode, error)
        once = (observed, problem.errcode, error)
        return self.records.decided(ruling, observed=observed, once=once)
