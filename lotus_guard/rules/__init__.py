"""The per-room rules, and everything that they decide without asking anybody.

A new rule is one module here and one entry in `RULES`, or in `STANDING` where it holds in every
room; docs/architecture.md, A new rule.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from lotus_guard.rules.cameras import Cameras
from lotus_guard.rules.limit import Limit
from lotus_guard.rules.media import Media
from lotus_guard.rules.members import Members
from lotus_guard.rules.permission import CallPermission
from lotus_guard.rules.rule import Rule, StandingRule

Rules = Sequence[Rule[Any]]

RULES: Rules = (Limit(), Media(), Cameras())
"""Every rule that a room's state sets; where several refuse, the first one's sentence is what the
user reads."""

STANDING: Sequence[StandingRule] = (Members(), CallPermission())
"""Every rule that holds in all rooms; their sentences go before the others'."""


def by_event(rules: Iterable[Rule[Any]]) -> dict[str, list[Rule[Any]]]:
    """The rules that read each type of event; one event may have the fields of several.

    The first one of an event is whose the event is: clearing that rule empties it.
    """
    found: dict[str, list[Rule[Any]]] = {}
    for rule in rules:
        found.setdefault(rule.event, []).append(rule)
    return found
