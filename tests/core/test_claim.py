"""A claim: what may be given back, and what ends it. Its laws are in tests/properties."""

from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core import claim as claims
from lotus_guard.core.claim import (
    APART,
    LEEWAY,
    OVER,
    REFRESHED,
    SETTLES,
    Claim,
    Issue,
    alike,
    meet,
)
from lotus_guard.core.model import Grant, Source
from lotus_guard.core.narrow import EVERY_SOURCE, narrow
from tests.grants import allows

NOW, HOURS = 1_790_000_000.0, 5 * 3600.0
ALL, NONE = Grant(True, ()), Grant(False, ())
NO_CAMERA = Grant(True, ("microphone", "screen_share", "screen_share_audio"))
SOUND = Grant(True, ("microphone",))
CAMERA = frozenset({Source.CAMERA})
GRANTS = st.builds(
    Grant,
    st.booleans(),
    st.lists(st.sampled_from([*EVERY_SOURCE, "unknown"]), max_size=5, unique=True).map(tuple),
)
FORBIDDEN = st.frozensets(st.sampled_from(sorted(set(Source) - {Source.MICROPHONE})))


def issued(
    granted: Grant = ALL, grant: Grant = ALL, at: float = NOW, claim: Claim | None = None
) -> Claim:
    return Issue(granted, grant, at, at + 300.0).after(claim)


def joined(claim: Claim, grant: Grant, sid: str = "S1", at: float = NOW) -> Claim:
    return claim.seen(sid, at, grant, at)


def narrowed() -> Claim:
    """The claim of somebody who came in with everything, and lost the camera by our deed."""
    claim = joined(issued(), ALL).setting(NO_CAMERA, NOW)
    return joined(claim, NO_CAMERA)


@given(GRANTS, GRANTS)
def test_a_meet_allows_what_both_allow(one: Grant, other: Grant) -> None:
    for name in EVERY_SOURCE:
        assert allows(meet(one, other), name) == (allows(one, name) and allows(other, name))
    assert meet(one, one) == alike(one)


@given(GRANTS, GRANTS, FORBIDDEN)
def test_what_is_given_is_the_union_of_what_is_held_and_what_is_allowed(
    held: Grant, whole: Grant, forbidden: frozenset[Source]
) -> None:
    after = claims.given(held, whole, forbidden)
    for name in EVERY_SOURCE:
        may = allows(whole, name) and name not in forbidden
        assert allows(after or held, name) == (allows(held, name) or may)
    assert after is None or set(after.sources) <= {*EVERY_SOURCE, *held.sources}


def test_everything_is_given_back_as_upstream_wrote_it() -> None:
    assert claims.given(NO_CAMERA, ALL, frozenset()) == ALL
    assert claims.given(SOUND, ALL, CAMERA) == NO_CAMERA
    assert claims.given(ALL, ALL, frozenset()) is None
    whole = Grant(True, EVERY_SOURCE)
    assert alike(claims.given(NO_CAMERA, whole, frozenset()) or NONE) == alike(whole)


def test_what_we_took_may_be_given_back() -> None:
    claim = narrowed()
    assert claim.may_give(NO_CAMERA, CAMERA) is None
    assert claim.may_give(NO_CAMERA, frozenset()) == ALL


def test_what_a_token_withheld_may_be_given_too() -> None:
    claim = joined(issued(ALL, NO_CAMERA), NO_CAMERA)
    assert claim.may_give(NO_CAMERA, frozenset()) == ALL


def test_a_change_that_is_not_ours_ends_it_for_good() -> None:
    for grant in (SOUND, ALL, NONE, Grant(True, EVERY_SOURCE)):
        over = joined(narrowed(), grant)
        assert over is OVER
        assert issued(claim=over) is over
        assert over.may_give(grant, frozenset()) is None
        assert not over.owes(NOW)
        assert over.seen("S2", NOW, ALL, NOW) is over.left(NOW) is over.setting(ALL, NOW) is over
        assert over.awaited(NOW) is over


