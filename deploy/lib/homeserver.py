"""The way behind the homeserver, which has to move along with lk-jwt-service.

Synapse hands requests for tokens on to the `proxy_url` of a registration, which it reads when it
starts and never again. So lk-jwt-service may move only once Synapse knows the guard's own port for
it: until then the guard serves that port alone (`waiting.conf`), with lk-jwt-service where it was.
"""

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from deploy.lib import files, registration
from deploy.lib.host import DROP_IN, GUARD, HOMESERVER_SOCKET, Host, Trouble
from deploy.lib.registration import KEY, Unclear, Way
from deploy.lib.trial import findings_of
from deploy.lib.unit import (
    Service,
    address,
    directives,
    environment_of,
    listen_stream,
    upstream_texts,
)

REGISTRATION, HS_TOKEN = "LIVEKIT_AS_REGISTRATION_FILE", "LIVEKIT_HS_TOKEN"
LISTEN = "LOTUS_GUARD_HOMESERVER_LISTEN"
DEFAULT_LISTEN = "tcp:8069:interface=127.0.0.1"
KNOWS = f"{GUARD}.d/homeserver.conf"
LISTENS = f"{HOMESERVER_SOCKET}.d/listen.conf"
ROUTE = "homeserver-route"
RESTART = "restart Synapse (on its host: systemctl restart matrix-synapse)"
UNKNOWN = f"lk-jwt-service is an application service, but its unit doesn't name {REGISTRATION}"
_KNOWS = """\
# Written by deploy/install: the homeserver's port, and what the homeserver proves itself by.
"""
_WANTS = f"""\
[Unit]
Wants={HOMESERVER_SOCKET}
"""
_LISTENS = f"""\
# Written by deploy/install, after {LISTEN}: what systemd hands over wins over that.
[Socket]
ListenStream=
ListenStream=%s
# The address may come later than this unit does.
FreeBind=yes
"""
_HEAD = "# Written by deploy/install: until lk-jwt-service moves, the guard serves Synapse alone.\n"
_WAITS = f"""\
{_HEAD}[Service]
ExecStart=
ExecStart=/bin/sh -c '[ -e /etc/systemd/system/{DROP_IN} ] || \
export LOTUS_GUARD_MODE=observe LOTUS_GUARD_LISTEN=tcp:0:interface=127.0.0.1 \
LOTUS_GUARD_UPSTREAM=%s; \
exec "$$@"' sh %s
"""
"""Inert where lk-jwt-service has moved, so that nothing has to change in the same moment. The guard
observes only: while it sees the half of all requests, it must refuse nobody."""


