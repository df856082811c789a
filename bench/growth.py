"""What a token costs as there are more live rooms, more people in them, and more calls in each.

The loop rests meanwhile: how tokens fare beside its passes is in `bench.live_loop`. A capped room
is asked for, so that each token is judged by a look at who is there.

    python -m bench.growth [--rooms 10,1000,10000] [--tokens 400]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from bench.candidates import guard_command, guard_environment
from bench.live_loop import Guard, room_name, state_file
from bench.neighbours import Ports, neighbours
from bench.tables import markdown, number
from bench.tools import cpu_of_threads, ports, running, say
from bench.traffic import KINDS, PRESENT, make_ask
from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import ROOM_SLOT, livekit_room_of

KIND = "limit + sources"
ASK = make_ask(0, KIND, room_name(0), 0)
CELLS = ((PRESENT, 1), (180, 1), (PRESENT, 5), (180, 5))
"""People in a call, and calls (slots) in the room; the cap is 200."""


@contextmanager
def guarded(rooms: int, people: int, slots: int) -> Iterator[Guard]:
    """Run a guard that knows so many live rooms, and makes no pass after its first."""
    with ExitStack() as ends:
        directory = Path(ends.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        there, (port, admin) = Ports(*ports(3)), ports(2)
        names = [room_name(n) for n in range(rooms)]
        aliases = {str(livekit_room_of(RoomId(n), ROOM_SLOT)): (n, ROOM_SLOT) for n in names}
        for slot in (f"slot{n}" for n in range(1, slots)):
            aliases[str(livekit_room_of(RoomId(names[0]), slot))] = (names[0], slot)
        policies = dict.fromkeys(names, KINDS[KIND])
        command = neighbours(directory, there, [ASK], policies, list(aliases), people)
        ends.enter_context(running("neighbours", command, directory, there.upstream))
        env = guard_environment(there, port, admin)
        env["LOTUS_GUARD_STATE"] = str(state_file(directory, aliases))
        env["LOTUS_GUARD_RECONCILE_INTERVAL"] = "3600"
        env["LOTUS_GUARD_POLICY_RATE"] = "1"  # its first pass, too, is not what is measured
        env["LOTUS_GUARD_MEMBERS"] = "off"
        pid = ends.enter_context(running("guard", guard_command(), directory, port, env))
        yield Guard(pid, f"http://127.0.0.1:{port}", f"http://127.0.0.1:{admin}")


def cell(rooms: int, people: int, slots: int, tokens: int) -> dict[str, Any]:
    """Ask for tokens one after the other."""
    say(f"growth: {rooms} rooms, {people} people, {slots} slots")
    took: list[float] = []
    with guarded(rooms, people, slots) as guard:
        connection = HTTPConnection("127.0.0.1", int(guard.url.rpartition(":")[2]), timeout=10)
        for at in range(tokens + 20):
            if at == 20:
                before = cpu_of_threads(guard.pid)
            begun = time.perf_counter()
            connection.request("POST", ASK.path, ASK.body)
            answer = connection.getresponse()
            assert (answer.status, bool(answer.read())) == (200, True)
            took.append((time.perf_counter() - begun) * 1000.0)
        cpu = (cpu_of_threads(guard.pid) - before) * 1000.0 / tokens
        connection.close()
    row = {"rooms": rooms, "people": people, "slots": slots}
    return {**row, "p50": statistics.median(took[20:]), "cpu": cpu}


def run(rooms: Sequence[int], tokens: int) -> list[dict[str, Any]]:
    """Measure all cells."""
    return [cell(n, people, slots, tokens) for n in rooms for people, slots in CELLS]


def shown(rows: Sequence[dict[str, Any]]) -> str:
    """Write the results as Markdown."""
    heads = ("live rooms", "people in a call", "calls in the room", "p50 ms", "CPU ms a token")
    return markdown(
        heads,
        [
            (
                number(row["rooms"], 0),
                number(row["people"], 0),
                number(row["slots"], 0),
                number(row["p50"], 2),
                number(row["cpu"], 2),
            )
            for row in rows
        ],
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", default="10,1000,10000")
    parser.add_argument("--tokens", type=int, default=400)
    args = parser.parse_args()
    print(shown(run([int(n) for n in args.rooms.split(",")], args.tokens)))


if __name__ == "__main__":
    main()
