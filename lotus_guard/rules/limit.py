"""At most so many different people in a room's calls.

    io.lotus.voice_limit   {"max_users": 5}
    io.lotus.voice_limit   {"max_users": 5, "bypass": true}   moderators enter a full room
    io.lotus.voice_limit   {"start_level": 50}                only moderators start a call

People are counted, not devices: whoever has a seat always passes, with any device, even in a
room whose limit has been lowered since. Whoever is exempt counts as everybody does.
"""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from lotus_guard.core.model import UserId
from lotus_guard.core.power import PowerLevels
from lotus_guard.core.seats import Occupancy, may_sit
from lotus_guard.core.sentence import Sentence
from lotus_guard.core.text import shown
from lotus_guard.rules.bypass import (
    NOBODY,
    Bypass,
    BypassableRule,
    bypass_options,
    doubt,
    read_bypass,
    read_level,
)
from lotus_guard.rules.option import Count
from lotus_guard.rules.rule import (
    Allow,
    Content,
    Example,
    Fact,
    Facts,
    Reading,
    Refuse,
    Shown,
    Trial,
    Verdict,
    Who,
)

START_LEVEL = "start_level"
ONLY_MODERATORS_START = Sentence("start_level")
_UNKNOWN = "; the room's power levels are unknown"


@frozen
class LimitPolicy:
    """How many different people may be in the room's calls, and who may start one."""

    max_users: int | None = None
    """At least 1, or None for no limit."""
    bypass: Bypass = NOBODY
    """Who enters a full room."""
    start_level: int | None = None
    """The power level that it takes to be the first in a call."""

    @property
    def restricts(self) -> bool:
        """Whether there is a limit at all, or not everybody may start a call."""
        return self.max_users is not None or self.start_level is not None


