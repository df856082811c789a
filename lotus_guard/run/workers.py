"""Several worker processes on one port, and the small process that keeps them running.

The supervisor serves nobody. It starts `LOTUS_GUARD_WORKERS` workers, each a guard like any other,
and starts one again that dies. What passes between the two:

    LOTUS_GUARD_WORKER=<k>            in a worker's environment: which one it is, from 0
    fd 0                              a pipe that ends with the supervisor: so does the worker
    LOTUS_GUARD_TELL_FD=<n>           where a worker says what a service says to systemd: lines of
                                      KEY=VALUE (sd_notify(3)): READY=1, WATCHDOG=1, STATUS=...
    LISTEN_FDS, LISTEN_FDNAMES        the socket that is this worker's, where systemd holds them

Workers share their seats in Redis. Each listens with a socket of its own (`run.listeners`);
where systemd holds the port, with one of the sockets that it made. The operators' port of worker k
is the configured one + k.
"""

import os
import sys
from collections.abc import Callable, Mapping, MutableMapping, Sequence
from typing import Any

from attrs import define, evolve, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessExitedAlready, ReactorNotRunning
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger

from lotus_guard.run.address import listening
from lotus_guard.run.config import Config
from lotus_guard.run.listeners import OPERATORS, PUBLIC
from lotus_guard.run.systemd import HandedOver, Supervisor

_log = Logger()

NUMBER, TELL = "LOTUS_GUARD_WORKER", "LOTUS_GUARD_TELL_FD"
FIRST_FD = 3
WATCHDOG_SECONDS = 30.0
"""A worker that has said nothing for so long is stuck, and is killed and replaced."""
YOUNG_SECONDS = 10.0
"""A worker that dies younger than this is not replaced at once."""
LONGEST_DELAY = 30.0
STOP_SECONDS = 6.0
"""After so many seconds an orderly end is no longer waited for."""
COMMAND = ("-c", "from twisted.scripts.twistd import run; run()")
ARGUMENTS = ("--nodaemon", "--pidfile=", "lotus-guard")


def config_of(config: Config, number: int) -> Config:
    """Give the configuration of one worker: the operators' port is its own."""
    own = listening(config.admin_listen)
    if number == 0 or own is None:
        return config if number == 0 else evolve(config, admin_listen="")
    head, rest = config.admin_listen.split(str(own.port), 1)
    return evolve(config, admin_listen=f"{head}{own.port + number}{rest}")