@dataclass(frozen=True)
class Door:
    """What the homeserver's port is to be on a host, as its files say it."""

    host: Host
    given: Mapping[str, str]
    """The operator's environment."""
    service: Service
    """As the guard's service is told so far."""

    @cached_property
    def _upstream(self) -> dict[str, str]:
        return environment_of(self.host, upstream_texts(self.host))

    @property
    def registration(self) -> str:
        """The registration's path on the host; empty where nobody names one."""
        own = self.service.environment.get(REGISTRATION, "")
        named = self.given.get(REGISTRATION) or self._upstream.get(REGISTRATION, "") or own
        below = str(self.host.root).rstrip("/")
        return named.removeprefix(below) if named.startswith("/") else ""

    @property
    def path(self) -> Path:
        """The registration's path from here."""
        return self.host.path(self.registration)

    @cached_property
    def _read(self) -> tuple[Way | None, str]:
        """The way, and why it cannot be told."""
        try:
            return registration.read_way(self.path.read_bytes()), ""
        except OSError as error:
            return None, f"{self.path} cannot be read ({error.strerror})"
        except Unclear as why:
            return None, f"{self.path}: {why}"

    @property
    def _way(self) -> Way:
        """The way, where somebody has seen that it can be told."""
        way = self._read[0]
        assert way is not None, "it was looked at before"
        return way

    @property
    def is_wanted(self) -> bool:
        """Return whether requests may come from a homeserver."""
        if self.service.environment.get(LISTEN) or self.given.get(LISTEN):
            return True
        if self.registration:
            return self._read != (None, "")  # without the line Synapse hands nothing on
        return any(self._upstream.get(name) for name in (REGISTRATION, HS_TOKEN))

    @property
    def values(self) -> dict[str, str]:
        """What the guard's environment file is to say of it."""
        if not self.is_wanted:
            return {}
        found = {LISTEN: self.given.get(LISTEN) or DEFAULT_LISTEN}
        token = self._upstream.get(HS_TOKEN)
        return found if self.registration or not token else {**found, HS_TOKEN: token}

    @property
    def _listen(self) -> str:
        return self.service.environment.get(LISTEN) or self.values.get(LISTEN, "")

    @property
    def url(self) -> str:
        """Where the guard listens for the homeserver."""
        return address(self._listen) or ""

    @property
    def _held(self) -> str:
        """What systemd is to listen on; empty where the guard has to do that itself."""
        return listen_stream(self._listen) or ""

    @property
    def listens(self) -> str:
        """The drop-in that tells the socket's unit another address; empty where it has the one."""
        is_own = self._held == listen_stream(DEFAULT_LISTEN)
        return _LISTENS % self._held if self._held and not is_own else ""

    @property
    def knows(self) -> str:
        """The drop-in by which the guard has its port for the homeserver, and the hs_token.

        The registration is a credential: the guard's own user cannot read it. Where it is away,
        neither lk-jwt-service nor the guard can be started.
        """
        head = _KNOWS + (_WANTS if self._held else "")
        own = self.service.environment
        told = own.get(HS_TOKEN) or own.get(REGISTRATION) not in (None, str(self.path))
        if told or not self.registration or not self.path.is_file():
            return head
        lines = f"LoadCredential=as-registration:{self.registration}\n"
        return f"{head}[Service]\n{lines}Environment={REGISTRATION}=%d/as-registration\n"

    def waits(self, texts: list[str]) -> str:
        """The drop-in by which the guard serves the homeserver alone."""
        command = directives([t for t in texts if not t.startswith(_HEAD)], "ExecStart")[-1]
        return _WAITS % (self.service.public, command)

    @property
    def is_led_here(self) -> bool:
        """Return whether the registration leads to the guard."""
        way = self._read[0]
        return way is not None and way.led_to(self.url) == way.line

    @property
    def by_hand(self) -> str:
        """Say what the operator has to change in a registration themselves; empty: nothing."""
        way, trouble = self._read if self.registration else (None, UNKNOWN)
        line = f"`{KEY}: {self.url}` in the registration that Synapse reads"
        if trouble or way is None:
            return f"{trouble or f'{self.path} has no {KEY}'}. By hand: {line}"
        if not self.url:
            return (
                f"{LISTEN} is not a TCP port. By hand: {KEY} in the registration that Synapse reads"
            )
        if self.is_led_here or self._leads_to_upstream(way):
            return ""
        text = f"{self.path} leads to {way.url}, which is not lk-jwt-service on loopback"
        if not way.is_loopback and registration.is_ours(way.host):
            text += f". By hand: {LISTEN}=tcp:8069:interface={way.host} for the guard, if no "
            return f"{text}stranger can reach that address, and port 8069 in that line"
        return f"{text}. By hand, if it ends there: {line}"

    def _leads_to_upstream(self, way: Way) -> bool:
        ports = {_port(self.service.public), _port(self.service.upstream)}
        return way.is_loopback and way.port in ports

    @property
    def is_recorded(self) -> bool:
        """Return whether deploy/revert knows the line that leads here."""
        way = self._read[0]
        return way is not None and registration.is_recorded(self.host, self.path, way.line)

    def write_record(self) -> None:
        """Write down for deploy/revert what led to lk-jwt-service, or would have."""
        way = self._way
        back = way.with_port(_port(self.service.public))
        registration.write_record(self.host, self.path, back, way.led_to(self.url))

    def forget_record(self) -> None:
        """Undo that."""
        files.remove(registration.record(self.host))

    def lead_here(self) -> None:
        """Let the registration lead to the guard; raises Trouble."""
        way = self._way
        try:
            self.write_record()
            registration.replace_line(self.path, way.line, way.led_to(self.url))
        except (OSError, Unclear) as error:
            raise Trouble(f"{self.path} cannot be changed: {error}") from None

    def lead_back(self) -> None:
        """Undo that."""
        way = self._way
        with suppress(Unclear):  # it had not come so far
            registration.replace_line(self.path, way.led_to(self.url), way.line)
        self.forget_record()


def _port(base: str | None) -> int:
    return Way(f"{KEY}: {base}".encode()).port if base else 0


def led_astray(release: Path, env: Mapping[str, str]) -> str:
    """Ask Synapse, as a user, whether it hands on to the guard; gives what it does instead."""
    for finding in findings_of(release, env):
        if finding["name"] == ROUTE:
            return "" if finding["level"] == "ok" else finding["seen"]
    return "that release cannot tell where Synapse forwards requests"
