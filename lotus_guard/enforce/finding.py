"""What rules find about the recipient of a token."""

from collections.abc import Sequence

from attrs import frozen

from lotus_guard.core.model import Source
from lotus_guard.core.power import PowerLevels
from lotus_guard.rules.rule import AnyRule, Forbid, Policy, Verdict

NO_MEDIA = Forbid(frozenset(Source))
"""What a rule that counts seats says of slots in which nobody has one."""


@frozen
class WantedSeat:
    """A seat that a rule has taken for somebody."""

    seats: int | None
    """How many seats the room has for them; None for any number."""
    at: float
    """When the look behind the verdict was begun."""
    power: PowerLevels | None = None
    """The room's power levels, where the rule was told."""


@frozen
class Finding:
    """What a rule found about a recipient."""

    rule: AnyRule
    policy: Policy | None
    """None for a rule that holds in every room."""
    verdict: Verdict
    is_observed: bool = False
    """Whether the rule only tells what it would do."""
    wanted: WantedSeat | None = None
    """The seat that the rule has taken for them, if any."""
    is_certain: bool = True
    """Whether the rule said no less for want of a policy that is certain."""


@frozen
class Findings:
    """What the rules found about a recipient."""

    each: Sequence[Finding]
    """In the order of the rules, without those that let the call through."""
    keeps_seat: bool = False
    """Whether seats may be counted that could not be given out now: whoever comes in all the same
    must have one."""
