"""Instructions a request: a figure that a noisy machine does not blur.

valgrind's callgrind counts what a candidate executes for requests that come one after the other
over one connection. It runs some fifty times slower meanwhile, so nothing here says how long a
request takes; and one at a time is the dearest way to be asked, for no work is shared.

    python -m bench.instructions [--requests 60] [--only NAME;NAME] [--against REVISION]
                                 [--json FILE]
"""

import argparse
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

from attrs import define, field, frozen

from bench.candidates import EARLIER, guard_command, guard_environment
from bench.earlier import named, unpack
from bench.neighbours import Ports, neighbours
from bench.tables import markdown, number
from bench.tools import Missing, finish, ports, running, say
from bench.traffic import KEY, KINDS, SECRET, Ask, Table, claims_of
from tests.real.processes import ROOT

QUIET = {"LOTUS_GUARD_RECONCILE_INTERVAL": "600", "LOTUS_GUARD_POLICY_MAX_AGE": "600"}
"""Neither a pass of the live loop nor the age of a policy falls into the measurement."""
CANDIDATES: Mapping[str, Mapping[str, str] | None] = {
    "klein + treq": None,
    "threaded": None,
    "threaded, kept upstream": None,
    "ours": QUIET,
    "ours, members off": {**QUIET, "LOTUS_GUARD_MEMBERS": "off"},
}
"""By name, with the settings of those that are ours."""


@frozen
class Counter:
    """A process under callgrind."""

    pid: int
    directory: Path

    def count(self, requests: Iterator[None]) -> int:
        """The instructions that the process executes while these requests are made.

        It goes on counting: callgrind 3.19 does not survive being switched off and on again.
        """
        self._control("-i", "on")
        self._control("-z")
        for _ in requests:
            pass
        before = set(self.directory.glob("cg.*"))
        self._control("-d")
        (new,) = set(self.directory.glob("cg.*")) - before
        found = re.search(r"^(?:summary|totals): (\d+)", new.read_text(), re.MULTILINE)
        assert found, new
        return int(found[1])

    def _control(self, *words: str) -> None:
        command = ["callgrind_control", *words, str(self.pid)]
        subprocess.run(command, check=True, capture_output=True, timeout=60)


@define
class Bench:
    """One run."""

    directory: Path
    requests: int
    table: Table = field(factory=lambda: Table(rooms=3, users=50))
    """So few rooms, for a look at LiveKit serves for three seconds, and all takes long here."""
    there: Ports = field(factory=lambda: Ports(*ports(3)))

    def run(self, names: Sequence[str]) -> list[dict[str, Any]]:
        """Count for each candidate and kind of room."""
        asks, policies = self.table.asks, self.table.policies()
        livekit_rooms = sorted({str(claims_of(ask.answer)["video"]["room"]) for ask in asks})
        command = neighbours(self.directory, self.there, asks, policies, livekit_rooms)
        with running("neighbours", command, self.directory, self.there.upstream):
            return [row for name in names for row in self._counted(name)]

    def _counted(self, name: str) -> Iterator[dict[str, Any]]:
        port, admin = ports(2)
        command, env = self._command(name, port, admin)
        out = self.directory / f"cg-{port}"
        out.mkdir()
        tool = ["valgrind", "--tool=callgrind", "--instr-atstart=no"]
        counted = [*tool, f"--callgrind-out-file={out}/cg.%p", *command]
        env = {**env, "PYTHONHASHSEED": "0"}
        with running(name.replace(" ", "-"), counted, self.directory, port, env) as pid:
            counter = Counter(pid, out)
            for kind in KINDS:
                say(f"instructions: {name}, {kind}")
                asks = self.table.of(kind)
                for _ in ask_all(port, asks[: self.requests]):
                    pass
                asked = ask_all(port, asks[self.requests : 2 * self.requests])
                found = counter.count(asked) / self.requests
                yield {"candidate": name, "kind": kind, "instructions": found}

    def _command(self, name: str, port: int, admin: int) -> tuple[list[str], dict[str, str]]:
        there = self.there
        settings = QUIET if name.startswith(EARLIER) else CANDIDATES[name]
        if settings is not None:
            env = {**guard_environment(there, port, admin), **settings}
            if name.startswith(EARLIER):
                env["PYTHONPATH"] = str(unpack(name.removeprefix(EARLIER), self.directory))
            env["LOTUS_GUARD_STATE"] = str(self.directory / f"state{port}.sqlite")
            return [sys.executable, *guard_command()], env
        if name.startswith("klein"):
            words = ["klein_proxy.py", str(port), str(there.upstream)]
        else:
            numbers = [port, there.upstream, there.synapse, there.livekit]
            style = "kept" if "kept" in name else "own"
            words = ["threaded_guard.py", style, *map(str, numbers), KEY, SECRET]
        return [sys.executable, str(ROOT / "bench" / words[0]), *words[1:]], {}


def ask_all(port: int, asks: Sequence[Ask]) -> Iterator[None]:
    """Make these requests one after the other over one connection."""
    connection = HTTPConnection("127.0.0.1", port, timeout=60.0)
    for ask in asks:
        headers = {"Content-Type": "application/json", "X-Forwarded-For": ask.address}
        connection.request("POST", ask.path, ask.body, headers)
        answer = connection.getresponse()
        answer.read()
        assert answer.status == 200, (ask, answer.status)
        yield
    connection.close()


def run(requests: int, names: Sequence[str]) -> dict[str, Any]:
    """Count; returns the results as JSON can hold them."""
    for name in names:
        if name.startswith(EARLIER):
            named(name.removeprefix(EARLIER))
    for tool in ("valgrind", "callgrind_control"):
        if not shutil.which(tool):
            raise Missing(f"{tool} is missing: install Debian's package valgrind")
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        return {"requests": requests, "rows": Bench(Path(name), requests).run(names)}


def shown(found: Mapping[str, Any]) -> str:
    """Write the results as Markdown."""
    yardstick = {
        row["kind"]: row["instructions"]
        for row in found["rows"]
        if row["candidate"] == "klein + treq"
    }
    rows = []
    for row in found["rows"]:
        each = row["instructions"]
        share = each / yardstick[row["kind"]] if row["kind"] in yardstick else None
        rows.append((row["kind"], row["candidate"], number(each / 1e6), number(share)))
    heads = ("room", "candidate", "million instructions a request", "of klein + treq")
    return markdown(heads, rows) + "\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=60)
    parser.add_argument("--only", default="")
    parser.add_argument("--against", default="", help="a revision to count as well")
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    names = [name for name in args.only.split(";") if name] or list(CANDIDATES)
    names += [f"{EARLIER}{args.against}"] if args.against else []
    print(shown(finish(lambda: run(args.requests, names), args.json)))


if __name__ == "__main__":
    main()
