"""What is on record can be decided once more, by everybody, with the same end."""

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.claim import given as given_back
from lotus_guard.core.model import (
    Attendance,
    Grant,
    Identity,
    Kind,
    LiveKitRoom,
    Participant,
    RoomId,
    Source,
    Track,
)
from lotus_guard.core.token import KeyPair, Token, lifetime, restrain
from lotus_guard.rules import RULES
from lotus_guard.rules.decision import Deed, Ruling
from lotus_guard.rules.plan import Ban, Curb, GiveBack, Narrow, Remove, Silence, Step, plan
from lotus_guard.rules.rulings import (
    Cut,
    let_through,
    not_enforced,
    request_refused,
    step_taken,
    takes_sources,
    token_changed,
)
from lotus_guard.rules.rulings import replay as replay_by
from tests.rules.recorded import on_record
from tests.rulings import seat_refused

texts = st.text(max_size=20)
names = st.sampled_from([*Source, "unknown", "CAMERA"]).map(str)
grants = st.builds(Grant, st.booleans(), st.lists(names, max_size=5).map(tuple))
forbidden = st.frozensets(st.sampled_from([s for s in Source if s is not Source.MICROPHONE]))
tracks = st.lists(st.builds(Track, st.sampled_from(Kind), names), max_size=3).map(tuple)
ROOM, USER = RoomId("!r:s"), "@u:s"


def replay(ruling: Ruling) -> str | None:
    return replay_by(ruling, RULES)


@given(grants, forbidden, tracks, st.booleans())
def test_a_step_is_planned_again_from_its_record(
    grant: Grant, forbids: frozenset[Source], published: tuple[Track, ...], stands: bool
) -> None:
    someone = Participant(Identity("i"), "sid", grant, published)
    rooms = {LiveKitRoom("a"): Attendance(0.0, (someone,))}
    bans = (Ban("sources", forbids),)
    for step in plan(rooms, lambda _: bans, [USER] if stands else [], lambda _: USER):
        ruling = on_record(step_taken(ROOM, USER, step, "sources")).ruling
        assert replay(ruling) == ruling.verdict
        assert ruling.verdict != "left alone"


@given(grants, forbidden, st.none() | st.integers(1, 7200), st.integers(0, 7200))
def test_a_changed_token_is_changed_again_from_its_record(
    grant: Grant, forbids: frozenset[Source], seconds: int | None, life: int
) -> None:
    ruling = on_record(
        token_changed(ROOM, USER, grant, Cut("sources", forbids, life), seconds)
    ).ruling
    assert replay(ruling) == ruling.verdict


@given(grants, forbidden, st.integers(1, 7200), st.integers(0, 7200))
def test_the_record_says_what_the_token_says(
    grant: Grant, forbids: frozenset[Source], seconds: int, life: int
) -> None:
    video: dict[str, Any] = {"room": "a", "canPublish": grant.can_publish}
    claims = {"sub": "i", "nbf": 1000, "exp": 1000 + seconds, "video": video}
    token = Token(claims, LiveKitRoom("a"), Identity("i"), grant, KeyPair("k", "s"))
    sent = restrain(token, forbids, life, 5000.0)
    verdict = token_changed(
        ROOM, USER, grant, Cut("sources", forbids, life), lifetime(token, 5000.0)
    ).verdict
    assert verdict.endswith(f"valid for {sent.claims['exp'] - 1000} s")
    assert verdict.startswith("may publish nothing") == (not sent.grant.can_publish)


@given(st.integers(1, 50), st.integers(0, 60))
def test_a_refusal_stands_or_falls_with_its_inputs(limit: int, taken: int) -> None:
    ruling = on_record(seat_refused(ROOM, USER, limit, taken)).ruling
    assert replay(ruling) == ("refused" if taken >= limit else "admitted")
    assert replay(evolve(ruling, inputs={**ruling.inputs, "is_seated": True})) == "admitted"


@given(texts, texts)
def test_what_no_rule_was_asked_about_is_on_record_all_the_same(code: str, text: str) -> None:
    for ruling in (
        request_refused(400, code, text),
        let_through("limit", "timeout", text, None, None),
    ):
        assert replay(on_record(ruling).ruling) is None
        assert ruling.why.isprintable()


def test_a_decision_names_as_many_people_as_there_is_room_for() -> None:
    few = [f"@{number}:s" for number in range(60)]
    assert seat_refused(ROOM, "@u:s", 2, 2, few).people == tuple(few[:50])
    long = [f"@{number}{'x' * 990}:s" for number in range(60)]
    assert seat_refused(ROOM, "@u:s", 2, 2, long).people == tuple(long[:4])


SOMEBODY = Participant(Identity("i"), "S", Grant(True, ()), (Track(Kind.VIDEO, "microphone"),))
CALL = LiveKitRoom("a")
NOTHING_HEARD = Ban("limit", frozenset(Source))
FOR_DATA = "the slot is for data: nobody may talk there in a room with a seat limit"
BANS = (Ban("sources", frozenset({Source.CAMERA})),)


