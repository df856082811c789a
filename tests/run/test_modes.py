"""Which rules are asked, and which of them observe only."""

import pytest

from lotus_guard.enforce.credentials import Unusable
from lotus_guard.rules import RULES, STANDING
from lotus_guard.run.modes import (
    MODE,
    OBSERVE,
    STANDING_SETTINGS,
    read_observed,
    read_standing,
)


def texts(**given: str) -> dict[str, str]:
    defaults = {each.name: each.default for each in (MODE, OBSERVE, *STANDING_SETTINGS.values())}
    return {**defaults, **{f"LOTUS_GUARD_{name}": text for name, text in given.items()}}


def test_rules_that_observe() -> None:
    assert read_observed(texts()) == frozenset()
    assert read_observed(texts(OBSERVE=" limit , live,")) == {"limit", "live"}
    every = {"live", "request", *(rule.name for rule in (*STANDING, *RULES))}
    assert read_observed(texts(MODE="observe", OBSERVE="limit")) == every


@pytest.mark.parametrize("rule", STANDING_SETTINGS)
@pytest.mark.parametrize(
    ("mode", "is_asked", "is_observed"),
    [("on", True, False), ("off", False, False), ("observe", True, True)],
)
def test_a_rule_of_all_rooms_is_asked_as_its_setting_says(
    rule: str, mode: str, is_asked: bool, is_observed: bool
) -> None:
    said = {**texts(), STANDING_SETTINGS[rule].name: mode}
    assert (rule in read_standing(said)) is is_asked
    assert (rule in read_observed(said)) is is_observed


def test_calls_are_for_members_unless_a_setting_says_otherwise_and_no_more_is_asked() -> None:
    assert read_standing(texts()) == {"members"}


def test_a_word_that_is_none_of_these_is_a_fault() -> None:
    with pytest.raises(Unusable, match="LOTUS_GUARD_MEMBERS: found 'maybe'; expected on, off or"):
        read_standing(texts(MEMBERS="maybe"))
    with pytest.raises(Unusable) as caught:
        read_observed(texts(MODE="dream", OBSERVE="dreams"))
    assert len(caught.value.faults) == 2
