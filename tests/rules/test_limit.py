"""The seat limit: what it reads, whom it refuses, and that a refusal can be decided once more."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import Identity, UserId
from lotus_guard.core.power import read_power
from lotus_guard.core.seats import Occupancy
from lotus_guard.rules.bypass import Bypass
from lotus_guard.rules.limit import ONLY_MODERATORS_START, Limit, LimitPolicy
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


def test_a_refusal_names_the_limit_and_never_how_many_are_there() -> None:
    refuse = judged(2, 3, 3)
    full = "This call is full: 2 people at most. Try again when a seat is free."
    assert said(refuse.sentence) == full
    assert refuse.why == "3 in the call or about to join, 2 allowed, this user not among them"
    assert refuse.fields == {"io.lotus.limit": {"max_users": 2, "users": 3}}
    assert said(judged(1, 18, 18).sentence).startswith("This call is full: 1 person at most. ")


POWER = read_power({"users": {"@mod:s": 50}, "events": {"io.lotus.voice_limit": 60}}, None)
MODERATOR = Who("@mod:s", Identity("@mod:s:D"), UserId("@mod:s"))
MEMBER = Who("@alice:s", Identity("@alice:s:D"), UserId("@alice:s"))
FULL, EMPTY = Occupancy(5, 5, False), Occupancy(0, 0, False)


@pytest.mark.parametrize(
    ("bypass", "who", "power", "passes"),
    [
        (Bypass(level=50), MODERATOR, POWER, True),
        (Bypass(level=50), MEMBER, POWER, False),
        (Bypass(level=51), MODERATOR, POWER, False),
        (Bypass(True), MODERATOR, POWER, False),  # it takes 60 to set the event
        (Bypass(True, 50), MODERATOR, POWER, True),
        (Bypass(level=50), MODERATOR, None, False),  # nobody says what they may
        (Bypass(level=50), ALICE, POWER, False),  # nobody has proved who they are
        (Bypass(level=0), MEMBER, POWER, False),  # everybody has that: a typing error
    ],
)
def test_who_is_exempt_enters_a_full_room(
    bypass: Bypass, who: Who, power: Any, passes: bool
) -> None:
    verdict = LIMIT.judge(LimitPolicy(5, bypass), who, Facts(FULL, power=power))
    assert verdict == Allow(is_exempt=True) if passes else isinstance(verdict, Refuse)


def test_a_refusal_says_where_the_power_levels_were_not_known() -> None:
    refuse: Any = LIMIT.judge(LimitPolicy(5, Bypass(True)), MODERATOR, Facts(FULL))
    assert refuse.why.endswith("; the room's power levels are unknown")
    assert "power" not in LIMIT.judge(LimitPolicy(5), MODERATOR, Facts(FULL)).why  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("level", "who", "seen", "power", "passes"),
    [
        (50, MODERATOR, EMPTY, POWER, True),
        (50, MEMBER, EMPTY, POWER, False),
        (50, ALICE, EMPTY, POWER, False),  # who has not proved who they are has the least
        (50, MEMBER, Occupancy(1, 1, False, True), POWER, True),  # somebody is in it
        (50, MEMBER, Occupancy(1, 0, True, True), POWER, True),  # they are themselves: they rejoin
        (50, MEMBER, Occupancy(1, 0, True), POWER, False),  # they had a token, and did not join
        (50, MEMBER, Occupancy(1, 1, False), POWER, False),  # somebody else had one
        (50, MEMBER, Occupancy(1, 0, False), POWER, False),  # who is unseated starts nothing
        (50, MEMBER, EMPTY, None, True),  # our trouble is not theirs
        (None, MEMBER, EMPTY, POWER, True),
    ],
)
def test_a_call_is_started_by_whoever_has_the_level_for_it(
    level: int | None, who: Who, seen: Occupancy, power: Any, passes: bool
) -> None:
    verdict = LIMIT.judge(LimitPolicy(None, start_level=level), who, Facts(seen, power=power))
    assert isinstance(verdict, Allow if passes else Refuse)
    if isinstance(verdict, Refuse):
        assert verdict.sentence == ONLY_MODERATORS_START
        assert LIMIT.replay(verdict.inputs) == "refused"
        assert LIMIT.replay({**verdict.inputs, "level": 50}) == "admitted"


def test_who_may_start_and_who_is_exempt_are_read_without_a_limit_and_with_one() -> None:
    reading = LIMIT.read({"start_level": 50})
    assert (reading.policy, reading.complaints) == (LimitPolicy(start_level=50), ())
    assert reading.policy.restricts
    assert LIMIT.seats(reading.policy) is None
    assert LIMIT.needs_power(reading.policy)
    both = LIMIT.read({"max_users": 5, "bypass": True, "bypass_level": 40, "start_level": 50})
    assert both.policy == LimitPolicy(5, Bypass(True, 40), 50)


@pytest.mark.parametrize(
    ("content", "field"),
    [
        ({"start_level": "50"}, "start_level"),
        ({"max_users": 2, "start_level": True}, "start_level"),
        ({"max_users": 2, "bypass": 1}, "bypass"),
        ({"max_users": 2, "bypass_level": None}, "bypass_level"),
        ({"max_users": 2, "bypass_level": 2**60}, "bypass_level"),
        ({"bypass": True}, "max_users"),  # exempt from nothing
    ],
)
def test_what_makes_no_sense_in_exceptions_is_complained_of(content: Any, field: str) -> None:
    reading = LIMIT.read(content)
    (complaint,) = reading.complaints
    assert complaint.startswith(f"io.lotus.voice_limit: {field} is ")
    assert reading.policy == LimitPolicy(
        content.get("max_users"), LIMIT.read(content).policy.bypass
    )


def test_only_who_may_start_is_strict() -> None:
    assert LIMIT.is_strict(LimitPolicy(5, start_level=50))
    assert not LIMIT.is_strict(LimitPolicy(5, Bypass(True)))


def test_levels_that_everybody_has_are_doubted() -> None:
    low = LIMIT.read({"max_users": 2, "bypass_level": 0, "start_level": -1}).policy
    assert [each.partition(",")[0] for each in LIMIT.doubts(low, POWER)] == [
        "io.lotus.voice_limit: bypass_level is 0",
        "io.lotus.voice_limit: start_level is -1",
    ]
    assert LIMIT.doubts(LimitPolicy(2, Bypass(level=1), 1), POWER) == ()


def test_power_levels_are_asked_for_only_where_they_make_a_difference() -> None:
    assert not LIMIT.needs_power(LimitPolicy(5))
    assert not LIMIT.needs_power(LimitPolicy(None, Bypass(True)))
    assert LIMIT.needs_power(LimitPolicy(5, Bypass(True)))
    assert LIMIT.needs_power(LimitPolicy(5, Bypass(level=50)))


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
    no_more = {"limit_bypass": False, "limit_bypass_level": None, "start_level": None}
    assert [shown.fields for shown in (some, one, none)] == [
        {"max_users": most, **no_more} for most in (5, 1, None)
    ]


def test_exceptions_and_who_may_start_are_shown_in_words() -> None:
    shown = LIMIT.show(LimitPolicy(5, Bypass(True, 40), 50))
    assert shown.sentences[1:] == (
        "Exempt from the limit: people who can set this rule, or have power level 40 or more.",
        "Only people with power level 50 or more may start a call.",
    )
    assert shown.words == ("at most 5 people (some exempt)", "power level 50 to start a call")
    assert shown.brief == ("at most 5 (some exempt)", "level 50 to start")
    assert shown.fields["limit_bypass_level"] == 40


def test_an_exception_from_no_limit_is_said_to_be_one() -> None:
    shown = LIMIT.show(LimitPolicy(None, Bypass(True), 50))
    exempt = "Exempt from the limit (none is set): people who can set this rule."
    assert shown.sentences[1] == exempt
    assert shown.words == ("power level 50 to start a call",)


@pytest.mark.parametrize(
    ("content", "found"),
    [({"bypass": True}, "missing"), ({"note": 1}, "missing"), ({"max_users": None}, "None")],
)
def test_a_limit_that_is_missing_is_called_so(content: Any, found: str) -> None:
    wanted = f"io.lotus.voice_limit: max_users is {found}; a limit is an integer of at least 1"
    assert LIMIT.read(content).complaints == (wanted,)
