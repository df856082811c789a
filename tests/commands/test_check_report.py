"""What `lotus-guard check` prints: findings, what was left out, and a sum."""

import ast
import io
from pathlib import Path

import pytest
from rich.console import Console

from lotus_guard.check.finding import NOT_CHECKED, Finding, fault, note, ok, warning
from lotus_guard.commands import check_report
from lotus_guard.commands.check_report import print_report, summary_of

CHECKS = Path(check_report.__file__).parents[1] / "check"
LEFT_OUT = [note(name, f"{NOT_CHECKED}no --public-url was given") for name in ("a", "b")]


@pytest.mark.parametrize(
    ("findings", "summary"),
    [
        ([ok("x", "fine"), ok("y", "fine")], "2 OK. Nothing to fix."),
        ([ok("x", "fine"), note("n", "none")], "1 OK. Nothing to fix."),
        ([ok("x", "fine"), *LEFT_OUT], "1 OK, 2 not checked. Nothing to fix."),
        ([warning("w", "late", "x"), ok("x", "y")], "1 OK, 1 warning. Fix w first."),
        (
            [warning("w", "late", "x"), fault("f", "x", "y"), fault("g", "x", "y")],
            "0 OK, 1 warning, 2 faults. Fix f first.",
        ),
    ],
)
def test_the_last_line_sums_up_and_says_what_comes_first(
    findings: list[Finding], summary: str
) -> None:
    assert summary_of(findings) == summary


def test_what_was_not_checked_comes_once_for_each_reason(
    capsys: pytest.CaptureFixture[str],
) -> None:
    other = note("c", f"{NOT_CHECKED}an older guard is running", "restart the guard")
    print_report(
        Console(file=io.StringIO()),
        [LEFT_OUT[0], ok("x", "fine"), other, LEFT_OUT[1], note("n", "none")],
    )
    assert capsys.readouterr().out.splitlines() == [
        "ok       x                      fine",
        "note     n                      none",
        "Not checked:",
        "  a, b: no --public-url was given",
        "  c: an older guard is running. Fix: restart the guard",
        "1 OK, 3 not checked. Nothing to fix.",
    ]


def test_every_note_on_what_was_not_checked_is_known_as_one() -> None:
    """A note that begins with "not" in other words would stand among the findings."""
    for path in CHECKS.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                begins = node.value.startswith(("not looked", "not checked", "skipped"))
                is_prefix = path.name == "finding.py"
                assert not begins or is_prefix or node.value.startswith(NOT_CHECKED), path


@pytest.mark.parametrize("width", [60, 80, 100, 140])
def test_nothing_is_broken_within_words(width: int) -> None:
    out = io.StringIO()
    console = Console(file=out, width=width, force_terminal=True, color_system=None)
    finding = fault(
        "upstream",
        "nothing answers at http://127.0.0.1:8071: the connection is refused",
        "start lk-jwt-service, or LOTUS_GUARD_UPSTREAM=http://127.0.0.1:8071",
    )
    print_report(console, [finding, *LEFT_OUT])
    lines = out.getvalue().splitlines()
    assert max(map(len, lines)) <= width
    wanted = f"{finding.seen}. Fix: {finding.wanted}".split()
    assert " ".join(out.getvalue().split()).count(" ".join(wanted)) == 1
