"""Nobody is measured who does not do their job at each door that they are asked at."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from bench.candidates import EARLIER, OURS, RIVAL, Candidate, Running, available, check, direct
from bench.cells import CELLS, CORE
from bench.traffic import (
    ALLOWED,
    FULL,
    HOMESERVER,
    HS_TOKEN,
    KEY,
    SECRET,
    Ask,
    Table,
    claims_of,
)
from lotus_guard.core.token import KeyPair, mint
from tests.bench.serving import Quiet, serving

TABLE = Table(rooms=1, users=2)
Verdict = tuple[int, str]


@contextmanager
def served(judge: Callable[[Ask, Any], Verdict]) -> Iterator[Running]:
    """Run what answers each request of the table, by its number, as `judge` says."""

    class Handler(Quiet):
        def do_POST(self) -> None:
            self.rfile.read(int(self.headers["Content-Length"]))
            ask = TABLE.asks[int(self.path.partition("?n=")[2])]
            assert ask.path == self.path
            status, body = judge(ask, self.headers)
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

    with serving(Handler) as port:
        yield Running(port)


def guarded(ask: Ask, _headers: Any) -> Verdict:
    """What a guard answers."""
    if ask.kind == FULL:
        return 403, "{}"
    return 200, ask.answer if ask.kind == "open" else narrowed(ask)


def narrowed(ask: Ask, **changed: Any) -> str:
    claims = {**claims_of(ask.answer), **changed}
    claims["video"] = {**claims["video"], "canPublishSources": ALLOWED}
    return json.dumps({"jwt": mint(KeyPair(KEY, SECRET), **claims)})


def lets_all_in(ask: Ask, headers: Any) -> Verdict:
    return guarded(ask, headers) if ask.kind != FULL else (200, ask.answer)


def narrows_all(ask: Ask, headers: Any) -> Verdict:
    return (200, narrowed(ask)) if ask.kind == "open" else guarded(ask, headers)


def forgets_the_door(ask: Ask, headers: Any) -> Verdict:
    return (200, ask.answer) if ask.door == HOMESERVER else guarded(ask, headers)


def takes_one_for_another(ask: Ask, headers: Any) -> Verdict:
    return guarded(ask, headers) if ask.kind == FULL else (200, narrowed(ask, sub="@m:bench:D"))


def test_who_does_the_job_passes() -> None:
    with served(guarded) as runs:
        check("guard", Candidate(direct, CELLS), runs, TABLE)


def test_who_is_no_guard_lets_everybody_through_as_they_are() -> None:
    with served(lambda ask, _headers: (200, ask.answer)) as runs:
        check("proxy", Candidate(direct, CELLS, is_guard=False), runs, TABLE)
    with served(guarded) as runs, pytest.raises(AssertionError):
        check("proxy", Candidate(direct, CELLS, is_guard=False), runs, TABLE)


@pytest.mark.parametrize(
    "judge",
    [
        lets_all_in,
        narrows_all,
        forgets_the_door,
        takes_one_for_another,
        lambda ask, _headers: (200, ask.answer),
        lambda _ask, _headers: (403, "{}"),
    ],
)
def test_who_does_it_badly_is_not_measured(judge: Callable[[Ask, Any], Verdict]) -> None:
    with served(judge) as runs, pytest.raises(AssertionError):
        check("guard", Candidate(direct, CELLS), runs, TABLE)


def test_nobody_is_asked_at_a_door_where_they_are_not_measured() -> None:
    with served(forgets_the_door) as runs:
        check("guard", Candidate(direct, CORE), runs, TABLE)


def test_each_door_hears_who_asks() -> None:
    def judge(ask: Ask, headers: Any) -> Verdict:
        if ask.door == HOMESERVER:
            assert headers["X-Matrix-User-Identifier"] == ask.user
            assert headers["Authorization"] == f"Bearer {HS_TOKEN}"
            assert "X-Forwarded-For" not in headers
        else:
            assert headers["X-Forwarded-For"] == ask.address
        return guarded(ask, headers)

    with served(judge) as runs:
        check("guard", Candidate(direct, CELLS), runs, TABLE)


def test_the_rival_and_ours_are_measured_everywhere_and_one_after_the_other() -> None:
    candidates, _ = available("no-such-revision")
    names = list(candidates)
    assert names.index(OURS) == names.index(RIVAL) + 1
    assert list(candidates[OURS].cells) == list(candidates[RIVAL].cells) == CELLS


def test_a_revision_that_is_not_there_is_left_out_with_a_sentence() -> None:
    candidates, left_out = available("no-such-revision")
    assert not [name for name in candidates if name.startswith(EARLIER)]
    assert any(text.startswith(f"{EARLIER}no-such-revision: ") for text in left_out)
