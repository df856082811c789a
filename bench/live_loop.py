"""The live loop: calls, CPU and seconds of a pass over many rooms, and how these grow.

A real guard asks neighbours that answer from memory. Everybody in the rooms is within their room's
policy, so a pass looks and does nothing, as nearly every pass does. The look-ups at Synapse are not
paced here (`LOTUS_GUARD_POLICY_RATE`), to show what a pass costs; how long the rooms wait for their
turn at the default pace is worked out beside it.

    python -m bench.live_loop [--rooms 100,1000,5000] [--shares 1,10,100] [--json FILE]
"""

import argparse
import math
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from attrs import define, frozen

from bench.candidates import guard_command, guard_environment
from bench.capacity import counted
from bench.hinting import hinting
from bench.neighbours import Ports, neighbours
from bench.tables import Series, markdown, number, plot_svg, plot_text
from bench.tools import cpu_of_threads, finish, ports, running, say
from bench.traffic import QUALITY, Ask, make_ask
from lotus_guard.core.binding import Evidence
from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import ROOM_SLOT, livekit_room_of
from lotus_guard.enforce.policy_reader import LONGEST_POLL
from lotus_guard.memory.sqlite_schema import SCHEMA
from lotus_guard.rules import RULES, by_event
from lotus_guard.run.config import variables
from tests.real.processes import http, until

INTERVAL = 0.5
"""Seconds between passes; one that takes longer is followed soon by the next."""
LOOKUPS = len(by_event(RULES))
"""Look-ups at Synapse for each room."""
PASS = "lotus_guard_live_pass_seconds"
LISTED = 'lotus_guard_livekit_calls_total{method="ListRooms"}'
MODES = ("polling", "pushes")


@frozen
class Options:
    """How much is measured."""

    budget: float = 240.0
    """Seconds: what would not be done in time is left out, the largest first."""
    rooms: Sequence[int] = (100, 1000, 5000)
    shares: Sequence[int] = (1, 10, 100)
    """How many rooms in a hundred have a policy that restricts."""
    seconds: float = 1.5
    """The least time for which passes are watched, and two passes at the least."""


@define
class Guard:
    """A guard that runs, and what its passes have cost so far."""

    pid: int
    url: str
    operators: str
    """Its operators' port."""
    failed: float = math.inf
    """How many passes were begun and are not among the good ones that are over."""

    def metrics(self) -> dict[str, float]:
        """Read its metrics, by name with labels."""
        lines = http("GET", f"{self.operators}/metrics").body.decode().splitlines()
        pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
        return {name: float(value) for name, _, value in pairs}

    def reassess(self, rooms: int) -> None:
        """Wait until all rooms with a policy are known, and learn to tell when no pass is made."""
        name = "lotus_guard_live_rooms_under_policy"
        until("all rooms are known", lambda: self.metrics().get(name) == rooms, 60.0)
        begun = self.metrics()[f"{PASS}_count"]
        until("two passes are over", lambda: self._look()[f"{PASS}_count"] >= begun + 2, 120.0)

    def over(self, count: float) -> dict[str, float]:
        """Wait for a moment between two passes, when so many are over.

        Gives the metrics and the CPU seconds then.
        """

        def look() -> dict[str, float] | None:
            used = cpu_of_threads(self.pid)
            seen = self._look()
            is_between = seen[LISTED] - seen[f"{PASS}_count"] <= self.failed
            done = is_between and seen[f"{PASS}_count"] >= count
            return {**seen, "cpu": used} if done else None

        found: dict[str, float] = until(f"pass {count:.0f} is over", look, 120.0)
        return found

    def _look(self) -> dict[str, float]:
        """Read the metrics; each pass begins with one ListRooms, so that one more is a pass."""
        seen = self.metrics()
        seen.setdefault(LISTED, 0.0)
        self.failed = min(self.failed, seen[LISTED] - seen[f"{PASS}_count"])
        return seen

    def passes(self, seconds: float) -> dict[str, float]:
        """Watch some passes; returns what one of them took, on average."""
        before = self.over(self.metrics()[f"{PASS}_count"] + 1)
        time.sleep(seconds)  # asking for the metrics meanwhile would cost CPU
        after = self.over(before[f"{PASS}_count"] + 2)
        done = after[f"{PASS}_count"] - before[f"{PASS}_count"]
        return {
            "passes": done,
            "seconds": (after[f"{PASS}_sum"] - before[f"{PASS}_sum"]) / done,
            "cpu": (after["cpu"] - before["cpu"]) / done,
            "LiveKit": _calls(after, before, "livekit") / done,
            "Synapse": _calls(after, before, "synapse") / done,
        }


