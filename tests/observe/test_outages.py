"""What an operator is told to do about an outage."""

import pytest

from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.observe.outages import fix_for, subject_of
from lotus_guard.rules import RULES, STANDING


@pytest.mark.parametrize(
    ("reason", "named"),
    [
        (Reason.SECRET, "LIVEKIT_SECRET"),
        (Reason.UNAUTHORIZED, "LOTUS_GUARD_SYNAPSE_TOKEN"),
        (Reason.DNS, "LOTUS_GUARD_LIVEKIT_URL"),
        (Reason.REFUSED, "LOTUS_GUARD_SYNAPSE_URL"),
        (Reason.NOT_FOUND, "/_synapse/admin"),
        (Reason.TIMEOUT, "lotus-guard check"),
    ],
)
def test_what_to_change_is_named(reason: Reason, named: str) -> None:
    assert named in fix_for(Outage(reason, "x"))


@pytest.mark.parametrize(
    "reason",
    [Reason.UNAUTHORIZED, Reason.DNS, Reason.REFUSED, Reason.BUSY, Reason.NOT_FOUND],
)
def test_an_outage_of_one_says_nothing_of_the_other(reason: Reason) -> None:
    synapse = fix_for(Outage(reason, "Synapse refused the connection"))
    livekit = fix_for(Outage(reason, "LiveKit refused the connection"))
    assert "synapse" in synapse.lower()
    assert "livekit" not in synapse.lower()
    assert "livekit" in livekit.lower()
    assert "synapse" not in livekit.lower()
    either = fix_for(Outage(reason, "neither Synapse nor LiveKit"))
    assert "synapse" in either.lower()
    assert "livekit" in either.lower()


def test_every_reason_has_words_or_a_page() -> None:
    pages = {reason for reason in Reason if "troubleshooting.md" in fix_for(Outage(reason, "x"))}
    assert Reason.BUG in pages
    assert all(fix_for(Outage(reason, "x")) for reason in Reason)


def test_each_rule_has_a_name_that_begins_a_line() -> None:
    assert subject_of("limit") == "Seat limit"
    named = [rule.name for rule in (*STANDING, *RULES)]
    assert [name for name in named if subject_of(name).startswith("The ")] == []
    assert subject_of("quiet_hours") == "The quiet_hours rule"
