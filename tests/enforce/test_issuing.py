"""The token that goes out: what the rules together take from it, and on whose account."""

import json
from typing import Any

import jwt
import pytest

from lotus_guard.core.model import Identity, Source
from lotus_guard.core.token import KeyPair, Token, mint, open_token
from lotus_guard.enforce.finding import NO_MEDIA, Finding, WantedSeat
from lotus_guard.enforce.issuing import Issuing, Pass
from lotus_guard.enforce.recipient import Recipient
from lotus_guard.rules.rule import Allow, Fact, Forbid
from tests.enforce.stand_ins import ROOM, Given, Records, Says

PAIR = KeyPair("key", "a-secret-of-32-characters-or-more")
NOW = 1_790_000_000.0
LIFE = 300
ALICE = Recipient(ROOM, "@a:s", Identity("@a:s:D"), 0.0, 1.0)
CAMERA, SCREEN = Source.CAMERA, Source.SCREEN_SHARE


def token_of(*sources: str, seconds: int | None = 3600) -> Token:
    video: dict[str, Any] = {"room": "call", "canPublish": True}
    if sources:
        video["canPublishSources"] = list(sources)
    ends = {} if seconds is None else {"exp": int(NOW) + seconds}
    encoded = mint(PAIR, sub="@a:s:D", nbf=int(NOW), video=video, **ends)
    return open_token(encoded, [PAIR])


def forbids(rule: str, *sources: Source, is_observed: bool = False) -> Finding:
    verdict = Forbid(frozenset(sources)) if sources else Allow()
    return Finding(Says(rule, verdict), Given(bool(sources)), verdict, is_observed)


def seats(rule: str, is_observed: bool = False) -> Finding:
    return Finding(Says(rule, Allow()), Given(), Allow(), is_observed, WantedSeat(5, 1.0))


def issue(
    *findings: Finding, token: Token | None = None, life: int = LIFE
) -> tuple[Pass, list[tuple[str, str, bool]]]:
    """Issue a token; also the rule, the verdict and whether it was observed, of each record."""
    records = Records()
    passed = Issuing(life, records, lambda: NOW).issue(ALICE, token or token_of(), findings)
    made = [(ruling.rule, ruling.verdict, observed) for ruling, observed in records.decisions]
    return passed, made


def claims(passed: Pass) -> Any:
    assert passed.token is not None
    return jwt.decode(
        passed.token, PAIR.secret, algorithms=["HS256"], options={"verify_exp": False}
    )


@pytest.mark.parametrize("findings", [(), (forbids("one"),), (forbids("one"), forbids("two"))])
def test_a_token_that_no_rule_takes_from_goes_out_as_it_came(findings: Any) -> None:
    assert issue(*findings) == (Pass(), [])


def test_what_several_rules_forbid_unites_and_is_put_down_to_the_first_that_takes() -> None:
    passed, made = issue(forbids("one", CAMERA), forbids("two", CAMERA, SCREEN))
    assert claims(passed)["video"]["canPublishSources"] == ["microphone", "screen_share_audio"]
    assert claims(passed)["exp"] == NOW + LIFE
    assert made == [("one", "may publish microphone, screen_share_audio, valid for 300 s", False)]
    assert passed.decision == "decision1"


def test_it_is_signed_with_the_secret_that_upstream_signed_it_with() -> None:
    passed, _ = issue(forbids("one", CAMERA))
    assert open_token(passed.token or "", [KeyPair("other", "x" * 40), PAIR]).pair == PAIR


def test_a_rule_that_takes_what_was_not_there_is_not_the_one_behind_it() -> None:
    token = token_of("microphone", "screen_share")
    _, made = issue(forbids("one", CAMERA), forbids("two", SCREEN), token=token)
    assert [rule for rule, _, _ in made] == ["two"]


def test_a_seat_shortens_the_token_and_takes_nothing_else() -> None:
    passed, made = issue(forbids("one"), seats("limit"))
    assert "canPublishSources" not in claims(passed)["video"]
    assert claims(passed)["exp"] == NOW + LIFE
    assert made == [("limit", "may publish everything, valid for 300 s", False)]


@pytest.mark.parametrize(("life", "seconds"), [(0, 3600), (LIFE, LIFE), (LIFE, 60), (LIFE, None)])
def test_a_life_that_is_short_enough_stays(life: int, seconds: int | None) -> None:
    assert issue(seats("limit"), token=token_of(seconds=seconds), life=life) == (Pass(), [])


def test_who_may_publish_nothing_that_is_forbidden_keeps_their_token() -> None:
    token = token_of("microphone", seconds=60)
    assert issue(forbids("one", CAMERA), token=token) == (Pass(), [])


def test_an_observed_rule_takes_nothing_and_its_record_says_what_it_would() -> None:
    passed, made = issue(forbids("one", CAMERA, is_observed=True))
    assert passed == Pass()
    assert made == [
        ("one", "may publish microphone, screen_share, screen_share_audio, valid for 300 s", True)
    ]


def test_beside_an_enforced_rule_an_observed_one_says_what_both_would_do() -> None:
    passed, made = issue(forbids("one", CAMERA), forbids("two", SCREEN, is_observed=True))
    kept = ["microphone", "screen_share", "screen_share_audio"]
    assert claims(passed)["video"]["canPublishSources"] == kept
    assert made == [
        ("two", "may publish microphone, screen_share_audio, valid for 300 s", True),
        ("one", f"may publish {', '.join(kept)}, valid for 300 s", False),
    ]
    assert passed.decision == "decision2", "the answer names what was done"


@pytest.mark.parametrize("other", [forbids("two", CAMERA, is_observed=True), seats("limit", True)])
def test_an_observed_rule_that_would_change_nothing_more_is_not_on_record(other: Finding) -> None:
    _, made = issue(forbids("one", CAMERA), other)
    assert [(rule, observed) for rule, _, observed in made] == [("one", False)]


def test_an_observed_seat_would_shorten_the_token() -> None:
    passed, made = issue(seats("limit", is_observed=True))
    assert passed == Pass()
    assert made == [("limit", "may publish everything, valid for 300 s", True)]


def test_the_record_holds_what_it_takes_to_decide_once_more() -> None:
    records = Records()
    Issuing(LIFE, records, lambda: NOW).issue(ALICE, token_of(), [forbids("one", CAMERA)])
    ((ruling, _),) = records.decisions
    assert (ruling.room, ruling.user) == (ROOM, "@a:s")
    assert json.loads(json.dumps(ruling.inputs)) == {
        "grant": {"can_publish": True, "sources": []},
        "forbidden": ["camera"],
        "seconds": 3600,
        "life": LIFE,
    }


def test_what_the_live_loop_could_not_judge_is_not_given_back() -> None:
    """Who asks may know how many are there; in a call the same rule would forbid nothing."""
    counting = Says("one", Forbid(frozenset({CAMERA})), needs=[Fact.ATTENDANCE])
    findings = [
        Finding(counting, Given(), Forbid(frozenset({CAMERA})), False),
        forbids("two", SCREEN),
    ]
    passed, _ = issue(*findings)
    assert passed.sent is not None
    assert passed.sent.grant.sources == ("microphone", "screen_share_audio")
    assert passed.granted is not None
    assert passed.granted.sources == ("microphone", "screen_share", "screen_share_audio")
    data, _ = issue(Finding(counting, Given(), NO_MEDIA, False))
    assert data.granted == token_of().grant, "of a slot for data the live loop knows that"
