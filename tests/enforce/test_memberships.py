"""A yes lives for a moment, a no is asked for twice, and nobody who is in the room is outside."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.core.membership import Membership, Standing
from lotus_guard.core.model import UserId
from lotus_guard.enforce.memberships import PUSHED, YES_SECONDS, Memberships
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.remembered import MOST_AHEAD
from tests.enforce.member_source import ALICE, BOB, INSIDE, OUTSIDE, UNHEARD, MemberSource
from tests.enforce.stand_ins import AWAY, ROOM, result


def made(*answers: Any, pushing: bool = False) -> tuple[Memberships, MemberSource, Clock]:
    clock, source = Clock(), MemberSource(list(answers))
    clock.advance(100.0)
    return Memberships(source, source, lambda: pushing, clock.seconds), source, clock


def standing(memberships: Memberships, user: UserId = ALICE) -> Any:
    return result(ensureDeferred(memberships.standing(ROOM, user)))


def test_a_yes_is_remembered_for_a_moment() -> None:
    memberships, source, clock = made(INSIDE)
    assert standing(memberships) == INSIDE
    clock.advance(YES_SECONDS)
    assert standing(memberships) == INSIDE
    assert len(source.asked) == 1
    clock.advance(0.1)
    assert standing(memberships) == INSIDE
    assert len(source.asked) == 2


def test_a_no_is_asked_for_twice_and_never_remembered() -> None:
    memberships, source, _ = made(OUTSIDE)
    assert standing(memberships) == OUTSIDE
    assert len(source.asked) == 2
    standing(memberships)
    assert len(source.asked) == 4


def test_who_joins_between_the_two_look_ups_is_in_the_room() -> None:
    memberships, _, _ = made(OUTSIDE, INSIDE)
    assert standing(memberships) == INSIDE


def test_an_outage_is_nobodys_no() -> None:
    for answers in ([AWAY], [OUTSIDE, AWAY]):
        memberships, _, _ = made(*answers)
        assert result(ensureDeferred(memberships.standing(ROOM, ALICE))).check(Outage)


def test_what_was_begun_ahead_serves_and_is_bounded() -> None:
    answer: Deferred[Standing] = Deferred()
    memberships, source, _ = made(answer)
    memberships.ahead(ROOM, ALICE)
    asking = ensureDeferred(memberships.standing(ROOM, ALICE))
    answer.callback(INSIDE)
    assert result(asking) == INSIDE
    assert len(source.asked) == 1
    memberships, source, _ = made(*[Deferred() for _ in range(30)])
    for number in range(20):
        memberships.ahead(ROOM, UserId(f"@u{number}:s"))
    assert len(source.asked) == MOST_AHEAD


def test_an_outage_ahead_is_no_failure_that_nobody_handles(logged: list[Any]) -> None:
    memberships, _, _ = made(AWAY)
    memberships.ahead(ROOM, ALICE)
    assert logged == []


def test_who_is_told_to_have_left_is_no_longer_taken_to_be_there() -> None:
    memberships, source, _ = made(INSIDE, OUTSIDE)
    standing(memberships)
    memberships.tell(ROOM, ALICE, Membership.LEAVE)
    assert standing(memberships) == OUTSIDE
    assert len(source.asked) == 3


def test_a_look_in_the_background_that_finds_them_outside_ends_the_yes() -> None:
    """As the live loop's, which has just put them out: they would get a token for coming back."""
    memberships, _, clock = made(INSIDE, OUTSIDE)
    standing(memberships)
    clock.advance(0.5)
    assert result(ensureDeferred(memberships.looked_up(ROOM, ALICE))) == OUTSIDE
    assert standing(memberships) == OUTSIDE


def test_a_look_from_before_they_joined_does_not_end_the_yes() -> None:
    before: Deferred[Standing] = Deferred()
    memberships, source, clock = made(before, INSIDE)
    looking = ensureDeferred(memberships.looked_up(ROOM, ALICE))
    clock.advance(0.5)
    standing(memberships)
    before.callback(OUTSIDE)
    assert result(looking) == OUTSIDE
    assert standing(memberships) == INSIDE
    assert len(source.asked) == 2


