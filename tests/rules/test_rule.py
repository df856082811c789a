"""What every rule says about itself, held against what it does."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import Identity, Source
from lotus_guard.core.power import PowerLevels
from lotus_guard.core.seats import Occupancy
from lotus_guard.rules import RULES
from lotus_guard.rules.option import Switch
from lotus_guard.rules.rule import Allow, Facts, Forbid, Refuse, Rule, Who

VALUES = st.none() | st.booleans() | st.integers() | st.text() | st.lists(st.integers())
ALICE = Who("@alice:s", Identity("i"))
every_rule = pytest.mark.parametrize("rule", RULES, ids=[rule.name for rule in RULES])


class Bare(Rule[Any]):
    """A rule with the least that a rule has."""

    name = "bare"
    event = "io.lotus.bare"
    options = (Switch("one", "one", "One?", True), Switch("two", "two", "Two?", True))

    def read(self, content: Any) -> Any:
        raise AssertionError("only what a rule has by itself is asked for here")

    def judge(self, policy: Any, who: Who, facts: Facts) -> Any:
        raise AssertionError("only what a rule has by itself is asked for here")

    def show(self, policy: Any) -> Any:
        raise AssertionError("only what a rule has by itself is asked for here")


def test_a_rule_that_says_no_more_counts_nobody_needs_nothing_and_has_nothing_to_replay() -> None:
    bare = Bare()
    assert bare.seats(None) is None
    assert bare.needs == frozenset()
    assert bare.replay({"max_users": 1}) is None
    assert bare.fields() == {"one", "two"}
    assert bare.doubts({"one": 1}, PowerLevels()) == ()


def test_a_rule_must_read_judge_and_show() -> None:
    assert Rule.__abstractmethods__ == {"read", "judge", "show"}


@every_rule
def test_no_event_restricts_nothing(rule: Rule[Any]) -> None:
    reading = rule.read(None)
    assert not reading.policy.restricts
    assert reading.complaints == ()
    assert rule.seats(reading.policy) is None
    assert rule.judge(reading.policy, ALICE, Facts()) == Allow()
    assert rule.show(reading.policy).words == ()


@given(st.data())
def test_whatever_is_in_the_event_it_can_be_read_judged_and_shown(data: st.DataObject) -> None:
    rule = data.draw(st.sampled_from(RULES))
    fields = st.sampled_from(sorted(rule.fields()))
    content = data.draw(st.dictionaries(fields | st.text(), VALUES))
    reading = rule.read(content)
    assert all(complaint.isprintable() for complaint in reading.complaints)
    full = Facts(Occupancy(10**6, 10**6, False))
    verdict = rule.judge(reading.policy, ALICE, full)
    shown = rule.show(reading.policy)
    json.dumps(shown.fields)
    assert bool(shown.words) == bool(shown.brief) == reading.policy.restricts
    if not reading.policy.restricts:
        assert verdict == Allow()
    if isinstance(verdict, Forbid):
        assert Source.MICROPHONE not in verdict.sources
    if isinstance(verdict, Refuse):
        json.dumps([dict(verdict.inputs), dict(verdict.fields)])
        assert rule.replay(verdict.inputs) == "refused"


@every_rule
def test_its_examples_and_its_trial_restrict_and_are_no_mistake(rule: Rule[Any]) -> None:
    for content in [*(example.content for example in rule.examples), rule.trial.content]:
        reading = rule.read(content)
        assert reading.policy.restricts
        assert reading.complaints == ()
        assert rule.fields() >= content.keys(), "`policy set` can set them"


@every_rule
def test_what_it_shows_has_room_where_it_is_shown(rule: Rule[Any]) -> None:
    assert len(rule.heading) <= 8
    assert rule.examples
    assert rule.trial.askers


def test_no_two_rules_are_taken_for_each_other() -> None:
    for taken in (
        [rule.name for rule in RULES],
        [rule.event for rule in RULES],
        [rule.heading for rule in RULES],
        [rule.clear_flag[0] for rule in RULES],
        [option.flag for rule in RULES for option in rule.options],
        [rule.trial.room for rule in RULES],
    ):
        assert len(set(taken)) == len(taken)
