"""What the rules decide, what they decide it from, and when they cannot."""

from typing import Any

import pytest
from twisted.logger import formatEvent

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.observe.rule_metrics import RuleMetrics
from lotus_guard.rules.decision import Deed, Ruling
from lotus_guard.rules.rulings import _FORBIDS
from tests.observe.metered import Metered

NAMES = ("refused_total", "narrowed_total", "shortened_total", "observed_total")


def ruling(deed: Deed, why: str = "") -> Ruling:
    return Ruling(deed, "limit", "verdict", why)


@pytest.mark.parametrize(
    ("made", "name", "labels"),
    [
        (ruling(Deed.REFUSED), "refused_total", {"rule": "limit"}),
        (ruling(Deed.CHANGED, f"{_FORBIDS} camera"), "narrowed_total", {}),
        (ruling(Deed.CHANGED, "its life is too long"), "shortened_total", {}),
    ],
)
def test_a_decision_counts_where_it_belongs(
    made: Ruling, name: str, labels: dict[str, str]
) -> None:
    metered = Metered()
    RuleMetrics(metered.families).decided(made, observed=False)
    assert metered.value(name, **labels) == 1
    rest = [each for each in NAMES if each != name]
    assert not any(metered.value(each) for each in rest)


def test_what_would_have_been_done_counts_apart() -> None:
    metered = Metered()
    RuleMetrics(metered.families).decided(ruling(Deed.REFUSED), observed=True)
    assert metered.value("observed_total", kind="refused", rule="limit") == 1
    assert metered.value("refused_total", rule="limit") is None


@pytest.mark.parametrize("deed", [Deed.STEP, Deed.FAIL_OPEN, Deed.UNENFORCED])
def test_what_is_counted_elsewhere_is_not_counted_here(deed: Deed) -> None:
    metered = Metered()
    RuleMetrics(metered.families).decided(ruling(deed), observed=False)
    values = [
        sample.value
        for family in metered.families.registry.collect()
        for sample in family.samples
        if sample.name.endswith("_total")
    ]
    assert set(values) <= {0.0}


@pytest.mark.parametrize(
    ("method", "name", "says"),
    [
        ("failed_open", "fail_open_total", "Seat limit not enforced for new tokens"),
        ("not_enforced", "live_unenforced_total", "Seat limit not enforced in running calls"),
    ],
)
def test_a_rule_that_an_outage_stops_is_counted_and_logged_once_a_minute(
    logged: list[Any], method: str, name: str, says: str
) -> None:
    metered = Metered()
    note = getattr(RuleMetrics(metered.families), method)
    for _ in range(3):
        note("limit", Outage(Reason.DNS, "no such host"))
    note("sources", Outage(Reason.DNS, "no such host"))
    assert metered.value(name, rule="limit", reason="dns") == 3
    assert metered.value(name, rule="sources", reason="dns") == 1
    assert len(logged) == 2, "one for each rule"
    assert says in formatEvent(logged[0])
    assert "correct the host name" in formatEvent(logged[0])


def test_uses_are_hits_or_misses() -> None:
    metered = Metered()
    rules = RuleMetrics(metered.families)
    for was_kept in (True, True, False):
        rules.used_policy("limit", was_kept)
    rules.used("look")(False)
    assert metered.value("cache_total", what="limit", outcome="hit") == 2
    assert metered.value("cache_total", what="limit", outcome="miss") == 1
    assert metered.value("cache_total", what="look", outcome="hit") == 0
    assert metered.value("cache_total", what="look", outcome="miss") == 1


def test_a_policy_that_makes_no_sense_is_said_with_its_room_and_nothing_unprintable(
    logged: list[Any],
) -> None:
    metered = Metered()
    RuleMetrics(metered.families).complained(RoomId("!r\n:s"), "max_users is \x1b[2J")
    assert metered.value("policy_complaints_total") == 1
    text = formatEvent(logged[0])
    assert "Ignored an invalid policy" in text
    assert "\n" not in text
    assert "\x1b" not in text


def test_old_policies_are_counted_and_logged_once_a_minute(logged: list[Any]) -> None:
    metered = Metered()
    rules = RuleMetrics(metered.families)
    for _ in range(2):
        rules.used_stale("sources", Outage(Reason.TIMEOUT, "late"))
    assert metered.value("stale_policy_total", rule="sources", reason="timeout") == 2
    assert len(logged) == 1
    assert "uses the last known policies" in formatEvent(logged[0])