def _calls(after: dict[str, float], before: dict[str, float], name: str) -> float:
    start = f"lotus_guard_{name}_calls_total"
    return sum(
        value - before.get(key, 0.0) for key, value in after.items() if key.startswith(start)
    )


def room_name(number: int) -> str:
    return f"!live{number}:bench"


def policies(rooms: int, share: int) -> dict[str, dict[str, Any]]:
    """The policies of so many rooms, one in `100 / share` of which forbids cameras."""
    forbidden = {QUALITY: {"allow_camera": False}}
    step = 100 // share if share else rooms + 1
    return {room_name(n): {} if (n + 1) % step else forbidden for n in range(rooms)}


def restricted(rooms: int, share: int) -> int:
    """Count the rooms whose policy restricts."""
    return sum(1 for events in policies(rooms, share).values() if events)


@contextmanager
def guarded(rooms: int, share: int) -> Iterator[Guard]:
    """Run a guard that knows so many live rooms."""
    with ExitStack() as ends:
        directory = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        there, (port, admin) = Ports(*ports(3)), ports(2)
        known = {
            name: str(livekit_room_of(RoomId(name), ROOM_SLOT)) for name in policies(rooms, share)
        }
        command = neighbours(
            directory, there, [one_ask()], policies(rooms, share), list(known.values())
        )
        ends.enter_context(running("neighbours", command, directory, there.upstream))
        env = guard_environment(there, port, admin)
        aliases = {alias: (room, ROOM_SLOT) for room, alias in known.items()}
        env["LOTUS_GUARD_STATE"] = str(state_file(directory, aliases))
        env["LOTUS_GUARD_POLICY_RATE"] = "86400"
        env["LOTUS_GUARD_POLICY_POLL"] = "3600"
        env["LOTUS_GUARD_MEMBERS"] = "off"  # these people are in no room: passes are measured
        env["LOTUS_GUARD_RECONCILE_INTERVAL"] = str(INTERVAL)
        pid = ends.enter_context(running("guard", guard_command(), directory, port, env))
        yield Guard(pid, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}")


def one_ask() -> Ask:
    """Make the one token request whose latency is taken."""
    return make_ask(0, "open", room_name(0), 0)


def state_file(directory: Path, aliases: Mapping[str, tuple[str, str]]) -> Path:
    """Write a state file from which the guard knows which room and slot each alias is."""
    path = directory / "state.sqlite"
    with sqlite3.connect(path) as connection:
        connection.executescript(SCHEMA)
        connection.executemany(
            "INSERT INTO alias VALUES (?, ?, ?, ?)",
            [(a, room, slot, Evidence.PROOF.value) for a, (room, slot) in aliases.items()],
        )
    connection.close()
    return path


def cell(rooms: int, share: int, seconds: float) -> list[dict[str, Any]]:
    """Measure passes over so many rooms, polling and then with pushes."""
    found = []
    with guarded(rooms, share) as guard:
        wanted = restricted(rooms, share)
        guard.reassess(wanted)
        found.append({"mode": "polling", **guard.passes(seconds)})
        with hinting(guard.operators, every=5.0):
            found.append({"mode": "pushes", **guard.passes(seconds)})
    for row in found:
        waits = turns(wanted, rooms - wanted) if row["mode"] == "polling" else (0.0, 0.0)
        row.update(rooms=rooms, share=share, turn=waits[0], turn_of_others=waits[1])
    return found


def turns(restricted: int, others: int) -> tuple[float, float]:
    """After how many seconds each room was looked up again, at the default pace.

    For rooms that a policy is known to restrict, and for the others (`Live._most`).
    """
    rate, interval = _default("POLICY_RATE"), _default("RECONCILE_INTERVAL")
    of_restricted = min(restricted, int(rate * LONGEST_POLL / LOOKUPS))
    of_others = min(others, int(rate * interval / LOOKUPS))
    seconds = max(interval, LOOKUPS * (of_restricted + of_others) / rate)
    shares = ((restricted, of_restricted), (others, of_others))
    first, second = (seconds * math.ceil(rooms / max(1, most)) for rooms, most in shares)
    return first, min(second, max(seconds, counted(restricted + others)))


def _default(name: str) -> float:
    """The default of one of the guard's variables."""
    found = next(each for each in variables() if each.name == f"LOTUS_GUARD_{name}")
    return float(found.default)


