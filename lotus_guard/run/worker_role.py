"""A worker's side of what passes between it and its supervisor.

    LOTUS_GUARD_WORKER=<k>            in a worker's environment: which one it is, from 0
    fd 0                              a pipe that ends with the supervisor: so does the worker
    LOTUS_GUARD_TELL_FD=<n>           where a worker says what a service says to systemd: lines of
                                      KEY=VALUE (sd_notify(3)): READY=1, WATCHDOG=1, STATUS=...
    LISTEN_FDS, LISTEN_FDNAMES        the socket that is this worker's, where systemd holds them

The operators' port of worker k is the configured one + k.
"""

import os
from collections.abc import Mapping, MutableMapping
from contextlib import suppress
from typing import Any

from attrs import define, evolve, field, frozen
from twisted.internet.error import ReactorNotRunning
from twisted.logger import Logger

from lotus_guard.run.address import shifted
from lotus_guard.run.config import Config
from lotus_guard.run.systemd import Reporter

_log = Logger()

NUMBER, TELL = "LOTUS_GUARD_WORKER", "LOTUS_GUARD_TELL_FD"
WATCHDOG_SECONDS = 30.0
"""A worker that has said nothing for so long is stuck."""


@frozen
class Role:
    """Which worker this process is, and how it reports to its supervisor."""

    number: int
    reporter: Reporter

    def config(self, config: Config) -> Config:
        """The settings of this worker: it has an operators' port of its own."""
        if self.number == 0:
            return config
        return evolve(config, admin_listen=shifted(config.admin_listen, self.number))


def role_of(environment: MutableMapping[str, str]) -> Role | None:
    """What a supervisor has made of this process, if one did; takes the variables away."""
    number, tell = environment.pop(NUMBER, ""), environment.pop(TELL, "")
    if not number.isdecimal() or not tell.isdecimal():
        return None
    fd = int(tell)

    def send(lines: bytes) -> None:
        with suppress(OSError):  # the supervisor has gone: the lifeline says so too
            os.write(fd, lines + b"\n")

    return Role(int(number), Reporter(send, WATCHDOG_SECONDS))


def own_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment without what a supervisor tells its worker."""
    return {name: value for name, value in environment.items() if name not in (NUMBER, TELL)}


@define(eq=False)
class Lifeline:
    """A worker's end of the pipe that ends with its supervisor."""

    reactor: Any
    fd: int = 0
    _is_cut: bool = field(default=False, init=False)

    def fileno(self) -> int:
        """The descriptor that the reactor watches."""
        return self.fd

    def doRead(self) -> None:
        """Notice that the pipe has ended; nothing is ever written to it."""
        if not os.read(self.fd, 4096):
            self._cut()

    def connectionLost(self, reason: Any) -> None:
        """Notice the same: epoll may report a pipe's end as a hang-up."""
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
        _log.error("The workers' supervisor has ended, so this worker stops too")

    def logPrefix(self) -> str:
        """The name of this in the log."""
        return "lifeline"
