"""How commands print: for a terminal wrapped between words, for pipes one line for each thing."""

import sys
import textwrap
from collections.abc import Sequence

import click
from rich.cells import cell_len
from rich.console import Console
from rich.text import Text

_UNBOUNDED = 1000
"""Columns where there is no terminal."""
GAP = "  "


class _Console(Console):
    """Raises BrokenPipeError where `| head` has seen enough: click ends quietly at that.

    Rich's own answer is SystemExit, which looks like Ctrl-C on the reactor.
    """

    def on_broken_pipe(self) -> None:
        """Let the error that rich has caught go on."""
        raise  # rich calls this while it handles the error


def make_console() -> Console:
    """Make what prints to the terminal; it takes nothing that it prints for markup."""
    console = _Console(highlight=False, markup=False, emoji=False)
    if not console.is_terminal:
        console = _Console(highlight=False, markup=False, emoji=False, width=_UNBOUNDED)
    return console


def aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    """Write a table for pipes: a line for each row, columns aligned with spaces, nothing cut."""
    if not rows:
        return []
    widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for row in rows:
        cells = [cell + " " * (w - cell_len(cell)) for cell, w in zip(row, widths, strict=True)]
        lines.append(GAP.join(cells).rstrip())
    return lines


def folded(line: str, width: int, indent: int = 0) -> list[str]:
    """Break a line between words; a word that is longer than the width stays whole."""
    return textwrap.wrap(
        line,
        max(width, indent + 1),
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    ) or [""]


def echo(line: str) -> None:
    """Print a line as it is; a letter that the terminal's encoding lacks is escaped."""
    encoding = sys.stdout.encoding or "ascii"
    click.echo(line.encode(encoding, "backslashreplace").decode(encoding))


def say(console: Console, line: str, indent: int = 0, style: str = "", styled: int = 0) -> None:
    """Print a line; on a terminal broken between words, what follows indented by so much.

    `style` is for the first `styled` characters, or for all of it where that is 0.
    """
    if not console.is_terminal:
        echo(line)
        return
    for number, part in enumerate(folded(line, console.width, indent)):
        text = Text(part)  # never markup: it may hold what others sent
        if style and (number == 0 or not styled):
            text.stylize(style, 0, styled or len(part))
        console.print(text, soft_wrap=True)
