"""What the guard and systemd say to each other."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from twisted.internet.task import Clock

from lotus_guard.run.systemd import (
    FIRST_FD,
    Beats,
    HandedOver,
    Reporter,
    handed_over,
    reporter_of,
)


@pytest.mark.parametrize(
    "environment",
    [
        {},
        {"LISTEN_PID": "8", "LISTEN_FDS": "1", "LISTEN_FDNAMES": "public"},
        {"LISTEN_PID": "7", "LISTEN_FDS": "1"},
        {"LISTEN_PID": "7", "LISTEN_FDS": "1", "LISTEN_FDNAMES": ""},
    ],
)
def test_sockets_that_are_not_for_us_are_left_and_the_variables_go(
    environment: dict[str, str],
) -> None:
    environment |= {"OTHER": "x"}
    assert handed_over(environment, 7) == []
    assert environment == {"OTHER": "x"}


HANDED_OVER = """
import os, socket, sys
from lotus_guard.run.systemd import FIRST_FD, handed_over

listening = socket.create_server(("::1", 0), family=socket.AF_INET6)
os.dup2(listening.fileno(), FIRST_FD)  # which may be its own number
environment = {"LISTEN_FDNAMES": "public", **({"LISTEN_PID": sys.argv[1]} if sys.argv[1] else {})}
print(handed_over(environment, 7))
os.dup2(os.open(os.devnull, os.O_RDONLY), FIRST_FD)
print(handed_over({"LISTEN_FDNAMES": "public"}, 7))
"""


@pytest.mark.parametrize("pid", ["7", ""])
def test_a_socket_comes_by_name_and_tells_its_family(pid: str) -> None:
    """Empty: Twisted's own endpoints have taken the pid away, which was ours.

    In a process of its own: where tests run side by side, the number is the one by which this
    process hears which test is next, and for a moment it heard that there are none.
    """
    command = [sys.executable, "-c", HANDED_OVER, pid]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True)
    found = [("public", HandedOver(FIRST_FD, socket.AF_INET6))]
    assert done.stdout.splitlines() == [str(found), "[]"]


@pytest.mark.parametrize("abstract", [False, True])
def test_systemd_hears_what_it_is_told(tmp_path: Path, abstract: bool) -> None:
    name = f"@lotus-guard-test-{os.getpid()}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as heard:
        heard.bind(name.replace("@", "\0", 1) if abstract else name)
        heard.settimeout(5)
        environment = {"NOTIFY_SOCKET": name, "WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}
        reporter = reporter_of(environment, 7)
        assert (environment, reporter.watchdog) == ({}, 30.0)
        reporter.ready()
        reporter.status("two\nlines")
        reporter.alive()
        reporter.stopping()
        told = [heard.recv(100) for _ in range(4)]
    assert told == [b"READY=1", b"STATUS=two lines", b"WATCHDOG=1", b"STOPPING=1"]


@pytest.mark.parametrize(
    ("environment", "watchdog"),
    [
        ({}, 0.0),
        ({"NOTIFY_SOCKET": "relative", "WATCHDOG_USEC": "1000000"}, 0.0),
        ({"NOTIFY_SOCKET": "/nobody/listens", "WATCHDOG_USEC": "1000000"}, 1.0),
        (
            {"NOTIFY_SOCKET": "/nobody/listens", "WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "8"},
            0.0,
        ),
        ({"NOTIFY_SOCKET": "/nobody/listens", "WATCHDOG_USEC": "soon"}, 0.0),
    ],
)
def test_nobody_to_tell_is_no_trouble(environment: dict[str, str], watchdog: float) -> None:
    reporter = reporter_of(dict(environment), 7)
    assert reporter.watchdog == watchdog
    reporter.ready()


def beats(watchdog: float, well: list[bool]) -> tuple[Clock, list[bytes], Beats]:
    clock, told = Clock(), list[bytes]()
    made = Beats(Reporter(told.append, watchdog), lambda: well[0], lambda: "fine", clock)
    made.start()
    return clock, told, made


def test_the_watchdog_is_fed_more_than_twice_in_its_period_while_all_is_well() -> None:
    well = [True]
    clock, told, made = beats(20.0, well)
    clock.pump([1.0] * 20)
    assert told.count(b"WATCHDOG=1") == 5
    well[0] = False
    clock.pump([1.0] * 60)
    assert told.count(b"WATCHDOG=1") == 5
    well[0] = True
    clock.pump([1.0] * 5)
    assert told.count(b"WATCHDOG=1") == 6
    made.stop()
    assert told[-1] == b"STOPPING=1"
    told.clear()
    clock.pump([1.0] * 60)
    assert told == []


def test_without_a_watchdog_only_the_status_is_told() -> None:
    clock, told, _ = beats(0.0, [True])
    clock.pump([1.0] * 30)
    assert set(told) == {b"STATUS=fine"}


def test_a_beat_that_fails_does_not_stop_for_good() -> None:
    clock, told = Clock(), list[bytes]()
    moods = iter([True, False])

    def status() -> str:
        if not next(moods, True):
            raise ValueError("a bug")
        return "fine"

    Beats(Reporter(told.append, 4.0), lambda: True, status, clock).start()
    clock.pump([1.0] * 5)
    assert told.count(b"WATCHDOG=1") == 6


def test_the_unit_bounds_the_guards_memory() -> None:
    unit = Path(__file__).parents[2] / "systemd" / "voice-limit-guard.service"
    assert "\nMemoryMax=1G\n" in unit.read_text()
