"""What rules find, as values."""

from lotus_guard.core.model import Source
from lotus_guard.enforce.finding import NO_MEDIA, Finding, Findings
from lotus_guard.rules.members import Members
from lotus_guard.rules.rule import Allow


def test_in_a_slot_for_data_nothing_may_be_published() -> None:
    assert NO_MEDIA.sources == frozenset(Source)


def test_what_is_found_is_enforced_and_certain_unless_it_says_otherwise() -> None:
    found = Finding(Members(), None, Allow())
    assert (found.is_observed, found.is_certain, found.wanted) == (False, True, None)
    assert not Findings([found]).keeps_seat
