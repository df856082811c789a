"""What systemd and a service say to each other: sockets handed over, readiness, the watchdog.

The wire (sd_listen_fds(3), sd_notify(3)):

    LISTEN_PID=<our pid>, LISTEN_FDS=<n>, LISTEN_FDNAMES=<name:name...>   sockets are fds 3, 4, ...
    NOTIFY_SOCKET=<path, or @name for an abstract one>    datagrams go there, lines of KEY=VALUE:
        READY=1, STOPPING=1, STATUS=<a line for `systemctl status`>, WATCHDOG=1
    WATCHDOG_USEC=<microseconds>, WATCHDOG_PID=<pid>   so long without WATCHDOG=1, and we are killed

The variables are taken out of the environment, so that no child takes them for its own.
"""

import os
import socket
from collections.abc import Callable, MutableMapping
from typing import Any

from attrs import define, frozen
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

_log = Logger()

FIRST_FD = 3


@frozen
class HandedOver:
    """A listening socket that systemd holds."""

    fd: int
    family: int


def handed_over(environment: MutableMapping[str, str], pid: int) -> list[tuple[str, HandedOver]]:
    """List the sockets that were handed over to this process, with names; takes the variables away.

    LISTEN_PID and LISTEN_FDS may be gone already: Twisted takes them when its endpoints are
    imported, where they are for this process (twisted.python.systemd.ListenFDs). The names stay.
    """
    wanted, names = environment.pop("LISTEN_PID", ""), environment.pop("LISTEN_FDNAMES", "")
    environment.pop("LISTEN_FDS", None)
    if wanted not in ("", str(pid)) or not names:
        return []
    found = []
    for fd, name in enumerate(names.split(":"), FIRST_FD):
        family = _family(fd)
        if family is not None:
            found.append((name, HandedOver(fd, family)))
    return found


def _family(fd: int) -> int | None:
    """A socket's address family; None for what is no socket."""
    try:
        with socket.socket(fileno=os.dup(fd)) as listening:
            return listening.family
    except OSError:
        return None


@frozen
class Reporter:
    """Reports how this process does; where nobody listens, nothing is sent."""

    send: Callable[[bytes], None] = lambda _lines: None
    watchdog: float = 0.0
    """Seconds within which whoever listens wants to hear of us; 0: they do not watch."""

    def ready(self) -> None:
        """Report that the service can be used."""
        self.send(b"READY=1")

    def stopping(self) -> None:
        """Report that the service is on its way down."""
        self.send(b"STOPPING=1")

    def alive(self) -> None:
        """Report that the service is well."""
        self.send(b"WATCHDOG=1")

    def status(self, text: str) -> None:
        """Report a line for `systemctl status`."""
        self.send(b"STATUS=" + text.replace("\n", " ").encode(errors="replace"))


def reporter_of(environment: MutableMapping[str, str], pid: int) -> Reporter:
    """Make what reports to systemd, if it wants that; takes the variables away."""
    path = environment.pop("NOTIFY_SOCKET", "")
    period, watched = environment.pop("WATCHDOG_USEC", ""), environment.pop("WATCHDOG_PID", "")
    if not path.startswith(("/", "@")):
        return Reporter()
    is_watched = period.isdecimal() and watched in ("", str(pid))
    return Reporter(_sender(path), int(period) / 1e6 if is_watched else 0.0)


def _sender(path: str) -> Callable[[bytes], None]:
    address = "\0" + path[1:] if path.startswith("@") else path

    def send(lines: bytes) -> None:
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as sock:
                sock.sendto(lines, address)
        except OSError as error:  # systemd is busy or away: it will hear the next one
            _log.debug("Could not tell systemd {lines}: {error}", lines=lines, error=error)

    return send


@define(eq=False)
class Beats:
    """Reports four times in the watchdog's period that all is well, for as long as it is."""

    reporter: Reporter
    is_well: Callable[[], bool]
    status: Callable[[], str]
    clock: Any
    _loop: LoopingCall | None = None

    def start(self) -> None:
        """Begin; without a watchdog only the status line is kept up to date."""
        self._loop = LoopingCall(self._beat)
        self._loop.clock = self.clock
        self._loop.start(self.reporter.watchdog / 4 or 10.0)

    def stop(self) -> None:
        """Stop, and report why nothing more will be heard."""
        if self._loop is not None and self._loop.running:
            self._loop.stop()
        self.reporter.stopping()

    def _beat(self) -> None:
        try:
            self.reporter.status(self.status())
        except Exception:  # a LoopingCall stops for good at its first error
            _log.failure("Could not make the status line")
        if self.reporter.watchdog and self.is_well():
            self.reporter.alive()