class Limit(BypassableRule[LimitPolicy]):
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
        *bypass_options("limit", "the limit"),
        Count(
            START_LEVEL,
            "start-level",
            "Only people with power level N or more may start a call.",
            "no-start-level",
            "Everybody may start a call.",
        ),
    )
    title = "Seat limit"
    heading = "Limit"
    clear_flag = (
        "limit",
        "Only io.lotus.voice_limit, all of it: the limit, who is exempt, who may start a call.",
    )
    examples = (
        Example(
            {"max_users": 5},
            "example_limit",
            "at most five different people in the room's calls",
        ),
        Example(
            {"max_users": 5, "bypass": True},
            "At most five people, and moderators on top",
            "at most five different people; people who can set this rule get in even when the room "
            "is full",
        ),
        Example(
            {START_LEVEL: 50},
            "Only moderators start calls",
            "only people with power level 50 or more may start a call; others can join once it has "
            "started",
        ),
    )
    trial = Trial(
        "two",
        {"max_users": 2},
        "A room for two: alice and bob get a token, carol gets a 403 (an unused token keeps its "
        "seat for 60 s).",
        ("alice", "bob", "carol"),
    )

    def read(self, content: Content | None) -> Reading[LimitPolicy]:
        """Read the event; only an integer of at least 1 limits."""
        if not content:  # absent, cleared or redacted
            return Reading(LimitPolicy())
        bypass, wrong = read_bypass(self.event, content)
        start, odd = read_level(self.event, START_LEVEL, content)
        most, found = self._read_limit(content, start is not None or bool(odd))
        return Reading(LimitPolicy(most, bypass, start), (*found, *wrong, *odd))

    def _read_limit(
        self, content: Content, has_other_use: bool
    ) -> tuple[int | None, tuple[str, ...]]:
        value = content.get("max_users")
        if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
            return value, ()
        is_missing = "max_users" not in content
        if is_missing and has_other_use:
            return None, ()
        found = "missing" if is_missing else shown(value)
        wanted = "a limit is an integer of at least 1"
        return None, (f"{self.event}: max_users is {found}; {wanted}",)

    def seats(self, policy: LimitPolicy) -> int | None:
        """As many as the limit says."""
        return policy.max_users

    def needs_power(self, policy: LimitPolicy) -> bool:
        """For exceptions, and for who may start a call."""
        return policy.start_level is not None or super().needs_power(policy)

    def is_strict(self, policy: LimitPolicy) -> bool:
        """Where LiveKit is slow nobody starts a call: clients can make it so, and none could."""
        return policy.start_level is not None

    def has_use(self, policy: LimitPolicy) -> bool:
        """One may be exempt from a limit."""
        return policy.max_users is not None

    def doubts(self, policy: LimitPolicy, power: PowerLevels) -> tuple[str, ...]:
        """Levels that everybody has."""
        start = doubt(self.event, START_LEVEL, policy.start_level, power)
        return super().doubts(policy, power) + start

    def judge(self, policy: LimitPolicy, who: Who, facts: Facts) -> Verdict:
        """Refuse whoever has no seat when none is free, or may not be the first in a call."""
        seen = facts.occupancy
        if seen is None:
            return Allow()
        if not may_start(policy.start_level, level_of(who.user, facts.power), seen):
            return _not_started(policy, who.user, facts.power)
        if policy.max_users is None or may_sit(policy.max_users, seen.others, seen.is_seated):
            return Allow()
        if self.exempts(policy, who.user, facts.power):
            return Allow(is_exempt=True)
        unknown = facts.power is None and self.needs_power(policy)
        return _full(policy.max_users, seen, _UNKNOWN if unknown else "")

    def replay(self, inputs: Mapping[str, Any]) -> str | None:
        """Work out once more whether there is a seat."""
        if START_LEVEL in inputs:
            nobody = Occupancy(0, 0, False)
            may = may_start(inputs[START_LEVEL], inputs["level"], nobody)
            return "admitted" if may else "refused"
        if "max_users" not in inputs:  # too many slots or devices: no seat was asked for
            return None
        passes = may_sit(inputs["max_users"], inputs["taken"], inputs["is_seated"])
        return "admitted" if passes else "refused"

    def show(self, policy: LimitPolicy) -> Shown:
        """Put the limit in words."""
        most, start, mark = policy.max_users, policy.start_level, policy.bypass.mark
        sentences = [_sentence(most)]
        words, brief = [], []
        if most is not None:
            people = "1 person" if most == 1 else f"{most} people"
            words, brief = [mark(f"at most {people}")], [mark(f"at most {most}")]
        if policy.bypass.is_any:
            nothing = "" if self.has_use(policy) else " (none is set)"
            sentences.append(f"Exempt from the limit{nothing}: {policy.bypass}.")
        if start is not None:
            sentences.append(f"Only people with power level {start} or more may start a call.")
            words.append(f"power level {start} to start a call")
            brief.append(f"level {start} to start")
        fields = {
            "max_users": most,
            "limit_bypass": policy.bypass.whoever_may_set,
            "limit_bypass_level": policy.bypass.level,
            START_LEVEL: start,
        }
        return Shown(tuple(sentences), tuple(words), tuple(brief), fields)


def level_of(user: UserId | None, power: PowerLevels | None) -> float | None:
    """A user's level, of somebody who is not known the least; None where no levels are known."""
    if power is None:
        return None
    return power.users_default if user is None else power.of(user)


def may_start(needed: int | None, level: float | None, seen: Occupancy) -> bool:
    """Whether one may come into a call: it is on, or they may start it.

    Where no levels are known, because something of ours is in trouble, everybody may.
    """
    return needed is None or seen.is_on or level is None or level >= needed


def _not_started(policy: LimitPolicy, user: UserId | None, power: PowerLevels | None) -> Refuse:
    level, needed = level_of(user, power), policy.start_level
    why = f"nobody is in the call, and starting it needs power level {needed}; they have {level}"
    return Refuse(ONLY_MODERATORS_START, why, {START_LEVEL: needed, "level": level})


def _full(limit: int, seen: Occupancy, more: str) -> Refuse:
    people = Sentence("call_full_people", {"count": limit})
    why = f"{seen.taken} in the call or about to join, {limit} allowed, this user not among them"
    return Refuse(
        Sentence("call_full", {"people": people}),
        f"{why}{more}",
        {"max_users": limit, "taken": seen.taken, "is_seated": False},
        {"io.lotus.limit": {"max_users": limit, "users": seen.taken}},
    )


def _sentence(most: int | None) -> str:
    if most is None:
        return "Any number of people may be in the room's calls."
    different = "1 person" if most == 1 else f"{most} different people"
    return f"At most {different} may be in the room's calls."