def test_a_look_up_from_before_a_kick_does_not_bring_a_yes_back() -> None:
    answer: Deferred[Standing] = Deferred()
    memberships, _, _ = made(answer, OUTSIDE)
    asking = ensureDeferred(memberships.standing(ROOM, ALICE))
    memberships.tell(ROOM, ALICE, Membership.LEAVE)
    answer.callback(INSIDE)
    assert result(asking) == INSIDE  # that was so when it was asked
    assert standing(memberships) == OUTSIDE


@pytest.mark.parametrize("said", [Membership.LEAVE, Membership.BAN, Membership.INVITE])
def test_what_was_told_stands_for_a_user_of_whom_nothing_can_be_asked(said: Membership) -> None:
    memberships, source, _ = made(UNHEARD, pushing=True)
    memberships.tell(ROOM, BOB, said)
    assert standing(memberships, BOB) == Standing(said, False, PUSHED)
    assert len(source.asked) == 1
    memberships.tell(ROOM, BOB, Membership.JOIN)
    assert not standing(memberships, BOB).is_outside


def test_what_was_told_counts_no_more_once_nobody_tells() -> None:
    memberships, _, _ = made(UNHEARD)
    memberships.tell(ROOM, BOB, Membership.BAN)
    assert not standing(memberships, BOB).is_outside


def test_of_our_own_users_the_homeserver_is_believed_before_what_it_told_earlier() -> None:
    memberships, _, _ = made(INSIDE, pushing=True)
    memberships.tell(ROOM, ALICE, Membership.LEAVE)
    assert standing(memberships) == INSIDE


TROUBLE = st.sampled_from([AWAY, Outage(Reason.MAY_NOT_LOOK, "no"), INSIDE])


@given(st.lists(TROUBLE, min_size=1), st.lists(st.sampled_from(list(Membership))), st.booleans())
def test_nobody_who_is_in_the_room_is_ever_found_outside(
    answers: list[Any], told: list[Membership], pushing: bool
) -> None:
    memberships, _, clock = made(*answers, pushing=pushing)
    for membership in [*told, None]:
        found = result(ensureDeferred(memberships.standing(ROOM, ALICE)))
        assert not isinstance(found, Standing) or not found.is_outside
        clock.advance(1.5)
        if membership is not None:
            memberships.tell(ROOM, ALICE, membership)


@given(st.lists(st.sampled_from([OUTSIDE, AWAY]), min_size=2), st.booleans())
def test_nobody_outside_is_ever_found_inside(answers: list[Any], pushing: bool) -> None:
    memberships, _, _ = made(*answers, pushing=pushing)
    for _ in answers:
        found = result(ensureDeferred(memberships.standing(ROOM, ALICE)))
        assert not isinstance(found, Standing) or found.is_outside


def test_a_look_up_from_before_they_asked_that_fails_is_not_their_try() -> None:
    early: Deferred[Standing] = Deferred()
    memberships, source, _ = made(early, OUTSIDE)
    memberships.ahead(ROOM, ALICE)
    asking = ensureDeferred(memberships.standing(ROOM, ALICE))
    early.errback(AWAY)
    assert result(asking) == OUTSIDE
    assert len(source.asked) == 3


def test_what_was_told_before_a_pause_counts_no_more() -> None:
    """They may have come back meanwhile, and nobody would tell that any more."""
    memberships, _, clock = made(UNHEARD, pushing=True)
    memberships.tell(ROOM, BOB, Membership.LEAVE)
    clock.advance(60.0)
    memberships.telling_since = clock.seconds
    assert not standing(memberships, BOB).is_outside
    memberships.tell(ROOM, BOB, Membership.LEAVE)
    assert standing(memberships, BOB).is_outside
