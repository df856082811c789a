"""How `lotus-guard check` prints its findings: line by line, then what was left out, then a sum."""

from collections import Counter
from collections.abc import Sequence

from rich.console import Console

from lotus_guard.check.finding import NOT_CHECKED, Finding, Level, worst
from lotus_guard.commands.output import say

_STYLES = {
    Level.OK: "green",
    Level.NOTE: "dim",
    Level.WARNING: "bold yellow",
    Level.FAULT: "bold red",
}
_HEAD = 32
"""Columns of the level and the name."""
_WIDE = 100
"""From so many columns on the sentences stand beside the names."""


def print_report(console: Console, findings: Sequence[Finding]) -> None:
    """Print all findings; those that were not checked for the same reason together, at the end."""
    for finding in findings:
        if not _is_left_out(finding):
            _print(console, finding.level, finding.name, _sentence(finding.seen, finding.wanted))
    left_out = _left_out(findings)
    if left_out:
        say(console, "Not checked:")
    for why, names in left_out.items():
        say(console, f"  {', '.join(names)}: {why}", indent=4, style=_STYLES[Level.NOTE])
    level = worst(findings)
    say(console, summary_of(findings), style=_STYLES[level] if level != Level.NOTE else "green")


def summary_of(findings: Sequence[Finding]) -> str:
    """Sum the findings up: how many of each level, and what to fix first."""
    count = Counter(each.level for each in findings)
    skipped = sum(map(_is_left_out, findings))
    parts = [
        f"{count[Level.OK]} OK",
        *_counted(count[Level.WARNING], "warning"),
        *_counted(count[Level.FAULT], "fault"),
        *([f"{skipped} not checked"] if skipped else []),
    ]
    level = worst(findings)
    if level in (Level.OK, Level.NOTE):
        return f"{', '.join(parts)}. Nothing to fix."
    first = next(each for each in findings if each.level == level)
    return f"{', '.join(parts)}. Fix {first.name} first."


def _counted(number: int, word: str) -> list[str]:
    return [f"{number} {word}{'' if number == 1 else 's'}"] if number else []


def _is_left_out(finding: Finding) -> bool:
    return finding.level == Level.NOTE and finding.seen.startswith(NOT_CHECKED)


def _left_out(findings: Sequence[Finding]) -> dict[str, list[str]]:
    """The names of what was not checked, by the reason."""
    found: dict[str, list[str]] = {}
    for each in filter(_is_left_out, findings):
        why = _sentence(each.seen.partition(": ")[2], each.wanted)
        found.setdefault(why, []).append(each.name)
    return found


def _sentence(seen: str, wanted: str) -> str:
    return f"{seen}. Fix: {wanted}" if wanted else seen


def _print(console: Console, level: Level, name: str, text: str) -> None:
    head, style, styled = f"{level:<8} {name:<22} ", _STYLES[level], len(level)
    if not console.is_terminal or console.width >= _WIDE:
        say(console, head + text, _HEAD, style, styled)
        return
    say(console, head.rstrip(), style=style, styled=styled)
    say(console, f"    {text}", indent=4)
