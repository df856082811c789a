"""At most so many different people in a room's calls.

    io.lotus.voice_limit   {"max_users": 5}

People are counted, not devices: whoever has a seat always passes, with any device, even in a
room whose limit has been lowered since.
"""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from lotus_guard.core.seats import may_sit
from lotus_guard.core.sentence import Sentence
from lotus_guard.core.text import shown
from lotus_guard.rules.option import Count
from lotus_guard.rules.rule import (
    Allow,
    Content,
    Example,
    Fact,
    Facts,
    Reading,
    Refuse,
    Rule,
    Shown,
    Trial,
    Verdict,
    Who,
)


@frozen
class LimitPolicy:
    """How many different people may be in the room's calls."""

    max_users: int | None = None
    """At least 1, or None for no limit."""

    @property
    def restricts(self) -> bool:
        """Whether there is a limit at all."""
        return self.max_users is not None


class Limit(Rule[LimitPolicy]):
    """The rule of `io.lotus.voice_limit`."""

    name = "limit"
    event = "io.lotus.voice_limit"
    needs = frozenset({Fact.ATTENDANCE})
    options = (
        Count(
            "max_users",
            "max-users",
            "At most N different people in the room's calls.",
            "no-limit",
            "Any number of people.",
        ),
    )
    title = "Seat limit"
    heading = "Limit"
    clear_flag = ("limit", "Only the limit.")
    examples = (
        Example(
            {"max_users": 5},
            "example_limit",
            "at most five different people in the room's calls",
        ),
    )
    trial = Trial(
        "two",
        {"max_users": 2},
        "A room for two: alice and bob get a token, carol a 403 (a token not used keeps its seat "
        "for 60 s).",
        ("alice", "bob", "carol"),
    )

    def read(self, content: Content | None) -> Reading[LimitPolicy]:
        """Read the event; only an integer of at least 1 limits."""
        if not content:  # absent, cleared or redacted
            return Reading(LimitPolicy())
        value = content.get("max_users")
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return Reading(LimitPolicy(value))
        found = f"{self.event}: max_users is {shown(value)}; a limit is an integer of at least 1"
        return Reading(LimitPolicy(), (found,))

    def seats(self, policy: LimitPolicy) -> int | None:
        """As many as the limit says."""
        return policy.max_users

    def judge(self, policy: LimitPolicy, who: Who, facts: Facts) -> Verdict:
        """Refuse whoever has no seat when none is free."""
        limit, seen = policy.max_users, facts.occupancy
        if limit is None or seen is None or may_sit(limit, seen.others, seen.is_seated):
            return Allow()
        people = Sentence("call_full_people", {"count": limit})
        there = Sentence("call_full_there", {"count": seen.taken})
        return Refuse(
            Sentence("call_full", {"people": people, "there": there}),
            f"{seen.taken} in the call or about to join, {limit} allowed, this user not among them",
            {"max_users": limit, "taken": seen.taken, "is_seated": False},
            {"io.lotus.limit": {"max_users": limit, "users": seen.taken}},
        )

    def replay(self, inputs: Mapping[str, Any]) -> str | None:
        """Work out once more whether there is a seat."""
        if "max_users" not in inputs:  # too many slots or devices: no seat was asked for
            return None
        passes = may_sit(inputs["max_users"], inputs["taken"], inputs["is_seated"])
        return "admitted" if passes else "refused"

    def show(self, policy: LimitPolicy) -> Shown:
        """Put the limit in words."""
        most = policy.max_users
        fields = {"max_users": most}
        if most is None:
            return Shown(("Any number of people may be in the room's calls.",), fields=fields)
        different = "1 person" if most == 1 else f"{most} different people"
        people = "1 person" if most == 1 else f"{most} people"
        return Shown(
            (f"At most {different} may be in the room's calls.",),
            (f"at most {people}",),
            (f"at most {most}",),
            fields,
        )
