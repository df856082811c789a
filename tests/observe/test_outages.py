"""What an operator is told to do about an outage."""

import pytest

from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.observe.outages import wanted


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
    assert named in wanted(Outage(reason, "x"))


def test_every_reason_has_words_or_a_page() -> None:
    pages = {reason for reason in Reason if "troubleshooting.md" in wanted(Outage(reason, "x"))}
    assert Reason.BUG in pages
    assert all(wanted(Outage(reason, "x")) for reason in Reason)
