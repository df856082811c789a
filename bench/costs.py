"""The unit costs as they were measured last, by name; `bench.unit_costs` measures them."""

import json
from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).with_name("unit_costs.json")
Costs = Mapping[str, float]
"""By name; seconds of CPU, bytes or a number of commands."""


def read() -> dict[str, float]:
    """What was measured last."""
    found: dict[str, float] = json.loads(FILE.read_text())
    return found


def write(costs: Costs) -> None:
    """Put these in the place of what was measured before, and leave the others."""
    known = read() if FILE.exists() else {}
    FILE.write_text(json.dumps({**known, **costs}, indent=1, sort_keys=True) + "\n")
