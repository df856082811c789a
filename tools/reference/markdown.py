"""Tables of Markdown."""

from collections.abc import Iterable, Sequence


def table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Write a table of cells that `cell` and `code` have made."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def code(text: str) -> str:
    """Write a text as code, or nothing for an empty one."""
    return f"`{_line(text)}`" if text else ""


def cell(text: str) -> str:
    """Write a text so that it stays in its cell, and none of it becomes a tag."""
    return _line(text).replace("<", "&lt;")


def _line(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")
