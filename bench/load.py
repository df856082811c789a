"""The load: wrk, which sends the requests of a file over so many connections."""

import json
import resource
import signal
import subprocess
import time
from pathlib import Path

from bench.cells import Cell
from bench.tools import libraries, program

SHORT = 1.0
"""Seconds that are long enough for a candidate to show that it answers at all."""


def load(directory: Path, port: int, path: Path, cell: Cell, seconds: float) -> dict[str, float]:
    """Let wrk ask; returns what it says, and the CPU seconds it took itself.

    Its script is in `directory` (`traffic.write_script`), the requests are in `path`. Where nobody
    was answered in a time that is too short to mean anything, it asks again for longer.
    """
    found = _asked(directory, port, path, cell, seconds)
    if found["requests"] == 0 and seconds < SHORT:
        found = _asked(directory, port, path, cell, 3 * SHORT)
    return found


def _asked(directory: Path, port: int, path: Path, cell: Cell, seconds: float) -> dict[str, float]:
    binary = program("wrk")
    # wrk takes whole seconds only; at SIGINT it stops, and reports as at its end.
    command = [binary, "-t1", f"-c{cell.connections}", "-d600s", "--timeout", "10s", "-s"]
    command += [str(directory / "load.lua"), f"http://127.0.0.1:{port}/"]
    before = _children()
    process = subprocess.Popen(
        [*command, "--", str(path), cell.style, cell.origin, cell.door],
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
