"""What one of each takes: a token, a webhook, a push, a room in a pass, in CPU time and in Redis.

    python -m bench.unit_costs [--only alone,shared,...] [--write]

With `--write` what was measured takes the place of what `bench/unit_costs.json` has. From there
come the figures of `docs/scaling.md` (`bench.scaling`). `bench.measured` says how it is measured.
"""

import argparse
import json
import time
from collections.abc import Callable, Mapping

from bench import pass_costs, real_costs, request_costs
from bench.costs import Costs, write
from bench.tools import say


def yardstick(turns: int = 1_000_000) -> float:
    """The CPU seconds of a loop of plain Python, by which machines and hours are compared."""
    found = []
    for _ in range(9):
        begun, total = time.process_time(), 0
        for number in range(turns):
            total += number & 7
        found.append(time.process_time() - begun)
    return min(found)


PARTS: Mapping[str, Callable[[], Costs]] = {
    "alone": request_costs.alone,
    "shared": request_costs.shared,
    "listeners": pass_costs.listeners,
    "passes": pass_costs.all_passes,
    "people": request_costs.people,
    "memory": pass_costs.memory,
    "yardstick": lambda: {"yardstick": yardstick()},
    "real": real_costs.measure,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", default=",".join(PARTS))
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    for name in args.only.split(","):
        say(f"unit costs: {name}")
        found = {key: float(f"{value:.4g}") for key, value in PARTS[name]().items()}
        print(json.dumps(found, indent=1), flush=True)
        if args.write:
            write(found)


if __name__ == "__main__":
    main()