def test_the_order_of_sources_and_their_case_are_no_change() -> None:
    again = Grant(True, ("screen_share_audio", "Microphone", "screen_share"))
    assert joined(narrowed(), again) == narrowed()


def test_what_was_sent_may_be_seen_as_often_as_it_was_sent() -> None:
    claim = joined(issued(), ALL)
    for _ in range(2):  # the first answer is lost, and it comes late
        claim = claim.setting(NO_CAMERA, NOW)
    claim = joined(joined(claim, NO_CAMERA).setting(ALL, NOW), ALL)
    late = joined(claim, NO_CAMERA)
    assert late.may_give(NO_CAMERA, frozenset()) == ALL
    assert joined(joined(late.setting(ALL, NOW), ALL), NO_CAMERA) is OVER, "that was the last one"


def test_what_was_sent_cannot_come_for_ever() -> None:
    claim = joined(issued(), ALL).setting(NO_CAMERA, NOW)
    assert claim.seen("S1", NOW, NO_CAMERA, NOW + SETTLES) != OVER
    assert claim.seen("S1", NOW, NO_CAMERA, NOW + SETTLES + 1.0) is OVER
    again = claim.setting(SOUND, NOW + SETTLES + 1.0)
    assert again.under_way == (SOUND,)


def test_what_was_sent_and_has_not_come_yet_ends_nothing() -> None:
    claim = joined(issued(), ALL).setting(NO_CAMERA, NOW)
    assert joined(claim, ALL) == claim


def test_what_livekit_has_confirmed_is_held_and_what_was_before_is_somebody_elses() -> None:
    """A bot that takes the camera again at once, as we had taken it, is not fought with."""
    claim = narrowed().setting(ALL, NOW).confirmed(ALL, NOW)
    assert claim.under_way == ()
    late = claim.seen("S1", NOW, NO_CAMERA, NOW + claims.LAG)
    assert late == claim, "a list may show what was before"
    assert late.may_give(NO_CAMERA, frozenset()) is None
    assert claim.seen("S1", NOW, NO_CAMERA, NOW + claims.LAG + 0.1) is OVER
    shown = claim.seen("S1", NOW, ALL, NOW)
    assert shown.seen("S1", NOW, NO_CAMERA, NOW) is OVER, "it was shown already"
    assert shown.may_give(ALL, frozenset()) is None


def test_only_what_was_sent_is_confirmed() -> None:
    assert narrowed().confirmed(ALL, NOW) == narrowed()
    assert issued().setting(ALL, NOW).confirmed(ALL, NOW).session is None
    assert OVER.confirmed(ALL, NOW) is OVER


def test_only_so_much_is_remembered() -> None:
    claim = joined(issued(), ALL)
    for _ in range(3):
        for one in EVERY_SOURCE:
            for two in EVERY_SOURCE:
                claim = claim.setting(alike(Grant(True, (one, two))), NOW)
    assert len(claim.under_way) == len(claim.carried) == claims.MOST_GRANTS


@pytest.mark.parametrize("grant", [ALL, NO_CAMERA])
def test_whoever_comes_again_with_an_older_token_keeps_the_claim(grant: Grant) -> None:
    claim = issued(ALL, NO_CAMERA, NOW + 10.0, narrowed())
    again = claim.seen("S2", NOW + 60.0, grant, NOW + 60.0)
    assert again.session == claims.Session("S2", alike(grant))
    assert (again.may_give(grant, frozenset()) or grant) == ALL


def test_a_token_that_livekit_made_of_what_we_had_set_is_known() -> None:
    claim = joined(narrowed().setting(SOUND, NOW + 10.0), SOUND)
    again = claim.seen("S2", NOW + 20.0, SOUND, NOW + 20.0)
    assert again.may_give(SOUND, frozenset()) == ALL


def test_no_session_came_with_a_token_that_is_younger() -> None:
    """Else asking for another token would make somebody else's change look like ours."""
    young = issued(ALL, NO_CAMERA, NOW)
    assert young.seen("S1", NOW - APART - 1.0, NO_CAMERA, NOW) is OVER
    assert young.seen("S1", NOW - APART, NO_CAMERA, NOW) is not OVER
    both = issued(ALL, NO_CAMERA, NOW + 100.0, issued())
    assert both.seen("S1", NOW, NO_CAMERA, NOW + 100.0) is OVER
    assert both.seen("S1", NOW + 100.0, NO_CAMERA, NOW + 100.0) is not OVER


