"""Who is exempt from a policy: an option that moderators write into the event itself.

    {"max_users": 5, "bypass": true}       whoever may set this very event is exempt
    {"max_users": 5, "bypass_level": 50}   whoever has this power level is exempt

Without either, everybody is bound, as by the events of before.
"""

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Generic, Protocol, TypeVar

from attrs import frozen

from lotus_guard.core.model import UserId
from lotus_guard.core.power import PowerLevels
from lotus_guard.core.text import shown
from lotus_guard.rules.option import Count, Switch
from lotus_guard.rules.rule import Policy, Rule

BYPASS, BYPASS_LEVEL = "bypass", "bypass_level"

_MOST_LEVEL = 2**53 - 1
"""The greatest integer that an event may hold (Matrix specification, "Canonical JSON")."""


@frozen
class Bypass:
    """Who is exempt; by default nobody."""

    whoever_may_set: bool = False
    """Whoever may set the policy's event."""
    level: int | None = None
    """Whoever has this power level, where that is more than everybody has."""

    @property
    def is_any(self) -> bool:
        """Whether it exempts anybody."""
        return self.whoever_may_set or self.level is not None

    def holds_for(self, user: UserId | None, power: PowerLevels | None, event: str) -> bool:
        """Whether a user is exempt from a policy in an event of this type.

        Somebody who is not known is not; nor is anybody where the levels are not known.
        """
        if user is None or power is None:
            return False
        level = power.of(user)
        may_set = self.whoever_may_set and level >= power.needed(event)
        return may_set or (
            self.level is not None and self.level > power.users_default and level >= self.level
        )

    def __str__(self) -> str:
        if not self.whoever_may_set:
            return f"people with power level {self.level} or more"
        whoever = "people who can set this rule"
        return (
            whoever
            if self.level is None
            else f"{whoever}, or have power level {self.level} or more"
        )

    def mark(self, words: str) -> str:
        """Mark words on what is restricted where some are exempt."""
        return f"{words} (some exempt)" if self.is_any else words


NOBODY = Bypass()


class MayBypass(Policy, Protocol):
    """A policy with exceptions."""

    @property
    def bypass(self) -> Bypass:
        """Who is exempt."""
        ...


B = TypeVar("B", bound=MayBypass)


class BypassableRule(Rule[B], Generic[B]):
    """A rule whose event may exempt people by their power level."""

    @abstractmethod
    def has_use(self, policy: B) -> bool:
        """Whether there is anything in a policy that one may be exempt from."""

    def needs_power(self, policy: B) -> bool:
        """Only of a policy that exempts anybody from anything."""
        return policy.bypass.is_any and self.has_use(policy)

    def exempts(self, policy: B, user: UserId | None, power: PowerLevels | None) -> bool:
        """Whether the event exempts this user."""
        return policy.bypass.holds_for(user, power, self.event)

    def doubts(self, policy: B, power: PowerLevels) -> tuple[str, ...]:
        """A level that everybody has is a typing error."""
        return doubt(self.event, BYPASS_LEVEL, policy.bypass.level, power)


def doubt(event: str, field: str, level: int | None, power: PowerLevels) -> tuple[str, ...]:
    """A complaint of a level that everybody in the room has."""
    if level is None or level > power.users_default:
        return ()
    usual = power.users_default
    return (f"{event}: {field} is {level}, which everybody has here; expected more than {usual}",)


def read_bypass(event: str, content: Mapping[str, Any]) -> tuple[Bypass, tuple[str, ...]]:
    """Read who is exempt, and what is wrong with how that is written."""
    complaints: tuple[str, ...] = ()
    whoever = content.get(BYPASS, False)
    if not isinstance(whoever, bool):
        complaints = (f"{event}: {BYPASS} is {shown(whoever)}; only true exempts anyone",)
    level, wrong = read_level(event, BYPASS_LEVEL, content)
    return Bypass(whoever is True, level), complaints + wrong


def read_level(
    event: str, field: str, content: Mapping[str, Any]
) -> tuple[int | None, tuple[str, ...]]:
    """Read a power level, None where there is none; and what is wrong with it."""
    value = content.get(field)
    if value is None and field not in content:
        return None, ()
    if isinstance(value, int) and not isinstance(value, bool) and abs(value) <= _MOST_LEVEL:
        return value, ()
    return None, (f"{event}: {field} is {shown(value)}; a power level is an integer",)


def bypass_options(rule: str, restriction: str) -> tuple[Switch, Count]:
    """The options of a rule for who is exempt; `rule` begins their flags.

    `restriction` is what they are exempt from, in words.
    """
    return (
        Switch(
            BYPASS,
            f"{rule}-bypass",
            f"People who can set the event are exempt from {restriction}.",
            False,
        ),
        Count(
            BYPASS_LEVEL,
            f"{rule}-bypass-level",
            f"People with power level N or more are exempt from {restriction}.",
            f"no-{rule}-bypass-level",
            f"Nobody is exempt from {restriction} by power level.",
        ),
    )
