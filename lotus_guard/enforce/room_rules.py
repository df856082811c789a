"""The rules of one room, as far as their policies are known."""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from attrs import frozen

from lotus_guard.enforce.policies import Known
from lotus_guard.rules.giving import GIVING
from lotus_guard.rules.plan import GiveBack, Remove, Restraint, Step, taker
from lotus_guard.rules.rule import Fact, Rule


@frozen
class RoomRule:
    """A rule, and what is known of its policy in a room."""

    rule: Rule[Any]
    known: Known[Any]


@frozen
class RoomRules:
    """The rules of a room, without those of whose policy nothing is known."""

    each: Sequence[RoomRule]
    """In the order of the rules."""
    is_whole: bool = True
    """Whether the policies of all rules are known, if only from before an outage."""
    has_bug: bool = False
    """Whether a mistake of ours kept a rule from being read."""

    @property
    def is_certain(self) -> bool:
        """Whether each rule's policy is known as it is now, not from before an outage."""
        return self.is_whole and not self.has_bug and all(e.known.is_certain for e in self.each)

    @property
    def restricting(self) -> list[RoomRule]:
        """Those of them that restrict."""
        return [each for each in self.each if each.known.policy.restricts]

    @property
    def restrict(self) -> bool:
        """Whether any of them restricts."""
        return bool(self.restricting)

    def divided(self, observed: AbstractSet[str]) -> tuple["RoomRules", "RoomRules"]:
        """Divide them into those that are enforced, and those with these names."""
        enforced = [each for each in self.each if each.rule.name not in observed]
        others = [each for each in self.each if each.rule.name in observed]
        return RoomRules(enforced), RoomRules(others)

    def seating(self) -> RoomRule | None:
        """The rule that says how many seats there are."""
        return next((each for each in self.each if Fact.ATTENDANCE in each.rule.needs), None)

    def behind(self, step: Step) -> str:
        """The name of the rule that calls for a step."""
        if isinstance(step, Remove):
            seating = self.seating()
            assert seating is not None, "only for want of a seat is anybody put out"
            return seating.rule.name
        if isinstance(step, GiveBack):
            return GIVING
        bans = step.bans if isinstance(step, Restraint) else ()
        return taker(step.participant, bans) or self.restricting[0].rule.name
