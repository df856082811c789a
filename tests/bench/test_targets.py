"""Targets are judged by the figures that they are about, and a missed one is called so."""

from typing import Any

import pytest

from bench.candidates import DIRECT, OURS, RIVAL, TWO, YARDSTICK
from bench.cells import CELLS
from bench.targets import shown, token_path

FIGURES = {"rate": 100.0, "undivided": 100.0, "p50": 2.0, "p99": 10.0, "cpu": 1.0, "worker": 70.0}
KEPT_ALL: dict[str, dict[str, float]] = {
    OURS: {"rate": 200.0, "p99": 5.0, "cpu": 0.5},
    TWO: {"undivided": 170.0},
    DIRECT: {"p50": 0.1},
    "ours at v1": {"rate": 200.0, "cpu": 0.5},
}


def judged(**changed: dict[str, float]) -> dict[str, Any]:
    """Judge what keeps all targets, but for what is changed of a candidate."""
    names = (DIRECT, YARDSTICK, RIVAL, OURS, TWO, "ours at v1")
    rows = [
        {
            "candidate": name,
            "round": 1,
            "cell": cell,
            **FIGURES,
            **KEPT_ALL.get(name, {}),
            **changed.get(name, {}),
        }
        for name in names
        for cell in CELLS
    ]
    return {each["what"]: each for each in token_path(rows)}


def missed(**changed: dict[str, float]) -> list[str]:
    return [what for what, each in judged(**changed).items() if not each["met"]]


def test_all_targets_can_be_kept() -> None:
    assert missed() == []


@pytest.mark.parametrize(
    ("figures", "words", "count"),
    [
        ({"rate": 149.0}, ("requests/s against threaded", "requests/s against ours at v1"), 5),
        ({"rate": 190.0}, ("requests/s against threaded, limit",), 1),
        ({"p99": 5.1}, ("p99 against threaded",), 3),
        ({"p50": 2.4}, ("added for one client",), 3),
        ({"cpu": 0.54}, ("CPU a request against klein + treq, sources",), 1),
        ({"cpu": 0.61}, ("CPU a request against",), 5),
        ({"undivided": 101.0}, ("requests/s of 2 workers",), 3),
        ({"worker": 80.1}, ("memory of a worker",), 1),
    ],
)
def test_a_target_is_missed_by_its_own_figure_alone(
    figures: dict[str, float], words: tuple[str, ...], count: int
) -> None:
    found = missed(**{OURS: figures})
    assert len(found) == count
    assert all(what.startswith(words) for what in found), found


def test_workers_that_take_more_memory_than_they_may_are_found() -> None:
    assert missed(**{TWO: {"worker": 90.0}}) == ["memory of a worker"]


def test_without_an_earlier_revision_nothing_is_said_of_it() -> None:
    rows = [{"candidate": OURS, "round": 1, "cell": cell, **FIGURES} for cell in CELLS]
    found = token_path(rows)
    assert not [each for each in found if "ours at" in each["what"]]
    unjudged = [each for each in found if each["met"] is None]
    assert len(unjudged) == len(found) - 1, "all but memory need somebody to compare with"


def test_a_table_says_by_how_much() -> None:
    text = shown(judged(**{OURS: {"rate": 120.0}}).values())
    assert "| requests/s against threaded, open | ≥ 1.5× | 1.2× | MISSED by 20% |" in text
