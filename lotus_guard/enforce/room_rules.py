"""The rules of one room, as far as their policies are known."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from attrs import evolve, frozen

from lotus_guard.core.model import Identity, RoomId, UserId
from lotus_guard.core.power import PowerLevels
from lotus_guard.enforce.policies import Known
from lotus_guard.enforce.presence import Seen
from lotus_guard.enforce.stage import Places, Stage
from lotus_guard.rules.giving import GIVING
from lotus_guard.rules.plan import GiveBack, Remove, Restraint, Step, taker
from lotus_guard.rules.rule import Fact, Facts, Rule


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
    power: PowerLevels | None = None
    """The room's power levels, where a policy asks for them and they are known."""
    is_power_certain: bool = True
    """Whether they are known as they are now, not from before an outage."""
    places: Places | None = None
    """Everybody's place among the cameras, where a policy asks for them."""

    def facts_of(self, identity: Identity) -> Facts:
        """What the rules are told of somebody in a pass."""
        place = self.places.of(identity) if self.places else None
        return Facts(power=self.power, cameras=place)

    @property
    def needing_power(self) -> list[RoomRule]:
        """Those whose policies make a difference by power levels."""
        return [each for each in self.each if each.rule.needs_power(each.known.policy)]

    def with_power(self, power: PowerLevels, is_certain: bool = True) -> "RoomRules":
        """The same with the room's power levels."""
        return evolve(self, power=power, is_power_certain=is_certain)

    def without_power(self) -> "RoomRules":
        """The same without the rules that need the power levels: these are not known."""
        needing = self.needing_power
        able = [each for each in self.each if each not in needing]
        return evolve(self, each=able, is_whole=False)

    def with_places(
        self, stage: Stage, room: RoomId, seen: Seen, proved: Callable[[Identity], UserId | None]
    ) -> "RoomRules":
        """The same with the places among the cameras that a look shows, where a rule needs them."""
        each = next((r for r in self.each if Fact.CAMERAS in r.rule.needs), None)
        if each is None:  # nothing is known of its policy: the order may be needed again
            return self
        rule, policy, power = each.rule, each.known.policy, self.power
        most = rule.cameras(policy)
        if most is None:
            stage.forget(room)
            return self

        def is_exempt(identity: Identity) -> bool:
            return rule.exempts(policy, proved(identity), power)

        return evolve(self, places=stage.look(room, seen, most, is_exempt))

    def exempts(self, user: UserId | None) -> bool:
        """Whether a user needs no seat."""
        seating = self.seating()
        return seating is not None and seating.rule.exempts(seating.known.policy, user, self.power)

    @property
    def is_certain(self) -> bool:
        """Whether each rule's policy is known as it is now, not from before an outage."""
        is_known = self.is_whole and not self.has_bug and self.is_power_certain
        return is_known and all(each.known.is_certain for each in self.each)

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
        return evolve(self, each=enforced), evolve(self, each=others)

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
