"""The per-room rules, and everything that they decide without asking anybody.

A new rule is one module here and one entry in `RULES`, or in `STANDING` where it holds in every
room; docs/architecture.md, A new rule.
"""

from collections.abc import Sequence
from typing import Any

from lotus_guard.rules.limit import Limit
from lotus_guard.rules.media import Media
from lotus_guard.rules.members import Members
from lotus_guard.rules.rule import Rule, StandingRule

Rules = Sequence[Rule[Any]]

RULES: Rules = (Limit(), Media())
"""Every rule that a room's state sets; where several refuse, the first one's sentence is what the
user reads."""

STANDING: Sequence[StandingRule] = (Members(),)
"""Every rule that holds in all rooms; their sentences go before the others'."""
