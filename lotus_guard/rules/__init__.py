"""The per-room rules, and everything that they decide without asking anybody.

A new rule is one module here and one entry in `RULES`; docs/architecture.md, A new rule.
"""

from collections.abc import Sequence
from typing import Any

from lotus_guard.rules.limit import Limit
from lotus_guard.rules.media import Media
from lotus_guard.rules.rule import Rule

Rules = Sequence[Rule[Any]]

RULES: Rules = (Limit(), Media())
"""Every rule; where several refuse, the first one's sentence is what the user reads."""
