"""What stands before lk-jwt-service in the benchmark, and proof that each does its job."""

import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

from attrs import field, frozen

from bench.cells import ALONE, CELLS, CORE, Cell
from bench.earlier import last_tag, named, unpack
from bench.hinting import PUSH_SECRET, hinting
from bench.neighbours import Ports
from bench.tools import Missing, libraries, ports, program, running
from bench.traffic import (
    ALLOWED,
    DOORS,
    FULL,
    HOMESERVER,
    HS_TOKEN,
    KEY,
    SECRET,
    Ask,
    Table,
    claims_of,
)
from tests.real.processes import ROOT, Answer, free_port, http, until

WORKERS = 2
DIRECT, YARDSTICK, RIVAL, KEPT = "direct", "klein + treq", "threaded", "threaded, kept upstream"
OURS, HINTED, TWO = "ours", "ours, hinted", f"ours, {WORKERS} workers"
EARLIER = "ours at "
"""How the name of ours at another revision begins."""


@frozen
class Running:
    """A candidate that runs."""

    port: int
    pids: Sequence[int] = ()
    """Its processes, each with its children; none where a client asks lk-jwt-service itself."""
    beside: Sequence[int] = ()
    """What runs for it besides: Redis, where there are several workers."""
    operators: Sequence[str] = ()
    """Our operators' ports, one for each worker."""
    homeserver: int = 0
    """The port of the homeserver's door, where it is not the same."""

    def port_of(self, door: str) -> int:
        """Where a door is."""
        return self.homeserver or self.port if door == HOMESERVER else self.port

    def counted(self, start: str) -> float:
        """Add up the metrics of ours whose names begin so; 0.0 where there are none."""
        return sum(
            float(line.rpartition(" ")[2])
            for operators in self.operators
            for line in http("GET", f"{operators}/metrics").body.decode().splitlines()
            if line.startswith(start)
        )


@frozen
class Setting:
    """What candidates are started with."""

    directory: Path
    neighbours: Ports
    table: Table


Start = Callable[[ExitStack, Setting], Running]


@frozen
class Candidate:
    """Something to measure."""

    start: Start
    cells: Sequence[Cell] = field(factory=lambda: CORE)
    """What is measured of it: what says something."""
    is_guard: bool = True
    workers: int = 1


def direct(_ends: ExitStack, setting: Setting) -> Running:
    return Running(setting.neighbours.upstream)


def klein_and_treq(ends: ExitStack, setting: Setting) -> Running:
    (port,) = ports(1)
    script = str(ROOT / "bench" / "klein_proxy.py")
    command = [sys.executable, script, str(port), str(setting.neighbours.upstream)]
    return Running(port, [ends.enter_context(running("klein", command, setting.directory, port))])


def threaded(style: str) -> Start:
    """The thread-per-connection guard of the comparison, in one of its two styles."""

    def start(ends: ExitStack, setting: Setting) -> Running:
        (port,) = ports(1)
        there = setting.neighbours
        script = str(ROOT / "bench" / "threaded_guard.py")
        numbers = [str(number) for number in (port, there.upstream, there.synapse, there.livekit)]
        command = [sys.executable, script, style, *numbers, KEY, SECRET]
        pid = ends.enter_context(running(f"threaded-{style}", command, setting.directory, port))
        return Running(port, [pid])

    return start


def ours(
    hints: bool = False, has_door: bool = False, tree: Callable[[Path], Path] | None = None
) -> Start:
    """lotus_guard, polling alone or with hints; `tree` writes the code of another revision."""

    def start(ends: ExitStack, setting: Setting) -> Running:
        port, admin, door = ports(3)
        env = guard_environment(setting.neighbours, port, admin)
        env["LOTUS_GUARD_STATE"] = str(setting.directory / f"state{port}.sqlite")
        if tree:
            env["PYTHONPATH"] = str(tree(setting.directory))
        if has_door:
            env["LOTUS_GUARD_HOMESERVER_LISTEN"] = f"tcp:{door}:interface=127.0.0.1"
            env["LIVEKIT_HS_TOKEN"] = HS_TOKEN
        guard = running("guard", guard_command(), setting.directory, port, env)
        pid, operators = ends.enter_context(guard), f"http://127.0.0.1:{admin}"
        if hints:
            ends.enter_context(hinting(operators, setting.table))
        return Running(port, [pid], (), [operators], door if has_door else 0)

    return start


