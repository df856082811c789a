"""How commands print."""

import io

import pytest
from rich.console import Console

from lotus_guard.commands.output import aligned, folded, say


def test_columns_are_aligned_one_row_a_line_and_nothing_is_cut() -> None:
    long = "x" * 400
    assert aligned([("A", "B", "C"), ("\u732b", "two words", ""), ("3", "-", long)]) == [
        "A   B          C",
        "\u732b  two words",
        f"3   -          {long}",
    ]
    assert aligned([]) == []


@pytest.mark.parametrize("width", [1, 10, 20, 60])
def test_lines_are_broken_between_words_only(width: int) -> None:
    line = "start lk-jwt-service, or LOTUS_GUARD_UPSTREAM=http://127.0.0.1:8071 (itself)"
    lines = folded(line, width, 2)
    assert " ".join(part.strip() for part in lines) == line
    assert all(part.startswith("  ") for part in lines[1:])
    words = set(line.split())
    assert all(len(part) <= max(width, 3) or part.strip() in words for part in lines)


def test_an_empty_line_stays_one() -> None:
    assert folded("", 20) == [""]


def drawn(line: str, **more: object) -> str:
    out = io.StringIO()
    console = Console(file=out, width=12, force_terminal=True, color_system="standard")
    say(console, line, **more)  # type: ignore[arg-type]
    return out.getvalue()


def test_only_the_beginning_may_be_coloured_and_nothing_is_markup() -> None:
    text = drawn("fault [bold] and more", indent=2, style="red", styled=5)
    assert text == "\x1b[31mfault\x1b[0m [bold]\n  and more\n"
    assert drawn("one two three four", style="red").count("\x1b[31m") == 2


def test_where_there_is_no_terminal_a_line_stays_one(capsys: pytest.CaptureFixture[str]) -> None:
    say(Console(file=io.StringIO()), "word " * 100, indent=4, style="red")
    assert capsys.readouterr().out == "word " * 100 + "\n"
