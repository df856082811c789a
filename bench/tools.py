"""What the benchmarks stand on: programs found, processes run, and what these have used."""

import json
import os
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.real.processes import REAL, Process, free_port

TICKS = os.sysconf("SC_CLK_TCK")
_DEBIAN = {
    "caddy": "usr/bin/caddy",
    "haproxy": "usr/sbin/haproxy",
    "nginx": "usr/sbin/nginx",
    "redis-server": "usr/bin/redis-server",
    "wrk": "usr/bin/wrk",
}


LEFT_OUT = 3
"""The status of a part whose tools are missing; its file of results then says which."""


class Missing(Exception):
    """A program that a part needs is not there; says what to do."""


def say(text: str) -> None:
    """Show progress, apart from the results."""
    print(f"[bench] {text}", file=sys.stderr, flush=True)


def finish(work: Callable[[], dict[str, Any]], to: Path | None) -> dict[str, Any]:
    """Do a part's work and write its results to a file; where a tool is missing, end.

    A part that takes too long is told to end, and then ends what it has begun.
    """
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(1))
    try:
        found = work()
    except Missing as missing:
        say(f"left out: {missing}")
        if to:
            to.write_text(str(missing))
        sys.exit(LEFT_OUT)
    if to:
        to.write_text(json.dumps(found, indent=1))
    return found


def program(name: str) -> str:
    """Find a program: named in the environment ($NGINX, $WRK), on PATH, or unpacked in `.real/`.

    Raises Missing.
    """
    named = os.environ.get(name.upper().replace("-", "_")) or shutil.which(name)
    if named:
        return named
    for path in sorted(REAL.glob(f"*/{_DEBIAN[name]}")):
        if path.exists():
            return str(path)
    raise Missing(
        f"{name} is missing: install Debian's package, or run tests/real/install.py --bench"
    )


def libraries(path: str) -> dict[str, str]:
    """The environment in which a program unpacked in `.real/` finds its libraries."""
    if not Path(path).is_relative_to(REAL):
        return {}
    top = REAL / Path(path).relative_to(REAL).parts[0]
    folders = [str(folder) for folder in sorted(top.glob("usr/lib/*-linux-*"))]
    return {"LD_LIBRARY_PATH": ":".join(folders)} if folders else {}


@contextmanager
def running(
    name: str,
    command: Sequence[str],
    directory: Path,
    port: int,
    env: Mapping[str, str] | None = None,
) -> Iterator[int]:
    """Run a server until the block ends; returns its pid once it listens."""
    process = Process(name, command, directory, port, env or {})
    process.start()
    try:
        yield process.pid
    finally:
        process.stop()


def ports(count: int) -> list[int]:
    """Find so many free ports."""
    return [free_port() for _ in range(count)]


def family(pid: int) -> list[int]:
    """List a process and all that it has begun and that still runs."""
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            try:
                parent = int(_stat(int(entry.name))[1])
            except OSError:  # it has ended meanwhile
                continue
            children.setdefault(parent, []).append(int(entry.name))
    found = [pid]
    for each in found:
        found += children.get(each, [])
    return found


def cpu(pid: int) -> float:
    """The CPU seconds that a process and its children have used."""
    return sum(_cpu(each) for each in family(pid))


def cpu_of_all() -> float:
    """The CPU seconds that all processes have used, and that the host took away (proc_stat(5)).

    Without those of interrupts: whose these were is not known.
    """
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    user, nice, system, _idle, _iowait, _irq, _softirq, steal = map(int, fields[:8])
    return (user + nice + system + steal) / TICKS


def cpu_of_threads(pid: int) -> float:
    """The CPU seconds of a process's threads: exact, but without those that have ended."""
    return sum(
        int((task / "schedstat").read_text().split()[0]) / 1e9
        for task in Path(f"/proc/{pid}/task").iterdir()
    )


def rss(pid: int) -> float:
    """The resident memory in MiB of a process and its children; shared pages count in each."""
    return sum(_rss(each) for each in family(pid))


def largest(pid: int) -> float:
    """The resident memory in MiB of the largest of a process and its children."""
    return max(_rss(each) for each in family(pid))


def _stat(pid: int) -> list[str]:
    """The fields of /proc/PID/stat from the third on (proc_pid_stat(5))."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()


def _cpu(pid: int) -> float:
    try:
        fields = _stat(pid)
    except OSError:
        return 0.0
    return (int(fields[11]) + int(fields[12])) / TICKS


def _rss(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmRSS"))
