"""Real servers as processes on loopback, each with a log file and an end."""

import fcntl
import os
import random
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from attrs import define, field, frozen

ROOT = Path(__file__).resolve().parents[2]
REAL = ROOT / ".real"
START_SECONDS = 60.0
# Below the range that Linux takes for outgoing connections (32768 on): a port from there can be
# lost to one of our own clients before its server listens, or while the server is restarted.
PORTS = range(20_000, 32_000)
LOCKS = Path(tempfile.gettempdir()) / f"lotus-guard-ports-{os.getuid()}"
"""A file of which each process has locked one byte for each of its ports, until it ends.

So several runs of tests and benchmarks, and the parts of one, never draw the same.
"""
_given: set[int] = set()
_locks: list[int] = []
"""The one descriptor of `LOCKS`; closing any would unlock all (fcntl(2))."""


def free_port(after: int = 0) -> int:
    """Find a port, free for TCP and UDP, that no process has been given before.

    So are as many `after` it, which several workers take for their operators.
    """
    for port in random.sample(PORTS, min(len(PORTS), 1_000)):
        row = range(port, port + 1 + after)
        if not _given & {*row} and all(_is_free(each) and _lock(each) for each in row):
            _given.update(row)
            return port
    raise AssertionError("no free port")


def _lock(port: int) -> bool:
    """Take a port before all other processes, until this one ends; whether nobody has it."""
    if not _locks:
        _locks.append(os.open(LOCKS, os.O_RDWR | os.O_CREAT, 0o600))
    try:
        fcntl.lockf(_locks[0], fcntl.LOCK_EX | fcntl.LOCK_NB, 1, port)
    except OSError:
        return False
    return True


def _is_free(port: int) -> bool:
    for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
        with socket.socket(socket.AF_INET, kind) as sock:
            try:
                sock.bind(("127.0.0.1", port))
            except OSError:
                return False
    return True


def until(what: str, test: Callable[[], Any], seconds: float = 30.0, pause: float = 0.05) -> Any:
    """Wait for something to become true; returns what the test gave."""
    end = time.monotonic() + seconds
    while True:
        found = test()
        if found:
            return found
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(pause)


def listens(port: int) -> bool:
    """Whether somebody listens on a port."""
    with socket.socket() as sock:
        sock.settimeout(1.0)
        return sock.connect_ex(("127.0.0.1", port)) == 0


@frozen
class Answer:
    """An HTTP answer."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        """Read the body as JSON."""
        import json

        return json.loads(self.body)


def http(
    method: str,
    url: str,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    seconds: float = 30.0,
) -> Answer:
    """Make one blocking request."""
    parts = urlsplit(url)
    connection = HTTPConnection(parts.hostname or "", parts.port, timeout=seconds)
    try:
        target = url.split(parts.netloc, 1)[1] or "/"
        connection.request(method, target, body, dict(headers or {}))
        response = connection.getresponse()
        return Answer(response.status, dict(response.getheaders()), response.read())
    finally:
        connection.close()


def _neutral() -> dict[str, str]:
    """This process's environment without what would configure a server by accident."""
    ours = ("LOTUS_GUARD_", "LIVEKIT_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


@define(eq=False)
class Process:
    """One server process; can be stopped, killed, paused and started again."""

    name: str
    command: Sequence[str]
    directory: Path
    port: int
    env: Mapping[str, str] = field(factory=dict)
    _popen: subprocess.Popen[bytes] | None = None

    @property
    def log(self) -> Path:
        """Where its output goes."""
        return self.directory / f"{self.name}.log"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._popen is not None, f"{self.name} was not started"
        return self._popen.pid

    def start(self) -> None:
        """Start it and wait until it listens; what does not get so far is not left behind."""
        self.directory.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as log:
            self._popen = subprocess.Popen(
                list(self.command),
                cwd=self.directory,
                env={**_neutral(), **self.env},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            until(f"{self.name} listens on {self.port}", self._up, START_SECONDS)
        except BaseException:
            self.kill()
            raise

    def _up(self) -> bool:
        assert self._popen is not None
        if self._popen.poll() is not None:
            raise AssertionError(f"{self.name} ended:\n{self.text()[-3000:]}")
        return listens(self.port)

    def text(self) -> str:
        """What it has written."""
        return self.log.read_text(errors="replace") if self.log.exists() else ""

    def stop(self) -> None:
        """End it in an orderly way, or by force after five seconds."""
        if self._popen is None or self._popen.poll() is not None:
            return
        self.go_on()
        self._popen.terminate()
        try:
            self._popen.wait(5.0)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._popen is not None and self._popen.poll() is None:
            self._popen.kill()
            self._popen.wait(10.0)

    def pause(self) -> None:
        """Let it hang: it accepts connections and answers nothing."""
        os.kill(self.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it work again."""
        os.kill(self.pid, signal.SIGCONT)
