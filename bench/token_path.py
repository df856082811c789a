"""The token path: requests/s, latency, CPU and memory of what one could put before lk-jwt-service.

Direct, a plain proxy, a thread-per-connection guard in two styles and lotus_guard, side by side:
every round measures all of them, one after the other, so that a change of the machine's mood meets
them alike. Figures are medians of the rounds, ratios are taken within a round.

    python -m bench.token_path [--budget 330] [--seconds 1.0] [--only NAME;NAME] [--json FILE]
                               [--against REVISION]
"""

import argparse
import os
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import asdict, define, field, frozen

from bench import ratios, targets
from bench.candidates import (
    CANDIDATES,
    EARLIER,
    HINTED,
    KEPT,
    OURS,
    RIVAL,
    TWO,
    YARDSTICK,
    Candidate,
    Running,
    Setting,
    available,
    check,
)
from bench.cells import CELLS, Cell
from bench.load import load
from bench.neighbours import Ports, neighbours
from bench.tables import markdown, number
from bench.tools import (
    cpu,
    cpu_of_all,
    finish,
    largest,
    ports,
    rss,
    running,
    say,
)
from bench.traffic import Table, claims_of, write_script

WARM_SECONDS = 0.5
MOST_ROUNDS = 5
MOST_OTHERS = 0.1
"""What other programs may take of a core before it must be said."""
OPENED = "lotus_guard_fail_open_total"
"""Verdicts that a rule of ours gave up: tokens that went out unguarded."""
LOOKED = "lotus_guard_synapse_calls_total"
NUMBERS = (
    "rate", "p50", "p99", "cpu", "rss", "worker", "wrk", "neighbours", "beside", "others", "share",
    "undivided", "lookups", "refused", "broken", "opened",
)  # fmt: skip


@frozen
class Options:
    """How much is measured."""

    budget: float = 330.0
    """Seconds: no round is begun that would not end in time; the first always is."""
    seconds: float = 1.0
    """Seconds of load for each figure."""
    rooms: int = 100
    users: int = 20
    rounds: int = MOST_ROUNDS
    only: Sequence[str] = ()
    against: str = ""
    """The revision of ours that ours is compared with; the last tag where it is empty."""


@frozen
class Used:
    """CPU seconds that were used up to a moment, or between two."""

    guard: float
    """By the candidate's processes."""
    beside: float
    """By what runs for it besides."""
    neighbours: float
    everything: float
    """By all that runs on the machine."""

    def since(self, before: "Used") -> "Used":
        """What was used between two moments."""
        now, then = asdict(self), asdict(before)
        return Used(**{name: now[name] - then[name] for name in now})


@define
class Bench:
    """One run."""

    options: Options
    directory: Path
    table: Table = field(init=False)
    there: Ports = field(init=False)
    neighbours: int = 0
    """The pid of what stands for all neighbours."""
    rows: list[dict[str, Any]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.table = Table(self.options.rooms, self.options.users)
        self.there = Ports(*ports(3))

    def run(self, candidates: Mapping[str, Candidate]) -> None:
        """Measure these candidates, round after round."""
        livekit_rooms = {str(claims_of(ask.answer)["video"]["room"]) for ask in self.table.asks}
        everything = neighbours(
            self.directory,
            self.there,
            self.table.asks,
            self.table.policies(),
            sorted(livekit_rooms),
        )
        files = write_script(self.directory, self.table)
        begun = time.monotonic()
        with running("neighbours", everything, self.directory, self.there.upstream) as pid:
            self.neighbours = pid
            for turn in range(1, self.options.rounds + 1):
                for name, candidate in candidates.items():
                    say(f"token path, round {turn}: {name}")
                    for row in self._measured(name, candidate, files):
                        self.rows.append({"candidate": name, "round": turn, **row})
                spent = time.monotonic() - begun
                if spent * (turn + 1) / turn > self.options.budget:
                    return

    def _measured(
        self, name: str, candidate: Candidate, files: Mapping[tuple[str, str], Path]
    ) -> Iterator[dict[str, Any]]:
        with ExitStack() as ends:
            runs = candidate.start(ends, Setting(self.directory, self.there, self.table))
            check(name, candidate, runs, self.table)
            warmed = set()
            for cell in candidate.cells:
                path = files[cell.kind, cell.door]
                if path not in warmed:  # policies are known then, and connections made
                    load(self.directory, runs.port_of(cell.door), path, cell, self._warm())
                    warmed.add(path)
                yield {"cell": cell, **self._figures(runs, candidate.workers, path, cell)}

    def _warm(self) -> float:
        return min(WARM_SECONDS, self.options.seconds)

    def _figures(self, runs: Running, workers: int, path: Path, cell: Cell) -> dict[str, Any]:
        opened, looked = (runs.counted(name) for name in (OPENED, LOOKED))
        begun, before = time.monotonic(), self._used(runs)
        port, seconds = runs.port_of(cell.door), self.options.seconds
        found = load(self.directory, port, path, cell, seconds)
        used, passed = self._used(runs).since(before), time.monotonic() - begun
        asked, rate = max(1.0, found["requests"]), found["requests"] / found["seconds"]
        guard, everything = used.guard / passed, used.everything / passed
        known = used.guard + used.beside + used.neighbours + found["wrk"]
        share = ratios.share_of_cores(workers, os.cpu_count() or 1, everything - guard, guard)
        return {
            "rate": rate,
            "p50": found["p50"],
            "p99": found["p99"],
            "cpu": 1000 * (used.guard + used.beside) / asked if runs.pids else None,
            "rss": sum(map(rss, [*runs.pids, *runs.beside])) if runs.pids else None,
            "worker": max(map(largest, runs.pids), default=None),
            "wrk": found["wrk"] / passed,
            "neighbours": used.neighbours / passed,
            "beside": used.beside / passed if runs.beside else None,
            "others": max(0.0, used.everything - known) / passed,
            "share": share if runs.pids else None,
            "undivided": rate / share if runs.pids else None,
            "lookups": (runs.counted(LOOKED) - looked) / asked if runs.operators else None,
            "refused": found["refused"],
            "broken": found["broken"],
            "opened": runs.counted(OPENED) - opened,
        }

    def _used(self, runs: Running) -> Used:
        guard, beside = (sum(map(cpu, pids)) for pids in (runs.pids, runs.beside))
        return Used(guard, beside, cpu(self.neighbours), cpu_of_all())


def run(options: Options) -> dict[str, Any]:
    """Measure; returns the results as JSON can hold them."""
    candidates, left_out = available(options.against)
    if options.only:
        candidates = {name: candidates[name] for name in candidates if name in options.only}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        bench = Bench(options, Path(name))
        bench.run(candidates)
    earlier = [name for name in candidates if name.startswith(EARLIER)]
    against = {OURS: (YARDSTICK, RIVAL, KEPT, *earlier), HINTED: (OURS,), TWO: (RIVAL, OURS)}
    return {
        "rooms of a kind": options.rooms,
        "users in a room": options.users,
        "rounds": max(row["round"] for row in bench.rows),
        "seconds": options.seconds,
        "others": statistics.median(row["others"] for row in bench.rows),
        "left_out": left_out,
        "rows": _as_json(ratios.medians(bench.rows, list(candidates), CELLS, NUMBERS)),
        "ratios": _as_json(ratios.compared(bench.rows, against, CELLS)),
        "targets": targets.token_path(bench.rows),
        "raw": _as_json(bench.rows),
    }


def _as_json(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "cell": asdict(row["cell"])} for row in rows]