@define(eq=False, slots=False)
class Worker(ProcessProtocol):
    """One worker process after another."""

    number: int
    fleet: "Fleet"
    is_ready: bool = False
    heard: float = 0.0
    begun: float = 0.0
    deaths: int = 0
    """How many have died young in a row."""
    is_to_reload: bool = False
    """Whether SIGHUP is for it as soon as it is ready: before that it may not catch it."""
    ended: Deferred[None] | None = None
    _line: bytes = b""

    def start(self) -> None:
        """Start a process."""
        fleet = self.fleet
        self.is_ready, self.is_to_reload, self._line = False, False, b""
        self.begun = self.heard = fleet.reactor.seconds()
        self.ended = Deferred()
        held = fleet.sockets_of(self.number)
        tell = FIRST_FD + len(held)
        environment = {**fleet.environment, NUMBER: str(self.number), TELL: str(tell)}
        fds: dict[int, Any] = {0: "w", 1: 1, 2: 2}
        for offset, (_, sock) in enumerate(held):
            fds[FIRST_FD + offset] = sock.fd
        if held:
            environment["LISTEN_FDS"] = str(len(held))
            environment["LISTEN_FDNAMES"] = ":".join(name for name, _ in held)
        fds[tell] = "r"
        fleet.spawn(self, environment, fds)

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Hear what the worker says of itself."""
        *lines, self._line = (self._line + data)[-4096:].split(b"\n")
        self.heard = self.fleet.reactor.seconds()
        if b"READY=1" in lines and not self.is_ready:
            self.is_ready = True
            if self.is_to_reload:
                self.reload()
            self.fleet.got_ready()

    def processEnded(self, reason: Any) -> None:
        """Start another one, soon; at once where this one lived for a while."""
        ended, self.ended = self.ended, None
        self.is_ready = False
        if ended is not None:
            ended.callback(None)
        if not self.fleet.running:
            return
        lived = self.fleet.reactor.seconds() - self.begun
        self.deaths = self.deaths + 1 if lived < YOUNG_SECONDS else 0
        delay = min(LONGEST_DELAY, 0.5 * 2 ** (self.deaths - 1)) if self.deaths else 0.0
        _log.error(
            "Worker {number} has ended after {lived} s ({why}); another is started in {delay} s",
            number=self.number,
            lived=round(lived),
            why=reason.value,
            delay=delay,
        )
        self.fleet.reactor.callLater(delay, self._again)

    def _again(self) -> None:
        if self.fleet.running:
            self.start()

    def reload(self) -> None:
        """Have it read its credentials again, at once or as soon as it is ready."""
        self.is_to_reload = not self.is_ready
        if self.is_ready:
            self.signal("HUP")

    def signal(self, name: str) -> None:
        """Send a signal, where there is a process."""
        if self.ended is not None and self.transport is not None:
            try:
                self.transport.signalProcess(name)
            except ProcessExitedAlready:
                return


class Fleet(Service):
    """The supervisor of the workers."""

    def __init__(
        self,
        reactor: Any,
        count: int,
        environment: Mapping[str, str],
        sockets: Sequence[tuple[str, HandedOver]],
        supervisor: Supervisor,
        spawn: Callable[[Worker, dict[str, str], dict[int, Any]], None] | None = None,
    ) -> None:
        self.reactor = reactor
        self.environment = dict(environment)
        self.workers = [Worker(number, self) for number in range(count)]
        self._sockets = sockets
        self._supervisor = supervisor
        self._spawn = spawn or self._spawn_process
        self._said_ready = False

    def sockets_of(self, number: int) -> list[tuple[str, HandedOver]]:
        """Give the sockets that a worker listens on, by name."""
        public = [each for each in self._sockets if each[0] == PUBLIC]
        held = [public[number % len(public)]] if public else []
        if number == 0:
            held += [each for each in self._sockets if each[0] == OPERATORS][:1]
        return held

    def spawn(self, worker: Worker, environment: dict[str, str], fds: dict[int, Any]) -> None:
        """Start a worker's process."""
        self._spawn(worker, environment, fds)

    def startService(self) -> None:
        """Start the workers."""
        super().startService()
        public = sum(name == PUBLIC for name, _ in self._sockets)
        if 0 < public < len(self.workers):
            _log.warn(
                "{count} workers share {public} sockets of systemd: some will have little to do. "
                "Wanted: as many ListenStream= lines as workers, and ReusePort=yes",
                count=len(self.workers),
                public=public,
            )
        for worker in self.workers:
            worker.start()

    def got_ready(self) -> None:
        """Say that the service can be used once all workers are ready."""
        if not self._said_ready and all(worker.is_ready for worker in self.workers):
            self._said_ready = True
            _log.info("{n} workers are ready", n=len(self.workers))
            self._supervisor.ready()

    def reload(self) -> None:
        """Have all workers read their credentials again; the supervisor itself uses none."""
        _log.info("SIGHUP is handed on to {n} workers", n=len(self.workers))
        for worker in self.workers:
            worker.reload()

    def is_well(self) -> bool:
        """Look after the workers; the supervisor itself is well while it does so."""
        for worker in self.workers:
            if worker.ended is not None and self._silent(worker) > WATCHDOG_SECONDS:
                _log.error("Worker {n} is stuck: it is killed", n=worker.number)
                worker.signal("KILL")
        return True

    def status(self) -> str:
        """Say in a line how the workers do."""
        ready = sum(worker.is_ready for worker in self.workers)
        return f"{ready} of {len(self.workers)} workers ready"

    def stopService(self) -> Any:
        """End the workers in order, those that do not end by force."""
        super().stopService()
        waiting = [worker.ended for worker in self.workers if worker.ended is not None]
        for worker in self.workers:
            worker.signal("TERM")
        force = self.reactor.callLater(STOP_SECONDS, self._kill)

        def over(_results: object) -> None:
            if force.active():
                force.cancel()

        return DeferredList([_follow(each) for each in waiting]).addCallback(over)

    def _kill(self) -> None:
        for worker in self.workers:
            worker.signal("KILL")

    def _silent(self, worker: Worker) -> float:
        return float(self.reactor.seconds() - worker.heard)

    def _spawn_process(
        self, worker: Worker, environment: dict[str, str], fds: dict[int, Any]
    ) -> None:
        command = [sys.executable, *COMMAND, *ARGUMENTS]
        self.reactor.spawnProcess(worker, sys.executable, command, environment, childFDs=fds)


def _follow(deferred: Deferred[None]) -> Deferred[None]:
    follower: Deferred[None] = Deferred()

    def tell(result: None) -> None:
        follower.callback(result)

    deferred.addCallback(tell)
    return follower


@define(eq=False)
class Lifeline:
    """A worker's end of the pipe that ends with its supervisor."""

    reactor: Any
    fd: int = 0
    _is_cut: bool = field(default=False, init=False)

    def fileno(self) -> int:
        """Give the descriptor that the reactor watches."""
        return self.fd

    def doRead(self) -> None:
        """Take note that the pipe has ended; nothing is ever written to it."""
        if not os.read(self.fd, 4096):
            self._cut()

    def connectionLost(self, reason: Any) -> None:
        """Take note likewise: epoll may tell a pipe's end as a hang-up."""
        self._cut()

    def _cut(self) -> None:
        """End where the supervisor has."""
        self.reactor.removeReader(self)
        if self._is_cut:
            return
        self._is_cut = True
        try:
            self.reactor.stop()
        except ReactorNotRunning:
            return  # it is ending anyway, which is how we were told
        _log.error("The supervisor of the workers has ended, and so does this worker")

    def logPrefix(self) -> str:
        """Name this in the log."""
        return "lifeline"


def own_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """Give the environment without what a supervisor tells its worker."""
    return {name: value for name, value in environment.items() if name not in (NUMBER, TELL)}


def worker_of(
    environment: MutableMapping[str, str],
) -> tuple[int | None, Callable[[bytes], None] | None]:
    """Tell which worker this process is, and how it tells; takes the variables away."""
    number, tell = environment.pop(NUMBER, ""), environment.pop(TELL, "")
    if not number.isdecimal() or not tell.isdecimal():
        return None, None
    fd = int(tell)

    def send(lines: bytes) -> None:
        try:
            os.write(fd, lines + b"\n")
        except OSError:  # the supervisor has gone: the lifeline says so too
            return

    return int(number), send
