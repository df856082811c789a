"""The token path: requests/s, latency, CPU and memory of what one could put before lk-jwt-service.

Direct, nginx as a plain proxy, a thread-per-connection guard in two styles and lotus_guard, side by
side: every round measures all of them, one after the other, so that a change of the machine's mood
meets them alike. Figures are medians of the rounds, ratios are taken within a round.

    python -m bench.token_path [--budget 300] [--seconds 1.5] [--only NAME;NAME] [--json FILE]
"""

import argparse
import json
import resource
import signal
import statistics
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from bench import targets
from bench.candidates import CANDIDATES, Running, Setting, available, check
from bench.neighbours import Ports, neighbours
from bench.tables import markdown, number
from bench.tools import cpu, finish, libraries, ports, program, rss, running, say
from bench.traffic import KINDS, Table, claims_of, write_script

CELLS = [(kind, count, "kept") for kind in KINDS for count in (1, 32)]
"""Kind of room, connections, and whether these are kept from request to request."""
CELLS += [("sources", count, "new") for count in (1, 32)]
"""Nginx Proxy Manager makes a new connection for each request: its configuration has
`proxy_http_version 1.1` and no `keepalive`, so nginx sends `Connection: close`."""
WARM_SECONDS = 0.7
MOST_ROUNDS = 5
NUMBERS = ("rate", "p50", "p99", "cpu", "rss", "wrk", "neighbours", "refused", "broken", "opened")


@frozen
class Options:
    """How much is measured."""

    budget: float = 300.0
    """Seconds: no round is begun that would not end in time; the first always is."""
    seconds: float = 1.5
    """Seconds of load for each figure."""
    rooms: int = 100
    users: int = 20
    rounds: int = MOST_ROUNDS
    only: Sequence[str] = ()


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

    def run(self, names: Sequence[str]) -> None:
        """Measure these candidates, round after round."""
        livekit_rooms = {str(claims_of(ask.answer)["video"]["room"]) for ask in self.table.asks}
        everything = neighbours(
            self.directory,
            self.there,
            self.table.asks,
            self.table.policies(),
            sorted(livekit_rooms),
        )
        files = write_script(self.directory, self.table, list(KINDS))
        begun = time.monotonic()
        with running("neighbours", everything, self.directory, self.there.upstream) as pid:
            self.neighbours = pid
            for turn in range(1, self.options.rounds + 1):
                for name in names:
                    say(f"token path, round {turn}: {name}")
                    self.rows += self._measured(name, turn, files)
                spent = time.monotonic() - begun
                if spent * (turn + 1) / turn > self.options.budget:
                    return

    def _measured(self, name: str, turn: int, files: dict[str, Path]) -> Iterator[dict[str, Any]]:
        setting = Setting(self.directory, self.there, self.table)
        with ExitStack() as ends:
            candidate = CANDIDATES[name](ends, setting)
            check(name, candidate, self.table)
            for kind, path in files.items():
                self._load(candidate, path, 32, "kept", min(WARM_SECONDS, self.options.seconds))
                for cell in [cell for cell in CELLS if cell[0] == kind]:
                    found = self._cell(candidate, path, *cell[1:])
                    yield {"candidate": name, "round": turn, "kind": kind, **found}

    def _cell(self, candidate: Running, path: Path, count: int, style: str) -> dict[str, Any]:
        pids, opened = candidate.pids, candidate.opened()
        before, theirs = sum(map(cpu, pids)), cpu(self.neighbours)
        found = self._load(candidate, path, count, style, self.options.seconds)
        used, theirs = sum(map(cpu, pids)) - before, cpu(self.neighbours) - theirs
        asked = max(1.0, found["requests"])
        return {
            "connections": count,
            "style": style,
            "rate": found["requests"] / found["seconds"],
            "p50": found["p50"],
            "p99": found["p99"],
            "cpu": 1000 * used / asked if pids else None,
            "rss": sum(map(rss, pids)) if pids else None,
            "wrk": found["wrk"] / found["seconds"],
            "neighbours": theirs / found["seconds"],
            "refused": found["refused"],
            "broken": found["broken"],
            "opened": candidate.opened() - opened,
        }

    def _load(
        self, candidate: Running, path: Path, count: int, style: str, seconds: float
    ) -> dict[str, float]:
        """Let wrk ask; returns what it says, and the CPU seconds it took itself."""
        binary = program("wrk")
        script = str(self.directory / "load.lua")
        # wrk takes whole seconds only; at SIGINT it stops, and reports as at its end.
        command = [binary, "-t1", f"-c{count}", "-d600s", "--timeout", "10s", "-s", script]
        url = f"http://127.0.0.1:{candidate.port}/"
        before = _children()
        process = subprocess.Popen(
            [*command, url, "--", str(path), "close" if style == "new" else "keep"],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=libraries(binary) or None,
        )
        time.sleep(seconds + 0.1)
        process.send_signal(signal.SIGINT)
        out, error = process.communicate(timeout=30)
        if process.returncode:
            raise RuntimeError(f"wrk failed: {error[-500:]} {out[-500:]}")
        found: dict[str, float] = json.loads(out.strip().splitlines()[-1])
        found["wrk"] = _children() - before
        return found


