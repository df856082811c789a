"""Several worker processes on one port, and the small process that keeps them running.

The supervisor serves nobody. It starts `LOTUS_GUARD_WORKERS` workers, each a guard like any other,
and replaces one that dies or is stuck. What passes between the two: `run.worker_role`.

Workers share their seats in Redis. Each listens with a socket of its own (`run.listeners`);
where systemd holds the port, with one of the sockets that it made.
"""

import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from typing import Any

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredList
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from lotus_guard.run.listeners import HOMESERVER, OPERATORS, PUBLIC
from lotus_guard.run.systemd import FIRST_FD, HandedOver, Reporter
from lotus_guard.run.worker_role import NUMBER, TELL, WATCHDOG_SECONDS

_log = Logger()

MOST_SILENT_LOOKS = 4
"""Looks at the workers while one may say nothing. Not seconds: whoever paused the whole machine
paused the supervisor too, and nobody was silent."""
YOUNG_SECONDS = 10.0
"""A worker that dies younger than this is not replaced at once."""
LONGEST_DELAY = 30.0
STOP_SECONDS = 6.0
"""After so many seconds an orderly end is no longer waited for."""
COMMAND = (
    sys.executable,
    *("-c", "from twisted.scripts.twistd import run; run()"),
    *("--nodaemon", "--pidfile=", "lotus-guard"),
)


@define(eq=False, slots=False)
class Worker(ProcessProtocol):
    """One worker process."""

    number: int
    begun: float
    on_ready: Callable[[], None]
    on_end: Callable[["Worker", Failure], None]
    early_deaths: int = 0
    """How many before it, of the same number, have died young in a row."""
    ended: Deferred[None] = field(init=False, factory=Deferred)
    is_ready: bool = field(init=False, default=False)
    silent_looks: int = field(init=False, default=0)
    _is_to_reload: bool = field(init=False, default=False)
    """Whether SIGHUP is for it as soon as it is ready: before that it may not catch it."""
    _line: bytes = field(init=False, default=b"")

    def childDataReceived(self, childFD: int, data: bytes) -> None:
        """Hear what the worker says of itself."""
        *lines, self._line = (self._line + data)[-4096:].split(b"\n")
        self.silent_looks = 0
        if b"READY=1" in lines and not self.is_ready:
            self.is_ready = True
            if self._is_to_reload:
                self.reload()
            self.on_ready()

    def processEnded(self, reason: Failure) -> None:
        """Hand on that the process is gone."""
        self.is_ready = False
        self.ended.callback(None)
        self.on_end(self, reason)

    def reload(self) -> None:
        """Have it read its credentials again, at once or as soon as it is ready."""
        self._is_to_reload = not self.is_ready
        if self.is_ready:
            self.signal("HUP")

    def signal(self, name: str) -> None:
        """Send a signal, where there is a process."""
        if self.transport is not None:
            with suppress(ProcessExitedAlready):
                self.transport.signalProcess(name)


def delay_after(early_deaths: int) -> float:
    """Seconds until the next one is started, after so many have died young in a row."""
    if not early_deaths:
        return 0.0
    doublings = min(early_deaths - 1, 10)  # after a night of them the power is no float any more
    return float(min(LONGEST_DELAY, 0.5 * 2**doublings))