def whole_and_narrow() -> Claim:
    """A token without the camera, until 360 s from now; another with all, five hours later."""
    return issued(claim=issued(ALL, NO_CAMERA), at=NOW + HOURS)


def test_no_session_came_with_a_token_that_had_run_out() -> None:
    """Else what a bot takes five hours later would be given back."""
    assert not whole_and_narrow().owes(NOW + HOURS), "nobody looks"
    late = whole_and_narrow().seen("S1", NOW + HOURS, NO_CAMERA, NOW + HOURS + 60.0)
    assert late is OVER
    end = NOW + 300.0 + LEEWAY
    assert whole_and_narrow().seen("S1", end + APART, NO_CAMERA, NOW + HOURS) is not OVER
    assert whole_and_narrow().seen("S1", end + APART + 1.0, NO_CAMERA, NOW + HOURS) is OVER


def test_a_token_that_runs_out_later_counts_and_the_time_between_does_not() -> None:
    again = issued(ALL, NO_CAMERA, NOW + 100.0, issued(ALL, NO_CAMERA))
    assert again.seen("S1", NOW + 455.0, NO_CAMERA, NOW + HOURS) is not OVER
    third = issued(ALL, NO_CAMERA, NOW + 2 * HOURS, whole_and_narrow())
    assert third.seen("S1", NOW + HOURS, NO_CAMERA, NOW + 2 * HOURS) is OVER
    assert third.seen("S1", NOW, NO_CAMERA, NOW + 2 * HOURS) is not OVER
    assert third.seen("S1", NOW + 2 * HOURS, NO_CAMERA, NOW + 2 * HOURS) is not OVER


def given_back(at: float) -> Claim:
    """What was taken is given back at a time, and LiveKit has confirmed it."""
    return narrowed().setting(ALL, at).confirmed(ALL, at)


@pytest.mark.parametrize("is_seen", [True, False])
def test_what_was_given_back_is_no_longer_what_a_session_comes_with(is_seen: bool) -> None:
    at = NOW + HOURS
    claim = given_back(at)
    if is_seen:  # the answer was lost, and a look shows it
        claim = joined(narrowed().setting(ALL, at), ALL, at=at)
    end = at + REFRESHED
    assert claim.owes(end - 1.0), "somebody looks as long as they may come with it"
    assert not claim.owes(end)
    claim = issued(claim=claim, at=end)
    assert claim.seen("S2", end, NO_CAMERA, end) is not OVER
    assert claim.seen("S2", end + APART + 1.0, NO_CAMERA, end + 60.0) is OVER


def test_while_it_is_held_livekit_makes_tokens_of_it() -> None:
    at = NOW + HOURS
    assert narrowed().seen("S2", at, NO_CAMERA, at) is not OVER
    assert issued(ALL, NO_CAMERA, at, narrowed()).seen("S2", at, NO_CAMERA, at) is not OVER
    gone = narrowed().left(at)
    end = at + REFRESHED + APART
    assert gone.seen("S2", end, NO_CAMERA, end) is not OVER
    assert gone.seen("S2", end + 1.0, NO_CAMERA, end + 1.0) is OVER
    other = narrowed().seen("S2", at, ALL, at)
    assert other.seen("S3", end, NO_CAMERA, end) is not OVER
    assert other.seen("S3", end + 1.0, NO_CAMERA, end + 1.0) is OVER


def test_what_was_sent_without_an_answer_may_have_been_held_unseen() -> None:
    claim = joined(issued(), ALL).setting(NO_CAMERA, NOW)
    end = NOW + SETTLES + REFRESHED + APART
    assert claim.seen("S2", end, NO_CAMERA, end) is not OVER
    assert claim.seen("S2", end + 1.0, NO_CAMERA, end + 1.0) is OVER


