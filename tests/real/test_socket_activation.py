"""The guard started as systemd starts it: the port is systemd's, and no connection is refused."""

import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from attrs import define, field

from lotus_guard.core.homeserver_wire import FEDERATION_PATHS
from lotus_guard.core.probe import FIELD, QUERY, sign_probe
from tests.real.processes import ROOT, free_port, http, until
from tests.real.stack import Stack

TWISTD = str(Path(sys.executable).with_name("twistd"))
ARGUMENTS = ("--nodaemon", "--pidfile=", "lotus-guard")
WATCHDOG_SECONDS = 4.0
LAUNCH = """
import fcntl, os, sys
held = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(",")]
for fd, copy in enumerate(held, 3):
    os.dup2(copy, fd)
    os.close(copy)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does between fork and exec: the sockets become fds 3 and 4, the pid is named."""


@define(eq=False)
class Manager:
    """Holds the listening socket and starts the guard on it, as systemd does."""

    directory: Path
    settings: dict[str, str]
    listening: socket.socket = field(init=False)
    for_homeserver: socket.socket = field(init=False)
    notify: socket.socket = field(init=False)
    process: subprocess.Popen[bytes] | None = None
    told: list[bytes] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.listening = socket.create_server(("127.0.0.1", 0), backlog=512)
        self.for_homeserver = socket.create_server(("127.0.0.1", 0))
        self.notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.notify.bind(str(self.directory / "notify"))
        self.notify.settimeout(0.1)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.listening.getsockname()[1]}"

    @property
    def url_for_homeserver(self) -> str:
        return f"http://127.0.0.1:{self.for_homeserver.getsockname()[1]}"

    def start(self) -> None:
        """Start it, and wait until it says that it is ready."""
        held = self.listening.fileno(), self.for_homeserver.fileno()
        numbers = ",".join(map(str, held))
        environment = {
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            **self.settings,
            "LISTEN_FDS": "2",
            "LISTEN_FDNAMES": "public:homeserver",
            "NOTIFY_SOCKET": str(self.directory / "notify"),
            "WATCHDOG_USEC": str(int(WATCHDOG_SECONDS * 1e6)),
        }
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, numbers, TWISTD, *ARGUMENTS],
                env=environment,
                cwd=self.directory,
                stdout=log,
                stderr=log,
                pass_fds=held,
            )
        self.told.clear()
        until("it is ready", lambda: b"READY=1" in self.hear(), 20.0)

    def hear(self) -> list[bytes]:
        """Take in what the guard says."""
        try:
            while True:
                self.told.append(self.notify.recv(4096))
        except TimeoutError:
            return self.told

    def stop(self) -> float:
        """End it in an orderly way; returns the seconds that it took."""
        assert self.process is not None
        begun = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(20)
        return time.monotonic() - begun

    def close(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(10)
        self.listening.close()
        self.for_homeserver.close()
        self.notify.close()


@pytest.fixture
def manager(stack: Stack, tmp_path: Path) -> Iterator[Manager]:
    settings: dict[str, str] = dict(stack.guard.process.env)
    settings |= {
        "LOTUS_GUARD_LISTEN": f"tcp:{free_port()}:interface=127.0.0.1",  # not opened
        "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{free_port()}:interface=127.0.0.1",
        "LOTUS_GUARD_STATE": str(tmp_path / "state.sqlite"),
        "LOTUS_GUARD_RECONCILE_INTERVAL": "0.5",
    }
    made = Manager(tmp_path, settings)
    yield made
    made.close()


def load(work: Callable[[], Any], stop: threading.Event) -> list[Any]:
    """Do work some twenty times a second, in eight threads, until told to stop."""

    def one(_number: int) -> list[Any]:
        results = []
        while not stop.is_set():
            try:
                results.append(work())
            except OSError as error:
                results.append(error)
            time.sleep(0.3)
        return results

    with ThreadPoolExecutor(8) as pool:
        return [result for results in pool.map(one, range(8)) for result in results]


def test_three_restarts_under_load_refuse_no_connection(stack: Stack, manager: Manager) -> None:
    room = stack.room(quality={"allow_camera": False})
    (alice,) = stack.users(1)
    body = stack.request(alice, room)
    manager.start()
    stop, results = threading.Event(), list[Any]()

    def client() -> None:
        work = lambda: http("POST", manager.url + "/get_token", body).status  # noqa: E731
        results.extend(load(work, stop))

    thread = threading.Thread(target=client)
    thread.start()
    for _ in range(3):
        time.sleep(1.5)
        manager.stop()
        manager.start()
    time.sleep(1.5)
    stop.set()
    thread.join(60)
    refused = [result for result in results if result != 200]
    print(f"{len(results)} requests over three restarts, {len(refused)} not answered with a token")
    assert refused == []
    assert len(results) > 50


def test_a_request_in_flight_is_served_before_the_end(stack: Stack, manager: Manager) -> None:
    with socket.create_server(("127.0.0.1", 0)) as slow:
        manager.settings["LOTUS_GUARD_UPSTREAM"] = f"http://127.0.0.1:{slow.getsockname()[1]}"
        manager.start()
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(http, "GET", manager.url + "/healthz")
            connection, _ = slow.accept()
            connection.recv(4096)
            assert manager.process is not None
            manager.process.send_signal(signal.SIGTERM)
            time.sleep(1.5)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
            assert waiting.result(10).body == b"ok"
            connection.close()
    assert manager.process.wait(6) in (0, -signal.SIGTERM)  # twistd ends by the signal it got
    assert b"STOPPING=1" in manager.hear()


def test_the_homeserver_finds_the_guard_on_its_own_socket(manager: Manager) -> None:
    """Also where no variable names that port."""
    manager.settings.pop("LOTUS_GUARD_HOMESERVER_LISTEN", "")
    token = manager.settings.setdefault("LIVEKIT_HS_TOKEN", "a-token-of-a-homeserver")
    headers = {"Authorization": f"Bearer {token}", "X-Matrix-Origin": "other.example.org"}
    manager.start()
    probe = quote(sign_probe(manager.settings["LIVEKIT_SECRET"], time.time()))
    path = f"{FEDERATION_PATHS[0]}?{QUERY}={probe}"
    answer = http("POST", f"{manager.url_for_homeserver}{path}", b"{}", headers)
    assert FIELD in answer.json()
    assert http("POST", f"{manager.url}{path}", b"{}", headers).status == 404


def test_the_watchdog_is_fed_also_while_livekit_is_away(stack: Stack, manager: Manager) -> None:
    manager.settings["LOTUS_GUARD_LIVEKIT_URL"] = f"http://127.0.0.1:{free_port()}"
    manager.start()
    manager.hear()
    manager.told.clear()
    time.sleep(2 * WATCHDOG_SECONDS)
    fed = manager.hear().count(b"WATCHDOG=1")
    assert fed >= 4
    assert any(line.startswith(b"STATUS=") for line in manager.told)


def test_a_guard_that_is_stopped_in_its_tracks_feeds_nothing(manager: Manager) -> None:
    manager.start()
    assert manager.process is not None
    manager.process.send_signal(signal.SIGSTOP)
    time.sleep(0.2)
    manager.hear()
    manager.told.clear()
    time.sleep(WATCHDOG_SECONDS)
    assert manager.hear() == []
    manager.process.send_signal(signal.SIGCONT)
