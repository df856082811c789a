"""Enforcement delay on the real stack: how long others still see what is forbidden.

Real Synapse, livekit-server and WebRTC clients; the guard polls, or is told by Synapse's module and
LiveKit's webhooks. From the moment a moderator sets a policy to the moment another participant's
client loses the track; and from the moment a disguised track is shown to them to the moment it
goes.

    python -m bench.enforcement [--tries 10] [--budget 240] [--json FILE]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import frozen

from bench.tables import markdown, number
from bench.tools import Missing, finish, say
from tests.real.delays import disguise, policy_to_track_gone
from tests.real.processes import REAL, until
from tests.real.stack import Stack, running_stack

MEASURES: dict[str, Callable[[Stack], float]] = {
    "policy set → track gone": policy_to_track_gone,
    "disguised track shown → gone": disguise,
}
MODES = {"polling": False, "hints": True}


@frozen
class Options:
    """How much is measured."""

    tries: int = 10
    """For each figure."""
    budget: float = 240.0
    """Seconds: no further try is begun after that; each figure has at least one."""


def run(options: Options) -> dict[str, Any]:
    """Measure; returns the results as JSON can hold them. Raises Missing."""
    for path in (REAL / "bin" / "livekit-server", REAL / "venv" / "bin" / "python"):
        if not path.exists():
            raise Missing(f"{path.name} is not in .real: install Go, then run `make bench` again")
    rows, share = [], options.budget / len(MODES)
    for mode, hinted in MODES.items():
        say(f"enforcement delay: starting the real stack, {mode}")
        end = time.monotonic() + share
        with (
            tempfile.TemporaryDirectory(prefix="bench-") as name,
            running_stack(Path(name), modules=hinted) as stack,
        ):
            if hinted:
                _await_pushes(stack)
            rows += _measured(stack, mode, options.tries, end)
    return {"rows": rows}


def _await_pushes(stack: Stack) -> None:
    name = "lotus_guard_push_age_seconds"
    until("pushes come", lambda: name in stack.guard.metrics())


def _measured(stack: Stack, mode: str, tries: int, end: float) -> list[dict[str, Any]]:
    rows = []
    for index, (what, measure) in enumerate(MEASURES.items()):
        left = end - time.monotonic()
        until_when = time.monotonic() + left / (len(MEASURES) - index)
        say(f"enforcement delay: {what}, {mode}")
        delays = [measure(stack)]
        while len(delays) < tries and time.monotonic() < until_when:
            delays.append(measure(stack))
        rows.append({"what": what, "mode": mode, "delays": delays})
    return rows


def shown(found: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    heads = ("from → to", "", "tries", "median ms", "least ms", "most ms")
    rows = []
    for row in found["rows"]:
        ms = [1000.0 * delay for delay in row["delays"]]
        figures = (statistics.median(ms), min(ms), max(ms))
        rows.append(
            (row["what"], row["mode"], str(len(ms)), *(number(figure, 0) for figure in figures))
        )
    return markdown(heads, rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tries", type=int, default=10)
    parser.add_argument("--budget", type=float, default=240.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    options = Options(args.tries, args.budget)
    found = finish(lambda: run(options), args.json)
    print(shown(found))


if __name__ == "__main__":
    main()
