"""Who is certain to be outside a room, and of whom nobody can tell."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.membership import SAID, Membership, Standing, membership_of, server_of
from lotus_guard.core.model import UserId


@pytest.mark.parametrize("membership", Membership)
def test_our_own_users_are_outside_unless_they_have_joined(membership: Membership) -> None:
    assert Standing(membership, True).is_outside == (membership is not Membership.JOIN)


@pytest.mark.parametrize("membership", Membership)
def test_others_are_outside_only_where_that_was_said(membership: Membership) -> None:
    said = {"invite", "knock", "leave", "ban"}
    assert Standing(membership, False).is_outside == (membership.value in said)


@given(st.sampled_from(Membership))
def test_whoever_is_outside_for_others_is_so_for_their_own_homeserver(
    membership: Membership,
) -> None:
    if Standing(membership, False).is_outside:
        assert Standing(membership, True).is_outside


def test_what_an_event_says() -> None:
    assert membership_of("join") is Membership.JOIN
    assert {membership_of(each.value) for each in SAID} == SAID
    odd_ones: tuple[object, ...] = ("unheard", "no room", "Join", "", None, 1, ["join"], {})
    for odd in odd_ones:
        assert membership_of(odd) is Membership.UNHEARD


def test_the_server_of_a_user() -> None:
    assert server_of(UserId("@a:b:8448")) == "b:8448"
    assert server_of(UserId("a:b")) == ""
    assert server_of(UserId("@a")) == ""
