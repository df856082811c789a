"""The simulation does what the formulas say, and shows who waits."""

import pytest

from bench.capacity import BUSY, INTERVAL, Deployment, Load, capacity, demand
from bench.costs import read
from bench.queueing import Play, Result, Station

COSTS = read()
ONE, TEN = Deployment("one"), Deployment("ten", workers=10)
PARTS = Deployment("parts", workers=10, shards=3, loop_parts=10, is_news_apart=True)


def played(there: Deployment, share: float, seed: int = 1, seconds: float = 20.0) -> Result:
    """Play a deployment with this share of the rooms that it holds."""
    rooms = int(capacity(there, Load(), COSTS).rooms * share)
    return Play(there, Load(), rooms, COSTS, seed).run(seconds)


def test_one_after_the_other() -> None:
    station = Station()
    assert station.serve(1.0, 0.5) == 1.5
    assert station.serve(1.2, 0.5) == 2.0, "it waits"
    assert station.serve(3.0, 0.5) == 3.5, "nothing is before it"
    assert station.busy == 1.5


def test_a_seed_repeats_everything() -> None:
    assert played(TEN, 0.5, seed=3, seconds=4.0) == played(TEN, 0.5, seed=3, seconds=4.0)
    assert played(TEN, 0.5, seed=3, seconds=4.0) != played(TEN, 0.5, seed=4, seconds=4.0)


@pytest.mark.parametrize("there", [ONE, TEN, PARTS])
def test_each_part_is_as_busy_as_was_worked_out(there: Deployment) -> None:
    rooms = int(capacity(there, Load(), COSTS).rooms * 0.9)
    found = Play(there, Load(), rooms, COSTS).run(40.0)
    shares = demand(there, Load(), rooms, COSTS)
    for name, busy in found.busy.items():
        if name == "another worker's core" and there.loop_parts > 1:
            name = "the leader's core"  # all of them lead a part
        assert busy == pytest.approx(shares[name] * BUSY, rel=0.15, abs=0.005), name


def test_above_what_is_held_passes_are_late_and_nothing_worse() -> None:
    """A pass waits for its own work, so that tokens wait for a part of it only."""
    held, above = played(ONE, 0.9), played(ONE, 1.6)
    assert max(held.passes) < INTERVAL < max(above.passes)
    assert above.busy["the leader's core"] > 0.98
    assert held.p50 < above.p50 < held.p50 * 3
