"""Calls are for those whom the room's power levels let join them."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import Identity, UserId
from lotus_guard.core.power import read_power
from lotus_guard.rules.permission import CALL_MEMBER, SENTENCE, CallPermission, level_needed
from lotus_guard.rules.rule import Allow, Fact, Facts, Refuse, Who

RULE = CallPermission()
USER = UserId("@u:s")
WHO = Who(USER, Identity("x"), USER)
NEW, OLD = CALL_MEMBER
LEVELS = st.integers(-5, 105)


@pytest.mark.parametrize(
    ("events", "needed"),
    [
        ({OLD: 0}, 0),  # as Element sets it
        ({NEW: 0}, 0),
        ({NEW: 100, OLD: 100}, 100),
        ({OLD: 100}, 50),  # the other one is as any state event
        ({}, 50),
    ],
)
def test_who_may_send_either_event_may_join(events: Any, needed: int) -> None:
    assert level_needed(read_power({"events": events}, None)) == needed


@given(LEVELS, LEVELS)
def test_whoever_has_too_little_power_is_refused_and_that_once_more(has: int, needed: int) -> None:
    power = read_power({"users": {USER: has}, "events": {NEW: needed, OLD: needed}}, None)
    verdict = RULE.judge(WHO, Facts(power=power))
    assert isinstance(verdict, Allow if has >= needed else Refuse)
    if isinstance(verdict, Refuse):
        assert verdict.sentence == SENTENCE
        assert RULE.replay(verdict.inputs) == "refused"
        assert RULE.replay({**verdict.inputs, "level": needed}) == "admitted"


def test_of_whom_nothing_is_proved_and_where_nothing_is_known_nothing_is_said() -> None:
    none = read_power({"events": {NEW: 100, OLD: 100}}, None)
    assert RULE.judge(WHO, Facts()) == Allow()
    assert RULE.judge(Who("x", Identity("x")), Facts(power=none)) == Allow()
    assert RULE.needs == {Fact.POWER}
