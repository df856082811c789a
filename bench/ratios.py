"""Figures of candidates beside each other: the median of what was found within each round.

A round measures all candidates one after the other, so that a change of the machine's mood meets
them alike; figures of different rounds are never compared.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from bench.cells import Cell
from bench.tables import markdown, number

Row = Mapping[str, Any]
"""What was measured of one candidate, in one cell, in one round."""
FIGURES = {
    "requests/s": "rate",
    "the same with a core each": "undivided",
    "p50": "p50",
    "p99": "p99",
    "CPU/request": "cpu",
}
"""What is compared, as the tables call it."""


def share_of_cores(workers: int, cores: int, taken: float, used: float) -> float:
    """What share of a core each worker could have, at the most 1.0.

    Of so many `cores`, everything else took `taken` (the load, the neighbours, Redis, whatever else
    ran), and the workers `used` some. What nobody took was theirs for the taking: workers that wait
    for each other are not excused by it.
    """
    return min(1.0, max(cores - taken, used) / workers)


def of(rows: Sequence[Row], candidate: str, cell: Cell) -> dict[int, Row]:
    """The rows of a candidate in a cell, by their rounds."""
    return {
        row["round"]: row for row in rows if row["candidate"] == candidate and row["cell"] == cell
    }


def median(rows: Sequence[Row], what: str, candidate: str, cell: Cell) -> float | None:
    """The median of a figure over the rounds; None where it was not measured."""
    return _median([row[what] for row in of(rows, candidate, cell).values()])


def ratio(rows: Sequence[Row], what: str, one: str, other: str, cell: Cell) -> float | None:
    """The median of the ratios of a figure within each round; None without a round of both."""
    return _within(
        [of(rows, name, cell) for name in (one, other)],
        lambda mine, theirs: _divided(mine[what], theirs[what]),
    )


def ratio_added(
    rows: Sequence[Row], one: str, other: str, cell: Cell, without: str
) -> float | None:
    """The same of what each of two adds to the p50 that there is `without` either."""
    return _within(
        [of(rows, name, cell) for name in (one, other, without)],
        lambda mine, theirs, bare: _divided(mine["p50"] - bare["p50"], theirs["p50"] - bare["p50"]),
    )


def compared(
    rows: Sequence[Row], against: Mapping[str, Sequence[str]], cells: Sequence[Cell]
) -> list[dict[str, Any]]:
    """List the ratios of candidates to those that each is held against, in each cell of both."""
    found = []
    for cell in cells:
        for one, others in against.items():
            for other in others:
                if of(rows, one, cell) and of(rows, other, cell):
                    each = {name: ratio(rows, name, one, other, cell) for name in FIGURES.values()}
                    found.append({"cell": cell, "candidate": one, "against": other, **each})
    return found


def medians(
    rows: Sequence[Row], names: Sequence[str], cells: Sequence[Cell], figures: Sequence[str]
) -> list[dict[str, Any]]:
    """One row for each cell and each of these candidates, in the order of both."""
    return [
        {
            "cell": cell,
            "candidate": name,
            **{each: median(rows, each, name, cell) for each in figures},
        }
        for cell in cells
        for name in names
        if of(rows, name, cell)
    ]


def shown(found: Sequence[Row]) -> str:
    """Write ratios as Markdown."""
    heads = ("room", "connections", "candidate", "against", *FIGURES)
    rows = []
    for each in found:
        figures = [number(each[name]) for name in FIGURES.values()]
        cell = each["cell"]
        rows.append((cell.kind, cell.name, each["candidate"], each["against"], *figures))
    return markdown(heads, rows)


def _within(
    measured: Sequence[Mapping[int, Row]], figure: Callable[..., float | None]
) -> float | None:
    """The median of a figure of several candidates, each round's of that round's rows."""
    turns = set(measured[0]).intersection(*measured)
    return _median([figure(*(rows[turn] for rows in measured)) for turn in sorted(turns)])


def _divided(one: float | None, other: float | None) -> float | None:
    """A ratio; None where there is nothing to divide by."""
    return one / other if one is not None and other is not None and other > 0.0 else None


def _median(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None
