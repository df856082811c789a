"""As much of systemd as the guard's units need, for a host below a scratch root.

It reads unit files and drop-ins (only at `daemon-reload`, as systemd does), holds listening
sockets and hands them over (LISTEN_FDS), waits for READY=1 of a Type=notify service, restarts what
crashes, and starts a service for whom a connection waits. `systemctl` is a script that asks it by
a Unix socket. Ports are others than the units say, paths are below the root.
"""

import json
import os
import re
import select
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Mapping
from pathlib import Path

from attrs import define, field

OURS = (
    "/opt/lotus-guard",
    "/etc/lotus-guard",
    "/etc/systemd",
    "/etc/matrix-synapse",
    "/var/lib/lotus-guard",
)
START_SECONDS = 30.0
TICK = 0.02
CLIENT = """\
import json, socket, sys
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect({path!r})
    sock.sendall(json.dumps(sys.argv[1:]).encode() + b"\\n")
    code, text = json.loads(sock.makefile().readline())
sys.stdout.write(text)
sys.exit(code)
"""
# What comes between fork and exec, in the child itself: the sockets go to the places that
# sd_listen_fds(3) has them at.
HAND_OVER = """\
import fcntl, os, sys
held = [fcntl.fcntl(int(fd), fcntl.F_DUPFD, 100) for fd in sys.argv[1].split(",")]
for fd, copy in enumerate(held, 3):
    os.dup2(copy, fd)
    os.close(copy)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""


class Failed(Exception):
    """systemctl is to fail with this text."""


@define(eq=False)
class Unit:
    """A unit as it was loaded, and what runs of it."""

    name: str
    directives: Mapping[str, list[str]]
    active: bool = False
    process: subprocess.Popen[bytes] | None = None
    listener: socket.socket | None = None
    restarts: int = 0
    again_at: float = 0.0
    """When a crashed service is started again; 0: it is not."""

    def all(self, name: str) -> list[str]:
        return self.directives.get(name, [])

    def one(self, name: str, default: str = "") -> str:
        return (self.all(name) or [default])[-1]

    @property
    def pid(self) -> int:
        return self.process.pid if self.process and self.process.poll() is None else 0


def service_of(unit: Unit) -> str:
    """The service that a socket starts."""
    return unit.one("Service", unit.name.replace(".socket", ".service"))


@define(eq=False)
class Systemd:
    """The manager; `stop` ends all that it has started."""

    root: Path
    ports: Mapping[int, int]
    """Which port stands for which, such as 8070."""
    log: Path = field(init=False)
    enabled: set[str] = field(factory=set)
    calls: list[list[str]] = field(factory=list)
    _units: dict[str, Unit] = field(factory=dict)
    _lock: threading.RLock = field(factory=threading.RLock)
    _directory: Path = field(init=False)
    _server: socket.socket = field(init=False)
    _notify: socket.socket = field(init=False)
    _threads: list[threading.Thread] = field(init=False)
    _ended: bool = False

    def __attrs_post_init__(self) -> None:
        self._directory = Path(tempfile.mkdtemp(prefix="standin-"))
        self.log = self.root / "journal"
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(self._directory / "notify"))
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(self._directory / "ask"))
        self._server.listen()
        self._server.settimeout(0.1)
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._serve, self._watch)
        ]
        for thread in self._threads:
            thread.start()

    @property
    def systemctl(self) -> Path:
        """A script that stands for systemctl."""
        path = self._directory / "systemctl"
        if not path.exists():
            code = self._directory / "client.py"
            code.write_text(CLIENT.format(path=str(self._directory / "ask")))
            path.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {code} "$@"\n')
            path.chmod(0o755)
        return path

    def stop(self) -> None:
        self._ended = True
        for thread in self._threads:
            thread.join()  # before its socket's number can become another host's
        self.power_cut()
        self._server.close()
        self._notify.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def power_cut(self) -> None:
        """End everything at once, as without power."""
        with self._lock:
            for unit in self._units.values():
                if unit.process and unit.process.poll() is None:
                    unit.process.kill()
                    unit.process.wait()
                if unit.listener:
                    unit.listener.close()
            self._units.clear()

    def boot(self) -> None:
        """Start what is enabled, sockets first; what does not start is not waited for."""
        with self._lock:
            for name in sorted(self.enabled, key=lambda name: not name.endswith(".socket")):
                self._note(f"boot: {name}")
                try:
                    self._start(name)
                except Failed as why:
                    self._note(f"boot: {why}")

    def _serve(self) -> None:
        while not self._ended:
            try:
                connection, _ = self._server.accept()
            except TimeoutError:
                continue
            connection.settimeout(None)
            threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def _answer(self, connection: socket.socket) -> None:
        with connection, connection.makefile() as lines:
            words = json.loads(lines.readline())
            try:
                answer = [0, self.ask(*words)]
            except Exception as why:
                answer = [1, f"{why}\n" if isinstance(why, Failed) else traceback.format_exc()]
            connection.sendall(json.dumps(answer).encode() + b"\n")

    def ask(self, *words: str) -> str:
        """Do what `systemctl WORDS` does."""
        self.calls.append(list(words))
        options = [word for word in words if word.startswith("-")]
        action, *names = [word for word in words if not word.startswith("-")]
        with self._lock:
            if action == "daemon-reload":
                self._reload()
            elif action == "show":
                return self._show(names[0], options)
            elif action == "is-active":
                self._must(names[0], self._unit(names[0]).active)
            elif action == "is-enabled":
                self._must(names[0], names[0] in self.enabled)
            else:
                self._each(action, names, "--now" in options)
        return ""

    def _must(self, name: str, condition: bool) -> None:
        if not condition:
            raise Failed(f"{name}: no")

    def _each(self, action: str, names: list[str], now: bool) -> None:
        work = {"start": self._start, "stop": self._stop, "restart": self._restart}
        for name in names:
            if action == "enable":
                self._reload()
                self._unit(name)
                self.enabled.add(name)
            elif action == "disable":
                self.enabled.discard(name)
            if action in work:
                work[action](name)
            elif now:
                (self._start if action == "enable" else self._stop)(name)

    def _show(self, name: str, options: list[str]) -> str:
        unit = self._unit(name)
        known = {"MainPID": unit.pid, "NRestarts": unit.restarts}
        asked = next(word for word in options if word.startswith("--property="))
        return "".join(f"{each}={known[each]}\n" for each in asked.partition("=")[2].split(","))

    def _path(self, name: str) -> Path | None:
        for place in ("etc/systemd/system", "lib/systemd/system"):
            if (self.root / place / name).is_file():
                return self.root / place / name
        return None

    def _unit(self, name: str) -> Unit:
        if name not in self._units:
            self._units[name] = Unit(name, self._read(name))
        return self._units[name]

    def _reload(self) -> None:
        for name, unit in list(self._units.items()):
            if self._path(name) or unit.active:
                if self._path(name):
                    unit.directives = self._read(name)
            else:
                del self._units[name]

    def _read(self, name: str) -> dict[str, list[str]]:
        path = self._path(name)
        if path is None:
            raise Failed(f"Unit {name} not found.")
        drop_ins = sorted((self.root / f"etc/systemd/system/{name}.d").glob("*.conf"))
        found: dict[str, list[str]] = {}
        for each in [path, *drop_ins]:
            for line in each.read_text().replace("\\\n", " ").splitlines():
                if "=" in line and not line.startswith(("#", ";")):
                    key, _, value = line.partition("=")
                    if not value.strip():
                        found[key.strip()] = []
                        continue
                    found.setdefault(key.strip(), []).append(value.strip())
        return found

    def _here(self, text: str) -> str:
        for path in OURS:
            text = re.sub(rf"(?<![\w/]){path}", f"{self.root}{path}", text)
        for port, stands_in in self.ports.items():
            text = re.sub(rf"\b{port}\b", str(stands_in), text)
        return text

    def _sockets_of(self, name: str) -> list[Unit]:
        """The sockets that are open and start this service."""
        return [u for u in self._units.values() if u.listener and service_of(u) == name]

    def _meets(self, unit: Unit) -> bool:
        """Whether its conditions are met: all plain ones, and one of those with `|`."""
        conditions = unit.all("ConditionPathExists")
        exist = {path: Path(self._here(path.lstrip("|"))).exists() for path in conditions}
        either = [met for path, met in exist.items() if path.startswith("|")]
        every = [met for path, met in exist.items() if not path.startswith("|")]
        return all(every) and (any(either) or not either)

    def _start(self, name: str) -> None:
        unit = self._unit(name)
        if not self._meets(unit):
            self._note(f"{name} was skipped, a condition is not met")
        elif name.endswith(".socket"):
            self._listen(unit)
        elif name.endswith(".service") and unit.pid == 0:
            for other in (*unit.all("Requires"), *unit.all("Wants")):
                if self._path(other):
                    self._start(other)
            self._run(unit)
        unit.active = unit.active or name.endswith(".timer")

    def _listen(self, unit: Unit) -> None:
        if unit.listener is not None:
            return
        if self._unit(service_of(unit)).pid:
            raise Failed(f"{unit.name}: its service is already active, refusing")
        where = self._here(unit.one("ListenStream"))
        listener = socket.socket()
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        interface, _, port = where.rpartition(":")
        try:
            listener.bind((interface or "127.0.0.1", int(port)))
        except OSError as error:
            raise Failed(f"{unit.name}: {where}: {error}") from None
        listener.listen(int(unit.one("Backlog", "4096")))
        unit.listener, unit.active = listener, True

    def _environment(self, unit: Unit) -> dict[str, str]:
        found = {"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}
        credentials = self.root / "run/credentials" / unit.name
        for value in unit.all("Environment"):
            value = value.replace("%d", str(credentials))
            for word in shlex.split(self._here(value)):
                name, _, found[name] = word.partition("=")
        for value in unit.all("EnvironmentFile"):
            path = Path(self._here(value.removeprefix("-")))
            if not path.exists() and not value.startswith("-"):
                raise Failed(f"{unit.name}: {path} is missing")
            lines = path.read_text(errors="replace").splitlines() if path.exists() else []
            for line in lines:
                key, equals, value = line.partition("=")
                if equals and key.isidentifier():
                    found[key] = "".join(shlex.split(value))
        for value in unit.all("LoadCredential"):
            identifier, _, path_text = value.partition(":")
            credentials.mkdir(parents=True, exist_ok=True)
            source = Path(self._here(path_text))
            if not source.exists():
                raise Failed(f"{unit.name}: the credential {source} is missing")
            shutil.copy(source, credentials / identifier)
            found["CREDENTIALS_DIRECTORY"] = str(credentials)
        for value in unit.all("StateDirectory"):
            directory = self.root / "var/lib" / value
            directory.mkdir(parents=True, exist_ok=True)
            found["STATE_DIRECTORY"] = str(directory)
        return found

    def _run(self, unit: Unit) -> None:
        unit.again_at = 0.0
        environment = self._environment(unit)
        words = shlex.split(self._here(unit.one("ExecStart")))
        command = [word.replace("$$", "$") for word in words]
        if unit.one("Type") == "notify":
            environment["NOTIFY_SOCKET"] = str(self._directory / "notify")
            self._hear(0.0)  # what others have said before
        gates = self._sockets_of(unit.name)
        held = [gate.listener.fileno() for gate in gates if gate.listener]
        if held:
            environment["LISTEN_FDS"] = str(len(held))
            names = [gate.one("FileDescriptorName", gate.name) for gate in gates]
            environment["LISTEN_FDNAMES"] = ":".join(names)
            numbers = ",".join(map(str, held))
            command = [sys.executable, "-I", "-S", "-c", HAND_OVER, numbers, *command]
        self._note(f"start {unit.name}")
        with self.log.open("ab") as log:
            unit.process = subprocess.Popen(
                command,
                env=environment,
                cwd=self.root,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                pass_fds=held,
            )
        unit.active = True
        if "NOTIFY_SOCKET" in environment:
            self._wait_ready(unit)

    def _hear(self, seconds: float) -> bytes:
        """Take what services have said to systemd."""
        heard = b""
        while select.select([self._notify], [], [], 0.0 if heard else seconds)[0]:
            heard += self._notify.recv(4096) + b"\n"
        return heard

    def _wait_ready(self, unit: Unit) -> None:
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end and unit.pid:
            if b"READY=1" in self._hear(0.05):
                self._note(f"{unit.name} is ready")
                return
        self._crashed(unit)
        raise Failed(f"Job for {unit.name} failed: it did not become ready.")

    def _crashed(self, unit: Unit) -> None:
        if unit.process and unit.process.poll() is None:
            unit.process.kill()
            unit.process.wait()
        code = unit.process.returncode if unit.process else None
        unit.active, unit.process = False, None
        self._note(f"{unit.name} ended by itself with {code}")
        never = unit.one("RestartPreventExitStatus").split()
        if unit.one("Restart", "no") != "no" and str(code) not in never:
            unit.again_at = time.monotonic() + float(unit.one("RestartSec", "0.1").rstrip("s"))

    def _stop(self, name: str) -> None:
        unit = self._unit(name)
        unit.again_at = 0.0
        if unit.listener:
            unit.listener.close()
            unit.listener = None
        if unit.process:
            unit.process.send_signal(signal.SIGTERM)
            try:
                unit.process.wait(float(unit.one("TimeoutStopSec", "10").rstrip("s")))
            except subprocess.TimeoutExpired:
                unit.process.kill()
                unit.process.wait()
            self._note(f"{name} was stopped")
        unit.active, unit.process = False, None

    def _restart(self, name: str) -> None:
        unit = self._unit(name)
        self._stop(name)
        unit.restarts = 0
        self._start(name)

    def _watch(self) -> None:
        while not self._ended:
            time.sleep(TICK)
            with self._lock:
                self._hear(0.0)
                for unit in list(self._units.values()):
                    try:
                        self._look_after(unit)
                    except Exception as why:
                        self._note(repr(why))

    def _look_after(self, unit: Unit) -> None:
        if unit.process and unit.process.poll() is not None:
            self._crashed(unit)
        if unit.again_at and time.monotonic() >= unit.again_at:
            unit.restarts += 1
            self._start(unit.name)
        elif unit.listener and self._waits(unit.listener):
            service = self._unit(service_of(unit))
            if not service.pid and not service.again_at:
                self._start(service.name)

    def _waits(self, listener: socket.socket) -> bool:
        return bool(select.select([listener], [], [], 0)[0])

    def _note(self, text: str) -> None:
        with self.log.open("a") as log:
            log.write(f"[systemd {time.monotonic():.3f}] {text}\n")