def _children() -> float:
    """The CPU seconds of all children that have ended."""
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime


def medians(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """One row for each candidate and cell."""
    grouped: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for row in rows:
        key = (row["kind"], row["style"], row["connections"], row["candidate"])
        grouped.setdefault(key, []).append(row)
    found = []
    for same in grouped.values():
        shared = {name: value for name, value in same[0].items() if name != "round"}
        found.append({**shared, **{name: _median(same, name) for name in NUMBERS}})
    order = list(CANDIDATES)
    cells = [(kind, count, style) for kind, count, style in CELLS]
    found.sort(
        key=lambda row: (
            cells.index((row["kind"], row["connections"], row["style"])),
            order.index(row["candidate"]),
        )
    )
    return found


def _median(rows: Sequence[dict[str, Any]], name: str) -> float | None:
    values = [row[name] for row in rows if row[name] is not None]
    return statistics.median(values) if values else None


def run(options: Options) -> dict[str, Any]:
    """Measure; returns the results as JSON can hold them."""
    names, left_out = available()
    if options.only:
        names = [name for name in names if name in options.only]
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        bench = Bench(options, Path(name))
        bench.run(names)
    return {
        "rooms of a kind": options.rooms,
        "users in a room": options.users,
        "rounds": max(row["round"] for row in bench.rows),
        "seconds": options.seconds,
        "left_out": left_out,
        "rows": medians(bench.rows),
        "targets": targets.token_path(bench.rows),
        "raw": bench.rows,
    }


def shown(found: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    heads = (
        "room", "connections", "candidate", "requests/s", "p50 ms", "p99 ms", "CPU ms/request",
        "RSS MiB", "wrk", "neighbours", "failed", "unguarded",
    )  # fmt: skip
    rows = []
    for row in found["rows"]:
        rows.append(
            (
                row["kind"],
                f"{row['connections']} {row['style']}",
                row["candidate"],
                number(row["rate"], 0),
                number(row["p50"]),
                number(row["p99"]),
                number(row["cpu"], 3),
                number(row["rss"], 0),
                f"{row['wrk']:.0%}",
                f"{row['neighbours']:.0%}",
                number(row["refused"] + row["broken"], 0),
                number(row["opened"], 0),
            )
        )
    text = (
        f"{found['rooms of a kind']} rooms of each kind with {found['users in a room']} users in "
        f"each, {found['rounds']} rounds of {found['seconds']:g} s. `wrk` and `neighbours` are the "
        "share of one core that the load generator and the fakes took beside the candidate; a row "
        "in which either is near 100 % shows what they can do, not the candidate. Memory of "
        "several processes counts pages that they share in each."
    )
    left_out = "".join(f"\nLeft out: {each}.\n" for each in found["left_out"])
    return f"{text}\n{left_out}\n{markdown(heads, rows)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=300.0)
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--rounds", type=int, default=MOST_ROUNDS)
    parser.add_argument("--rooms", type=int, default=100)
    parser.add_argument("--users", type=int, default=20)
    parser.add_argument("--only", default="", help=f"some of: {'; '.join(CANDIDATES)}")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    only = [name.strip() for name in args.only.split(";") if name.strip()]
    options = Options(args.budget, args.seconds, args.rooms, args.users, args.rounds, only)
    found = finish(lambda: run(options), args.json)
    print(shown(found))
    print(targets.shown(found["targets"]))


if __name__ == "__main__":
    main()
