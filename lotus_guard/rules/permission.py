"""Calls are for those whom the room lets join them, by its own power levels.

Matrix clients join a call by a state event of their own. Who may not send it appears to nobody in
the call; lk-jwt-service gives them a token all the same, and they can listen and speak unseen.
"""

from collections.abc import Mapping
from typing import Any

from lotus_guard.core.power import PowerLevels
from lotus_guard.core.sentence import Sentence
from lotus_guard.rules.rule import Allow, Fact, Facts, Refuse, StandingRule, Verdict, Who

CALL_MEMBER = ("m.call.member", "org.matrix.msc3401.call.member")
"""The types of the event by which somebody joins a call: the one of the specification to come, and
the one that clients send today. Who may send either may join."""
SENTENCE = Sentence("call_permission")


class CallPermission(StandingRule):
    """Nobody joins the calls of a room whose power levels keep them from calls."""

    name = "permission"
    needs = frozenset({Fact.POWER})
    title = "Call permission"
    setting = "CALL_PERMISSION"
    usual = "off"
    help = (
        "only users with the power level to join a room's calls get into them: on, off, or "
        "observe (record only)"
    )

    def judge(self, who: Who, facts: Facts) -> Verdict:
        """Refuse whoever may send none of the events."""
        power = facts.power
        if power is None or who.user is None:
            return Allow()
        level, needed = power.of(who.user), level_needed(power)
        if level >= needed:
            return Allow()
        why = f"joining calls needs power level {needed} in the room; they have {level}"
        return Refuse(SENTENCE, why, {"level": level, "needed": needed})

    def replay(self, inputs: Mapping[str, Any]) -> str | None:
        """Compare the levels once more."""
        return "admitted" if inputs["level"] >= inputs["needed"] else "refused"


def level_needed(power: PowerLevels) -> int:
    """The level that it takes to join calls in a room."""
    return min(map(power.needed, CALL_MEMBER))
