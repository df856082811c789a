"""Tests and benchmarks that run beside each other never draw the same port."""

import subprocess
import sys

import pytest

from tests.real import processes
from tests.real.processes import ROOT, free_port

DRAWS = """
import sys
from tests.real import processes
processes.PORTS = range(int(sys.argv[1]), int(sys.argv[2]))
print(processes.free_port(int(sys.argv[3])), flush=True)
sys.stdin.read()
"""


def drawn(ports: range, after: int = 0) -> tuple[subprocess.Popen[str], int]:
    """Have another process draw one of these; it keeps it until its input ends."""
    command = [sys.executable, "-c", DRAWS, *map(str, (ports.start, ports.stop, after))]
    pipe = subprocess.PIPE
    process = subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, text=True)
    assert process.stdout is not None
    return process, int(process.stdout.readline())


@pytest.fixture
def four(monkeypatch: pytest.MonkeyPatch) -> range:
    """The only four ports that there are; nobody has any of them."""
    process, first = drawn(processes.PORTS, after=3)
    process.communicate()
    monkeypatch.setattr(processes, "PORTS", range(first, first + 4))
    return processes.PORTS


def test_what_another_process_has_drawn_is_its_own_until_it_ends(four: range) -> None:
    process, theirs = drawn(four)
    try:
        assert {free_port() for _ in range(3)} == {*four} - {theirs}
        with pytest.raises(AssertionError, match="no free port"):
            free_port()
    finally:
        process.communicate()
    assert free_port() == theirs


def test_a_row_of_ports_is_drawn_whole(four: range) -> None:
    process, _ = drawn(range(four.start, four.start + 1), after=3)
    try:
        with pytest.raises(AssertionError, match="no free port"):
            free_port()
    finally:
        process.communicate()
    assert {free_port() for _ in range(4)} == {*four}