def several(ends: ExitStack, setting: Setting) -> Running:
    """lotus_guard with some workers, which share their seats in Redis."""
    (port,), admin = ports(1), free_port(after=WORKERS - 1)
    address, beside = ends.enter_context(redis(setting.directory))
    env = guard_environment(setting.neighbours, port, admin)
    env |= {"LOTUS_GUARD_WORKERS": str(WORKERS), "LOTUS_GUARD_STATE": address}
    guard = running("guard", guard_command(), setting.directory, port, env)
    pid = ends.enter_context(guard)
    operators = [f"http://127.0.0.1:{admin + number}" for number in range(WORKERS)]
    for each in operators:
        until("each worker is ready", partial(_answers, each))
    return Running(port, [pid], [beside], operators)


CANDIDATES: dict[str, Candidate] = {
    DIRECT: Candidate(direct, ALONE, is_guard=False),
    YARDSTICK: Candidate(klein_and_treq, is_guard=False),
    KEPT: Candidate(threaded("kept")),
    RIVAL: Candidate(threaded("own"), CELLS),
    OURS: Candidate(ours(has_door=True), CELLS),
    HINTED: Candidate(ours(hints=True)),
    TWO: Candidate(several, workers=WORKERS),
}
"""By name, in the order of the rounds: what is compared most runs shortly after each other."""


def available(against: str = "") -> tuple[dict[str, Candidate], list[str]]:
    """List the candidates that can be run here, and a sentence for each that cannot.

    One of them is ours at the revision `against`, or at the last tag, right after ours.
    """
    left_out, earlier = [], {}
    try:
        revision = named(against or last_tag())
        earlier[f"{EARLIER}{revision}"] = Candidate(ours(tree=partial(unpack, revision)))
    except Missing as missing:
        left_out.append(f"{EARLIER}{against or 'the last tag'}: {missing}")
    found: dict[str, Candidate] = {}
    for name, candidate in CANDIDATES.items():
        found |= {name: candidate} | (earlier if name == OURS else {})
    try:
        program("redis-server")
    except Missing as missing:
        del found[TWO]
        left_out.append(f"{TWO}: {missing}")
    return found, left_out


def guard_command() -> list[str]:
    twistd = str(Path(sys.executable).with_name("twistd"))
    return [twistd, "--nodaemon", "--pidfile=", "lotus-guard"]


def guard_environment(there: Ports, port: int, admin: int) -> dict[str, str]:
    """The settings of a guard in front of the neighbours, all but its state file."""
    return {
        "PYTHONPATH": str(ROOT),
        "LOTUS_GUARD_LISTEN": f"tcp:{port}:interface=127.0.0.1",
        "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{admin}:interface=127.0.0.1",
        "LOTUS_GUARD_UPSTREAM": f"http://127.0.0.1:{there.upstream}",
        "LIVEKIT_URL": f"http://127.0.0.1:{there.livekit}",
        "LIVEKIT_KEY": KEY,
        "LIVEKIT_SECRET": SECRET,
        "LOTUS_GUARD_SYNAPSE_URL": f"http://127.0.0.1:{there.synapse}",
        "LOTUS_GUARD_SYNAPSE_TOKEN": "t",
        "LOTUS_GUARD_PUSH_SECRET": PUSH_SECRET,
    }


@contextmanager
def redis(directory: Path) -> Iterator[tuple[str, int]]:
    """Run a Redis that writes nothing to disk; returns its address and its pid."""
    (port,) = ports(1)
    binary = program("redis-server")
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly"]
    with running("redis", [*command, "no"], directory, port, libraries(binary)) as pid:
        yield f"redis://127.0.0.1:{port}/0", pid


def check(name: str, candidate: Candidate, runs: Running, table: Table) -> None:
    """See that a candidate does what it is there for, before anybody measures how fast it is.

    Raises AssertionError.
    """
    for door in {cell.door for cell in candidate.cells}:
        for kind in DOORS[door]:
            for ask in table.of(kind, door)[:2]:
                answer = asked(runs, ask)
                assert answer.status == 200, (name, ask, answer)
                before, after = claims_of(ask.answer), claims_of(answer.body)
                narrowed = candidate.is_guard and kind != "open"
                assert after["sub"] == before["sub"], (name, ask, after)
                found = after["video"].get("canPublishSources")
                assert sorted(found or []) == (ALLOWED if narrowed else []), (name, ask, after)
        for ask in table.of(FULL, door):
            answer = asked(runs, ask)
            assert answer.status == (403 if candidate.is_guard else 200), (name, ask, answer)


def asked(runs: Running, ask: Ask) -> Answer:
    """Make one of the requests of the load."""
    headers = {"Content-Type": "application/json", **ask.headers()}
    url = f"http://127.0.0.1:{runs.port_of(ask.door)}{ask.path}"
    return http("POST", url, ask.body.encode(), headers)


def _answers(operators: str) -> bool:
    try:
        return http("GET", f"{operators}/readyz").status == 200
    except OSError:
        return False