def latencies(guard: Guard, seconds: float) -> list[float]:
    """Ask for tokens one after the other; returns each one's milliseconds."""
    ask, took = one_ask(), []
    connection = HTTPConnection("127.0.0.1", int(guard.url.rpartition(":")[2]), timeout=10)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        connection.request("POST", ask.path, ask.body)
        answer = connection.getresponse()
        assert (answer.status, bool(answer.read())) == (200, True)
        took.append((time.perf_counter() - begun) * 1000.0)
    connection.close()
    return took


def token_beside(rooms: int, share: int, seconds: float) -> dict[str, float]:
    """Measure a client's tokens while one pass follows the other, and with next to no rooms."""
    found: dict[str, float] = {"rooms": rooms, "share": share}
    for name, count in (("idle", 1), ("busy", rooms)):
        with guarded(count, share if count > 1 else 0) as guard:
            if count > 1:
                guard.reassess(restricted(rooms, share))
            took = sorted(latencies(guard, seconds))
        found[f"{name} p50"] = statistics.median(took)
        found[f"{name} p99"] = took[int(len(took) * 0.99)]
    return found


def run(options: Options) -> dict[str, Any]:
    """Measure; returns the results as JSON can hold them."""
    begun, rows, left_out = time.monotonic(), [], []
    for rooms in options.rooms:
        for share in options.shares:
            if time.monotonic() - begun > options.budget:
                left_out.append(f"{rooms} rooms, {share} % restrictive: no time left")
                continue
            say(f"live loop: {rooms} rooms, {share} % restrictive")
            rows += cell(rooms, share, options.seconds)
    say("live loop: tokens beside it")
    beside = token_beside(sorted(options.rooms)[len(options.rooms) // 2], 10, options.seconds)
    return {"rows": rows, "left_out": left_out, "tokens": beside}


def series(found: dict[str, Any], what: str) -> Series:
    """The points to plot: a figure of a pass by the number of rooms."""
    lines: dict[str, list[tuple[float, float]]] = {}
    for row in found["rows"]:
        name = f"{row['mode']}, {row['share']} % restrictive"
        lines.setdefault(name, []).append((row["rooms"], max(row[what], 0.001)))
    return {name: lines[name] for name in sorted(lines)}


def svg(found: dict[str, Any]) -> str:
    """Draw the growth of a pass's CPU."""
    return plot_svg(
        "CPU seconds of a pass of the live loop", "live rooms", "CPU s", series(found, "cpu")
    )


def _wait(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def shown(found: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    heads = ("rooms", "restrictive", "", "LiveKit calls", "Synapse calls", "seconds a pass")
    rows = [
        (
            number(row["rooms"], 0),
            f"{row['share']} %",
            row["mode"],
            number(row["LiveKit"], 0),
            number(row["Synapse"], 0),
            number(row["seconds"], 3),
            number(row["cpu"], 3),
            f"{_wait(row['turn'])} / {_wait(row['turn_of_others'])}",
        )
        for row in found["rows"]
    ]
    beside = found["tokens"]
    tokens = (
        f"A client's tokens, one after the other: p50 {beside['idle p50']:.2f} ms, p99 "
        f"{beside['idle p99']:.2f} ms with an idle loop; p50 {beside['busy p50']:.2f} ms, p99 "
        f"{beside['busy p99']:.2f} ms while one pass over {beside['rooms']:,} rooms "
        f"({beside['share']} % restrictive) follows the other."
    )
    left_out = "".join(f"\nLeft out: {each}.\n" for each in found["left_out"])
    table = markdown((*heads, "CPU s a pass", "change seen within*"), rows)
    note = (
        "\\* by polling at the default pace: in a room that had a policy / in one that had none. A "
        "push, and a token that is asked for in the room, tell at once."
    )
    bars = plot_text(series(found, "cpu"))
    return f"{table}\n\n{note}\n\n{tokens}\n{left_out}\n```\n{bars}\n```\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--budget", type=float, default=240.0)
    parser.add_argument("--rooms", default="100,1000,5000")
    parser.add_argument("--shares", default="1,10,100")
    parser.add_argument("--seconds", type=float, default=1.5)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--svg", type=Path)
    args = parser.parse_args()
    rooms, shares = ([int(n) for n in text.split(",")] for text in (args.rooms, args.shares))
    options = Options(args.budget, rooms, shares, args.seconds)
    found = finish(lambda: run(options), args.json)
    print(shown(found))
    if args.svg:
        args.svg.write_text(svg(found))


if __name__ == "__main__":
    main()