def test_who_lacks_nothing_may_come_in_at_any_time() -> None:
    """Nobody looked, for nothing was owed; and LiveKit has made their token anew since."""
    claim = issued().seen("S1", NOW + HOURS, ALL, NOW + HOURS)
    assert claim.setting(NO_CAMERA, NOW + HOURS) is not OVER
    assert not claim.is_over


def test_what_has_run_out_is_dropped_once_a_look_shows_somebody() -> None:
    claim = whole_and_narrow()
    assert len(claim.carried) == 2
    at = NOW + HOURS
    assert [each.grant for each in claim.seen("S1", at, ALL, at).carried] == [ALL]
    assert len(claim.seen("S1", NOW, NO_CAMERA, NOW + 300.0).carried) == 2
    held = claim.seen("S1", NOW, NO_CAMERA, at).carried
    assert {each.grant for each in held} == {ALL, NO_CAMERA}


def test_a_session_with_anything_else_is_not_ours() -> None:
    assert joined(narrowed(), SOUND, "S2") is OVER


def test_of_several_tokens_what_all_of_them_grant() -> None:
    sound_and_camera = Grant(True, ("microphone", "camera"))
    claim = issued(sound_and_camera, SOUND, claim=issued(NO_CAMERA, NO_CAMERA))
    assert claim.granted == SOUND
    assert issued(ALL, NO_CAMERA, claim=claim).granted == SOUND
    assert issued(NONE, NONE, claim=claim).granted == NONE


@pytest.mark.parametrize(
    "granted", [Grant(True, ("x" * 33,)), Grant(True, tuple(f"s{i}" for i in range(9)))]
)
def test_nothing_is_kept_of_a_grant_that_nobody_would_make(granted: Grant) -> None:
    assert issued(granted, SOUND) is OVER


def test_a_name_that_is_no_source_is_never_given() -> None:
    whole = Grant(True, ("microphone", "camera", "hologram"))
    claim = joined(issued(whole, SOUND), SOUND)
    assert claim.may_give(SOUND, frozenset()) == Grant(True, ("microphone", "camera"))


def test_it_owes_while_less_is_held_or_may_come() -> None:
    assert not issued().owes(NOW)
    token = issued(ALL, NO_CAMERA)
    assert token.owes(NOW + 300.0 + LEEWAY - 1.0)
    assert not token.owes(NOW + 300.0 + LEEWAY)
    held = narrowed()
    assert held.owes(NOW + 1e6)
    gone = held.left(NOW + 1e6)
    assert gone.owes(NOW + 1e6 + REFRESHED - 1.0)
    assert not gone.owes(NOW + 1e6 + REFRESHED)
    assert gone.left(NOW + 2e6) == gone
    assert gone.seen("S1", NOW, NO_CAMERA, NOW + 3e6) == evolve(
        held, carried=gone.carried, lasts=gone.lasts
    )
    for_ever = Issue(ALL, NO_CAMERA, NOW, None).after(None)
    assert for_ever.owes(NOW + REFRESHED - 1.0)


def test_after_a_while_without_a_look_somebody_may_have_come_in() -> None:
    late = NOW + 1e6
    assert issued(ALL, NO_CAMERA).awaited(late).owes(late)
    assert issued().awaited(late) == issued()


def test_who_has_gone_before_they_were_seen_has_not_left() -> None:
    claim: Any = issued(ALL, NO_CAMERA)
    assert claim.left(NOW) is claim


def test_it_is_given_only_to_whom_a_look_has_just_shown() -> None:
    assert issued(ALL, NO_CAMERA).may_give(NO_CAMERA, frozenset()) is None
    assert narrowed().may_give(SOUND, frozenset()) is None


@given(GRANTS, FORBIDDEN)
def test_an_issued_token_is_known_by_what_it_says(
    grant: Grant, forbidden: frozenset[Source]
) -> None:
    sent = narrow(grant, forbidden)
    claim = joined(issued(grant, sent), sent)
    assert claim is not OVER
    given = claim.may_give(sent, frozenset())
    for name in EVERY_SOURCE:
        assert allows(given or sent, name) == allows(grant, name)
