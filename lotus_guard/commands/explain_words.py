"""A decision in words, for `lotus-guard explain`."""

import json
from datetime import datetime
from typing import Any

from lotus_guard.core.text import printable
from lotus_guard.rules import RULES, Rules
from lotus_guard.rules.decision import Decision
from lotus_guard.rules.rulings import replay

NOT_REPLAYED = (KeyError, ValueError, TypeError, AttributeError)
"""What deciding again raises on inputs that another release wrote."""


def lines_of(decision: Decision, rules: Rules = RULES) -> list[str]:
    """Describe a decision for people to read; whatever strangers wrote is escaped."""
    ruling = decision.ruling
    when = _moment(decision.at)
    observed = "  (observed only: nothing was changed)" if decision.observed else ""
    lines = [
        f"{when}  [{printable(decision.id)}]  {printable(ruling.verdict)}{observed}",
        f"  room    {printable(ruling.room or 'not known')}",
        f"  user    {printable(ruling.user or 'not recorded')}",
        f"  rule    {printable(ruling.rule)}",
        f"  why     {printable(ruling.why, 400)}",
        f"  inputs  {_inputs(dict(ruling.inputs))}",
    ]
    if ruling.people:
        lines.append(f"  seated  {', '.join(map(printable, ruling.people))}")
    return [*lines, f"  replay  {_replayed(decision, rules)}"]


def _moment(at: float) -> str:
    try:
        return datetime.fromtimestamp(at).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    except (ValueError, OverflowError, OSError):  # no guard, nor any calendar, has such a time
        return "at no known time"


def _inputs(inputs: dict[str, Any]) -> str:
    named = ", ".join(f"{name} = {json.dumps(inputs[name])}" for name in inputs)
    return printable(named, 600) or "none"


def replayed(decision: Decision, rules: Rules = RULES) -> str | None:
    """The verdict on the same inputs; None where no rule was asked, or the inputs are unknown."""
    try:
        return replay(decision.ruling, rules)
    except NOT_REPLAYED:
        return None


def _replayed(decision: Decision, rules: Rules) -> str:
    """Decide once more, and say whether the same comes of it."""
    try:
        verdict = replay(decision.ruling, rules)
    except NOT_REPLAYED:
        return "not possible: a different release recorded these inputs"
    if verdict is None:
        return "nothing to replay: no rule was involved"
    if verdict == decision.ruling.verdict:
        return f"the same: {printable(verdict)}"
    return f"DIFFERENT with this release: {printable(verdict)}"