class Fleet(Service):
    """The supervisor of the workers."""

    def __init__(
        self,
        reactor: Any,
        count: int,
        environment: Mapping[str, str],
        sockets: Sequence[tuple[str, HandedOver]],
        reporter: Reporter,
    ) -> None:
        self.workers: dict[int, Worker] = {}
        self._reactor = reactor
        self._count = count
        self._environment = dict(environment)
        self._sockets = sockets
        self._reporter = reporter
        self._was_ready = False
        self._looks = LoopingCall(self._look)
        self._looks.clock = reactor

    def startService(self) -> None:
        """Start the workers."""
        super().startService()
        public = sum(name == PUBLIC for name, _ in self._sockets)
        if 0 < public < self._count:
            _log.warn(
                "{count} workers share {public} sockets from systemd, so some will have little to "
                "do. Fix: as many ListenStream= lines as workers, with ReusePort=yes.",
                count=self._count,
                public=public,
            )
        for number in range(self._count):
            self._start(number)
        self._looks.start(WATCHDOG_SECONDS / MOST_SILENT_LOOKS, now=False)

    def reload(self) -> None:
        """Have all workers read their credentials again; the supervisor itself uses none."""
        _log.info("Passing SIGHUP on to {n} workers", n=self._count)
        for worker in self.workers.values():
            worker.reload()

    def status(self) -> str:
        """How the workers do, in a line."""
        ready = sum(worker.is_ready for worker in self.workers.values())
        return f"{ready} of {self._count} workers ready"

    def stopService(self) -> Any:
        """End the workers in order, those that do not end by force."""
        super().stopService()
        self._looks.stop()
        self._signal_all("TERM")
        force = self._reactor.callLater(STOP_SECONDS, self._signal_all, "KILL")
        ended = DeferredList([worker.ended for worker in self.workers.values()])
        return ended.addCallback(lambda _: force.cancel() if force.active() else None)

    def _start(self, number: int, early_deaths: int = 0) -> None:
        worker = Worker(
            number, self._reactor.seconds(), self._got_ready, self._replace, early_deaths
        )
        self.workers[number] = worker
        held = self._sockets_of(number)
        tell = FIRST_FD + len(held)
        environment = {**self._environment, NUMBER: str(number), TELL: str(tell)}
        if held:
            environment["LISTEN_FDS"] = str(len(held))
            environment["LISTEN_FDNAMES"] = ":".join(name for name, _ in held)
        fds = {0: "w", 1: 1, 2: 2, tell: "r"}
        fds |= {fd: sock.fd for fd, (_, sock) in enumerate(held, FIRST_FD)}
        try:
            self._reactor.spawnProcess(worker, COMMAND[0], COMMAND, environment, childFDs=fds)
        except OSError:  # no memory or no descriptor for it now: as if it had died at once
            worker.processEnded(Failure())

    def _sockets_of(self, number: int) -> list[tuple[str, HandedOver]]:
        """The sockets that a worker listens on, by name."""
        held = []
        for name in (PUBLIC, HOMESERVER):
            shared = [each for each in self._sockets if each[0] == name]
            held += [shared[number % len(shared)]] if shared else []
        operators = [each for each in self._sockets if each[0] == OPERATORS]
        return held + (operators[:1] if number == 0 else [])

    def _got_ready(self) -> None:
        """Report that the service can be used once all workers are ready."""
        if not self._was_ready and all(each.is_ready for each in self.workers.values()):
            self._was_ready = True
            _log.info("{n} workers are ready", n=self._count)
            self._reporter.ready()

    def _replace(self, worker: Worker, reason: Failure) -> None:
        """Start another one, soon; at once where this one lived for a while."""
        if not self.running:
            return
        lived = self._reactor.seconds() - worker.begun
        deaths = worker.early_deaths + 1 if lived < YOUNG_SECONDS else 0
        delay = delay_after(deaths)
        _log.error(
            "Worker {number} ended after {lived} s ({why}); starting another in {delay} s",
            number=worker.number,
            lived=round(lived),
            why=reason.value,
            delay=delay,
        )
        self._reactor.callLater(delay, self._start_again, worker.number, deaths)

    def _start_again(self, number: int, early_deaths: int) -> None:
        if self.running:
            self._start(number, early_deaths)

    def _look(self) -> None:
        """Kill those that are stuck: they are replaced like any that dies."""
        for worker in self.workers.values():
            worker.silent_looks += 1
            if worker.silent_looks > MOST_SILENT_LOOKS and not worker.ended.called:
                _log.error("Worker {n} is stuck: killing it", n=worker.number)
                worker.signal("KILL")

    def _signal_all(self, name: str) -> None:
        for worker in self.workers.values():
            worker.signal(name)