def _from_json(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    return [{**row, "cell": Cell(**row["cell"])} for row in rows]


def shown(found: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    text = (
        f"{found['rooms of a kind']} rooms of each kind with {found['users in a room']} users in "
        f"each, {found['rounds']} rounds of {found['seconds']:g} s. `wrk` and `neighbours` are the "
        "share of one core that the load generator and the fakes took beside the candidate; a row "
        "in which either is near 100 % shows what they can do, not the candidate. Memory of "
        "several processes counts pages that they share in each.\n\nOther programs took "
        f"{found['others']:.0%} of a core meanwhile: with more than {MOST_OTHERS:.0%}, figures and "
        "verdicts are about them as well."
    )
    left_out = "".join(f"\nLeft out: {each}.\n" for each in found["left_out"])
    compared = ratios.shown(_from_json(found["ratios"]))
    return f"{text}\n{left_out}\n{_figures(found)}\n\nRatios:\n\n{compared}\n"


def _figures(found: dict[str, Any]) -> str:
    heads = (
        "room", "connections", "candidate", "requests/s", "p50 ms", "p99 ms", "CPU ms/request",
        "RSS MiB", "wrk", "neighbours", "Redis", "cores", "look-ups", "failed", "unguarded",
    )  # fmt: skip
    rows = []
    for row in _from_json(found["rows"]):
        rows.append(
            (
                row["cell"].kind,
                row["cell"].name,
                row["candidate"],
                number(row["rate"], 0),
                number(row["p50"]),
                number(row["p99"]),
                number(row["cpu"], 3),
                number(row["rss"], 0),
                f"{row['wrk']:.0%}",
                f"{row['neighbours']:.0%}",
                "–" if row["beside"] is None else f"{row['beside']:.0%}",
                "–" if row["share"] is None else f"{row['share']:.0%}",
                number(row["lookups"]),
                number(row["refused"] + row["broken"], 0),
                number(row["opened"], 0),
            )
        )
    return markdown(heads, rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=330.0)
    parser.add_argument("--seconds", type=float, default=1.0)
    parser.add_argument("--rounds", type=int, default=MOST_ROUNDS)
    parser.add_argument("--rooms", type=int, default=100)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--only", default="", help=f"some of: {'; '.join(CANDIDATES)}")
    parser.add_argument("--against", default="", help="a revision instead of the last tag")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    only = [name.strip() for name in args.only.split(";") if name.strip()]
    options = Options(
        args.budget, args.seconds, args.rooms, args.users, args.rounds, only, args.against
    )
    found = finish(lambda: run(options), args.json)
    print(shown(found))
    print(targets.shown(found["targets"]))


if __name__ == "__main__":
    main()
