"""Calls are for the members of their room.

lk-jwt-service gives a token to every user of the homeservers that it serves, whichever room they
ask for.
"""

from collections.abc import Mapping
from typing import Any

from lotus_guard.core.membership import Membership, Standing
from lotus_guard.core.sentence import Sentence
from lotus_guard.rules.rule import Allow, Fact, Facts, Refuse, StandingRule, Verdict, Who

SENTENCE = Sentence("not_a_member")

_WORDS = {
    Membership.JOIN: "they are in the room",
    Membership.INVITE: "they were invited and have not joined",
    Membership.KNOCK: "they asked to join and have not been let in",
    Membership.LEAVE: "they left the room or were kicked",
    Membership.BAN: "they are banned from the room",
    Membership.UNHEARD: "they are not in the room",
    Membership.NO_ROOM: "there is no such room",
}


class Members(StandingRule):
    """Nobody joins the calls of a room that they are certain to be outside of."""

    name = "members"
    needs = frozenset({Fact.MEMBERSHIP})
    title = "Members only"
    setting = "MEMBERS"
    usual = "on"
    help = "only members of a room get into its calls: on, off, or observe (record only)"

    def judge(self, who: Who, facts: Facts) -> Verdict:
        """Refuse whoever is certain not to be in the room."""
        standing = facts.standing
        if standing is None or not standing.is_outside:
            return Allow()
        return Refuse(SENTENCE, why(standing), inputs(standing))

    def replay(self, inputs: Mapping[str, Any]) -> str | None:
        """Decide once more by what the homeserver said."""
        return "refused" if standing_from(inputs).is_outside else "admitted"


def why(standing: Standing) -> str:
    """Put in words for the operator why somebody is not a member."""
    return f"{_WORDS[standing.membership]} (source: {standing.source})"


def inputs(standing: Standing) -> dict[str, Any]:
    """What `standing_from` reads, as JSON can hold it."""
    return {
        "membership": standing.membership.value,
        "is_local": standing.is_local,
        "source": standing.source,
    }


def standing_from(inputs: Mapping[str, Any]) -> Standing:
    """Read a standing back; raises KeyError or ValueError for what is none."""
    membership = Membership(inputs["membership"])
    return Standing(membership, bool(inputs["is_local"]), str(inputs["source"]))
