"""The seat limit: what it reads, whom it refuses, and that a refusal can be decided once more."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import Identity
from lotus_guard.core.seats import Occupancy
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.rules.rule import Allow, Fact, Facts, Refuse, Who
from tests.saying import said

LIMIT = Limit()
ALICE = Who("@alice:s", Identity("@alice:s:PHONE"))


def judged(most: int | None, taken: int, others: int, is_seated: bool = False) -> Any:
    return LIMIT.judge(LimitPolicy(most), ALICE, Facts(Occupancy(taken, others, is_seated)))


@pytest.mark.parametrize("most", [1, 5, 2**53])
def test_an_integer_of_at_least_one_limits(most: int) -> None:
    reading = LIMIT.read({"max_users": most, "note": "x"})
    assert (reading.policy, reading.complaints) == (LimitPolicy(most), ())
    assert reading.policy.restricts
    assert LIMIT.seats(reading.policy) == most


@pytest.mark.parametrize("content", [None, {}])
def test_no_event_and_an_empty_one_limit_nothing_and_are_no_mistake(content: Any) -> None:
    reading = LIMIT.read(content)
    assert (reading.policy, reading.complaints) == (LimitPolicy(), ())
    assert not reading.policy.restricts
    assert LIMIT.seats(reading.policy) is None


@pytest.mark.parametrize("value", [0, -1, True, False, 2.0, "2", None, [2], {"max": 2}])
def test_what_makes_no_sense_limits_nothing_and_is_complained_of(value: Any) -> None:
    reading = LIMIT.read({"max_users": value})
    assert reading.policy == LimitPolicy()
    assert len(reading.complaints) == 1
    assert reading.complaints[0].startswith("io.lotus.voice_limit: max_users is ")


def test_an_event_with_other_fields_alone_is_complained_of() -> None:
    """Somebody meant to limit and misspelt the field."""
    assert len(LIMIT.read({"max_user": 2}).complaints) == 1


@pytest.mark.parametrize(
    ("most", "taken", "others", "is_seated", "verdict"),
    [
        (2, 1, 1, False, Allow),
        (2, 2, 2, False, Refuse),
        (2, 2, 1, False, Allow),  # one of the two is they themselves, without a seat
        (2, 9, 9, True, Allow),  # the limit has been lowered since
        (2, 9, 9, False, Refuse),
        (None, 9, 9, False, Allow),
    ],
)
def test_who_has_no_seat_is_refused_where_none_is_free(
    most: int | None, taken: int, others: int, is_seated: bool, verdict: type[Any]
) -> None:
    assert isinstance(judged(most, taken, others, is_seated), verdict)


def test_nobody_is_refused_while_nobody_knows_who_is_there() -> None:
    """As in a pass over a live call, in which nobody asks for a seat."""
    assert LIMIT.judge(LimitPolicy(1), ALICE, Facts()) == Allow()
    assert Fact.ATTENDANCE in LIMIT.needs


def test_a_refusal_says_how_many_there_may_be_and_how_many_there_are() -> None:
    refuse = judged(2, 3, 3)
    assert said(refuse.sentence) == (
        "This call is full: it is limited to 2 people, and 3 are in it or about to join. "
        "Try again when a seat is free."
    )
    assert refuse.why == "3 in the call or about to join, 2 allowed, this user not among them"
    assert refuse.fields == {"io.lotus.limit": {"max_users": 2, "users": 3}}
    one = said(judged(1, 1, 1).sentence)
    assert "it is limited to 1 person, and 1 is in it or about to join" in one


@given(st.integers(1, 99), st.integers(0, 99), st.booleans())
def test_a_refusal_is_decided_once_more_from_its_inputs(
    most: int, taken: int, is_seated: bool
) -> None:
    verdict = judged(most, taken, taken, is_seated)
    if isinstance(verdict, Refuse):
        assert LIMIT.replay(verdict.inputs) == "refused"
    inputs = {"max_users": most, "taken": taken, "is_seated": is_seated}
    assert LIMIT.replay(inputs) == ("refused" if isinstance(verdict, Refuse) else "admitted")


def test_where_no_seat_was_asked_for_there_is_nothing_to_decide() -> None:
    assert LIMIT.replay({"slots": 64}) is None
    with pytest.raises(KeyError):
        LIMIT.replay({"max_users": 2})


def test_it_is_shown_in_words() -> None:
    some, one, none = (LIMIT.show(LimitPolicy(most)) for most in (5, 1, None))
    assert some.sentences == ("At most 5 different people may be in the room's calls.",)
    assert (some.words, some.brief) == (("at most 5 people",), ("at most 5",))
    assert one.sentences == ("At most 1 person may be in the room's calls.",)
    assert one.words == ("at most 1 person",)
    assert none.sentences == ("Any number of people may be in the room's calls.",)
    assert (none.words, none.brief) == ((), ())
    assert [shown.fields for shown in (some, one, none)] == [
        {"max_users": 5},
        {"max_users": 1},
        {"max_users": None},
    ]