@pytest.mark.parametrize(
    ("step", "verdict", "why"),
    [
        (
            Narrow(CALL, evolve(SOMEBODY, tracks=()), Grant(True, ("microphone",)), BANS),
            "narrowed: may publish microphone, screen_share, screen_share_audio",
            "the room forbids camera",
        ),
        (
            Narrow(CALL, evolve(SOMEBODY, tracks=()), Grant(False, ()), (NOTHING_HEARD,)),
            "narrowed: may publish nothing",
            FOR_DATA,
        ),
        (
            Silence(CALL, SOMEBODY, bans=BANS),
            "silenced",
            "published a track that is not what it claims to be",
        ),
        (
            Remove(CALL, SOMEBODY, USER),
            "put out of the call",
            "joined a full call without a seat",
        ),
        (
            Curb(CALL, SOMEBODY),
            "curbed",
            "wrote so much data that the guard could not read who is in the call",
        ),
    ],
)
def test_each_kind_of_step_is_told_in_words(step: Step, verdict: str, why: str) -> None:
    ruling = step_taken(ROOM, USER, step, "sources")
    assert (ruling.verdict, ruling.why) == (verdict, why)
    assert replay(on_record(ruling).ruling) == verdict
    failed = step_taken(ROOM, USER, step, "sources", "timeout: late")
    assert failed.why == f"{why}; it failed: timeout: late"
    assert failed.inputs["failure"] == "timeout: late"


def test_a_step_that_an_older_release_wrote_down_is_planned_again() -> None:
    ruling = step_taken(ROOM, USER, Silence(CALL, SOMEBODY, bans=BANS), "sources")
    inputs = {name: value for name, value in ruling.inputs.items() if name != "is_loud"}
    assert replay(evolve(ruling, inputs=inputs)) == "silenced"


@pytest.mark.parametrize("inputs", [{}, {"grant": 3}, {"grant": {}, "forbidden": ["no source"]}])
def test_inputs_that_are_not_ours_cannot_be_decided_again(inputs: Any) -> None:
    for made in (
        step_taken(ROOM, USER, Silence(CALL, SOMEBODY, bans=BANS), "sources"),
        token_changed(ROOM, USER, Grant(True, ()), Cut("sources", BANS[0].sources, 0), 60),
    ):
        with pytest.raises((KeyError, ValueError, TypeError)):
            replay(evolve(made, inputs=inputs))


@pytest.mark.parametrize(
    ("sources", "forbids", "why"),
    [
        ((), {Source.CAMERA}, "the room forbids camera"),
        ((), set(Source), FOR_DATA),
        (("microphone",), {Source.CAMERA}, "a token is short-lived in a room with a policy"),
        ((), set(), "a token is short-lived in a room with a policy"),
    ],
)
def test_a_token_that_lost_sources_is_told_from_one_that_is_only_shorter(
    sources: tuple[str, ...], forbids: set[Source], why: str
) -> None:
    cut = Cut("sources", frozenset(forbids), 300)
    ruling = token_changed(ROOM, USER, Grant(True, sources), cut, 3600)
    assert ruling.why == why
    assert takes_sources(ruling) is why.startswith(("the room forbids", FOR_DATA))
    assert ruling.inputs["forbidden"] == sorted(forbids)


def test_calls_that_go_on_without_a_rule_are_told_of_without_a_room() -> None:
    """Clients open rooms: each would make a ruling of its own."""
    ruling = not_enforced("limit", "timeout", "late\x1b")
    assert (ruling.deed, ruling.room, ruling.user) == (Deed.UNENFORCED, None, None)
    assert ruling.why == "late\\x1b (timeout)"
    assert replay(ruling) is None


def test_a_refusal_by_a_rule_that_is_no_more_cannot_be_decided_again() -> None:
    assert replay(evolve(seat_refused(ROOM, USER, 2, 2), rule="gone")) is None


@given(grants, grants, forbidden)
def test_what_was_given_back_is_decided_again_from_its_record(
    held: Grant, granted: Grant, forbids: frozenset[Source]
) -> None:
    grant = given_back(held, granted, forbids)
    if grant is not None:
        someone = Participant(Identity("i"), "sid", held)
        step = GiveBack(LiveKitRoom("a"), someone, grant, granted, forbids)
        ruling = on_record(step_taken(ROOM, USER, step, "give_back")).ruling
        assert replay(ruling) == ruling.verdict
        assert ruling.verdict.startswith("given back: may publish")
    step = GiveBack(LiveKitRoom("a"), Participant(Identity("i"), "s", granted), granted, granted)
    failed = step_taken(ROOM, USER, step, "give_back", "timeout: late")
    assert failed.verdict == replay(failed) == "left alone"
    assert failed.why.endswith("it failed: timeout: late")
