"""Which rules are asked, and which of them observe only."""

import pytest

from lotus_guard.enforce.credentials import Unusable
from lotus_guard.rules import RULES, STANDING
from lotus_guard.run.modes import MEMBERS, MODE, OBSERVE, read_members, read_observed


def texts(**given: str) -> dict[str, str]:
    defaults = {each.name: each.default for each in (MEMBERS, MODE, OBSERVE)}
    return {**defaults, **{f"LOTUS_GUARD_{name}": text for name, text in given.items()}}


def test_rules_that_observe() -> None:
    assert read_observed(texts()) == frozenset()
    assert read_observed(texts(OBSERVE=" limit , live,")) == {"limit", "live"}
    every = {"live", "request", *(rule.name for rule in (*STANDING, *RULES))}
    assert read_observed(texts(MODE="observe", OBSERVE="limit")) == every


@pytest.mark.parametrize(
    ("mode", "is_asked", "observed"),
    [("on", True, set()), ("off", False, set()), ("observe", True, {"members"})],
)
def test_calls_are_for_members_as_the_setting_says(
    mode: str, is_asked: bool, observed: set[str]
) -> None:
    assert read_members(texts(MEMBERS=mode)) is is_asked
    assert read_observed(texts(MEMBERS=mode)) == observed


def test_a_word_that_is_none_of_these_is_a_fault() -> None:
    with pytest.raises(Unusable, match="LOTUS_GUARD_MEMBERS: found 'maybe'; wanted: on, off or"):
        read_members(texts(MEMBERS="maybe"))
    with pytest.raises(Unusable) as caught:
        read_observed(texts(MODE="dream", OBSERVE="cameras"))
    assert len(caught.value.faults) == 2
