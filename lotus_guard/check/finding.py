"""What a check has found, in words that are safe for a terminal."""

from collections.abc import Iterable
from enum import StrEnum

from attrs import field, frozen

from lotus_guard.core.text import printable

MOST_SHOWN = 400
"""Characters of a finding's sentence; what others send may be longer."""


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    NOTE = "note"
    """Not checked, or not there and not needed; counts as nothing."""
    WARNING = "warning"
    """Calls and rules work, but worse than they could, or something was not to be seen."""
    FAULT = "fault"
    """Something that was set up does not work, or a rule can be got round."""


NOT_CHECKED = "not checked: "
"""How a note on what could not be checked begins; the reason follows."""
EXIT_CODES = {Level.OK: 0, Level.NOTE: 0, Level.WARNING: 1, Level.FAULT: 2}


def plain(text: str) -> str:
    """Write a sentence on one line, with what cannot be printed as escapes."""
    return printable(text, MOST_SHOWN)


@frozen
class Finding:
    """One line of the report."""

    name: str
    """What was checked: a short name that stays the same, for machines."""
    level: Level
    seen: str = field(converter=plain)
    wanted: str = field(default="", converter=plain)
    """The line to change, and to what; empty where nothing is to be changed."""


def ok(name: str, seen: str) -> Finding:
    """Something is as it should be."""
    return Finding(name, Level.OK, seen)


def note(name: str, seen: str, wanted: str = "") -> Finding:
    """Something was not checked, or is not there and need not be."""
    return Finding(name, Level.NOTE, seen, wanted)


def warning(name: str, seen: str, wanted: str) -> Finding:
    """Something could be better; `wanted` is what to change."""
    return Finding(name, Level.WARNING, seen, wanted)


def fault(name: str, seen: str, wanted: str) -> Finding:
    """Something is wrong; `wanted` is what to change."""
    return Finding(name, Level.FAULT, seen, wanted)


def worst(findings: Iterable[Finding]) -> Level:
    """The worst level among them."""
    order = list(Level)
    return max((finding.level for finding in findings), key=order.index, default=Level.OK)
