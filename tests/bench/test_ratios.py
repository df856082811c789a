"""Figures beside each other: by rounds, and by what share of the cores there was."""

from typing import Any

import pytest

from bench.cells import ALONE, CORE, Cell
from bench.ratios import compared, medians, ratio, ratio_added, share_of_cores, shown

OPEN, ALONE_OPEN = CORE[0], ALONE[0]


def row(candidate: str, turn: int, cell: Cell = OPEN, **figures: float | None) -> dict[str, Any]:
    known = {"rate": 100.0, "undivided": 100.0, "p50": 1.0, "p99": 2.0, "cpu": 0.5}
    return {"candidate": candidate, "round": turn, "cell": cell, **known, **figures}


def test_a_ratio_is_taken_within_a_round_and_its_median_over_them() -> None:
    # Each round is half as fast as the one before: what the machine does changes no ratio.
    rows = [
        row(name, turn, rate=rate / 2**turn)
        for turn, ours in ((1, 150.0), (2, 140.0), (3, 170.0))
        for name, rate in (("ours", ours), ("rival", 100.0))
    ]
    assert ratio(rows, "rate", "ours", "rival", OPEN) == pytest.approx(1.5)


def test_a_round_that_lacks_one_of_them_is_no_round() -> None:
    rows = [row("ours", 1, rate=300.0), row("ours", 2), row("rival", 2)]
    assert ratio(rows, "rate", "ours", "rival", OPEN) == 1.0
    assert ratio(rows[:1], "rate", "ours", "rival", OPEN) is None


def test_what_was_not_measured_has_no_ratio() -> None:
    rows = [row("ours", 1), row("rival", 1, cpu=None)]
    assert ratio(rows, "cpu", "ours", "rival", OPEN) is None


def test_what_is_added_is_compared_without_what_there_is_anyway() -> None:
    rows = [
        row(name, 1, ALONE_OPEN, p50=p50)
        for name, p50 in (("ours", 1.7), ("rival", 0.9), ("direct", 0.1))
    ]
    assert ratio_added(rows, "ours", "rival", ALONE_OPEN, "direct") == pytest.approx(2.0)


def test_nothing_is_divided_by_what_a_rival_does_not_add() -> None:
    rows = [row(name, 1, ALONE_OPEN, p50=p50) for name, p50 in (("ours", 1.7), ("rival", 0.1))]
    rows.append(row("direct", 1, ALONE_OPEN, p50=0.2))
    assert ratio_added(rows, "ours", "rival", ALONE_OPEN, "direct") is None


@pytest.mark.parametrize(
    ("workers", "taken", "used", "share"),
    [
        (1, 0.6, 1.0, 1.0),  # the other core has room for all the rest
        (2, 0.6, 1.4, 0.7),
        (2, 0.6, 0.9, 0.7),  # they waited for each other: that is their own affair
        (1, 1.5, 0.5, 0.5),
        (2, 2.1, 0.4, 0.2),  # clocks that tick a hundred times a second do not add up
    ],
)
def test_the_share_of_a_core_that_each_worker_could_have(
    workers: int, taken: float, used: float, share: float
) -> None:
    assert share_of_cores(workers, 2, taken, used) == pytest.approx(share)


def test_candidates_are_compared_where_both_were_measured() -> None:
    rows = [row("ours", 1), row("rival", 1), row("ours", 1, ALONE_OPEN)]
    found = compared(rows, {"ours": ("rival", "nobody"), "nobody": ("ours",)}, [OPEN, ALONE_OPEN])
    assert [(each["cell"], each["candidate"], each["against"]) for each in found] == [
        (OPEN, "ours", "rival")
    ]
    assert "| open | 32 kept | ours | rival | 1.00 |" in shown(found)


def test_medians_are_in_the_order_of_the_cells_and_the_candidates() -> None:
    rows = [row(name, turn, rate=turn) for turn in (1, 2, 9) for name in ("ours", "rival")]
    found = medians(rows, ["rival", "ours"], [ALONE_OPEN, OPEN], ["rate"])
    assert found == [{"cell": OPEN, "candidate": name, "rate": 2.0} for name in ("rival", "ours")]
