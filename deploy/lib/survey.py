"""A look at everything before anything is built, so that all that is in the way is said at once."""

import importlib.util
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches
from ipaddress import ip_address
from typing import TypeVar
from urllib.parse import urlsplit

from deploy.lib import probe
from deploy.lib.host import GUARD, SOCKET, UPSTREAM, Exit, Host, Trouble, say
from deploy.lib.obstacles import runs_in_a_container
from deploy.lib.ports import Listener, Ports
from deploy.lib.unit import Service, environment_of, upstream_texts
from lotus_guard.core.server_url import url_fault

T = TypeVar("T")
PREFIX = "LOTUS_GUARD_"
PLAYBOOK = "matrix-livekit-jwt-service.service"
"""How matrix-docker-ansible-deploy calls the unit of lk-jwt-service."""
PUBLIC, INTERNAL = "LIVEKIT_URL", "LOTUS_GUARD_LIVEKIT_URL"
ADDRESSES = {PUBLIC, INTERNAL, "LOTUS_GUARD_SYNAPSE_URL", "LOTUS_GUARD_UPSTREAM"}
MODES = ("enforce", "observe")
USUAL = ":8080"
"""Where lk-jwt-service listens if nobody tells it otherwise."""


class Survey:
    """Looks at one thing after the other, and keeps what is in the way."""

    def __init__(self) -> None:
        self._found: list[Trouble] = []

    def look(self, at: Callable[[], T]) -> T | None:
        """Look at one thing; gives what that gives, or None where something is in the way."""
        try:
            return at()
        except Trouble as trouble:
            self._found.append(trouble)
            return None

    def add(self, troubles: Iterable[Trouble]) -> None:
        """Keep what somebody else has seen."""
        self._found += troubles

    def end(self) -> None:
        """Raise Trouble with all that is in the way, should there be anything."""
        if not self._found:
            return
        if len(self._found) == 1:
            raise self._found[0]
        for trouble in self._found:
            say(f"- {trouble}")
        text = f"{len(self._found)} things are in the way (above); nothing was changed"
        raise Trouble(text, self._found[0].code)


def demand_known_names(names: set[str], known: set[str]) -> None:
    """Raise Trouble where a setting of the guard's is misspelt."""
    wrong = sorted(name for name in names - known if name.startswith(PREFIX))
    if wrong:
        raise Trouble("; ".join(_misspelt(name, known) for name in wrong), Exit.USAGE)


def _misspelt(name: str, known: set[str]) -> str:
    near = get_close_matches(name, known, 1)
    return f"unknown setting {name}" + (f" (did you mean {near[0]}?)" if near else "")


def demand_sound_values(values: Mapping[str, str]) -> None:
    """Raise Trouble where the guard could not use an address or its mode.

    Only what Python alone can judge: the guard's own check of all settings needs it to be built.
    """
    wrong, names = [], ADDRESSES & values.keys()
    if INTERNAL in names:
        names.discard(PUBLIC)  # that one is for clients alone, then
    for name in names:
        url = values[name]
        if name in (PUBLIC, INTERNAL) and url.startswith(("ws://", "wss://")):
            url = "http" + url.removeprefix("ws")
        fault = url_fault(url)
        if fault:  # with a password in it, nothing of it is shown
            wrong.append(f"{name} {'is not valid' if '@' in url else fault}")
    mode = values.get("LOTUS_GUARD_MODE", "enforce")
    if mode not in MODES:
        wrong.append(f"LOTUS_GUARD_MODE is {mode!r}; wanted: {' or '.join(MODES)}")
    if wrong:
        raise Trouble("; ".join(sorted(wrong)), Exit.USAGE)


def demand_pip(host: Host, module: str = "ensurepip") -> None:
    """Raise Trouble where no virtual environment can be made; one for pip may be there already."""
    if not (host.opt / "tools").is_dir() and importlib.util.find_spec(module) is None:
        text = "this Python cannot make virtual environments with pip. "
        raise Trouble(f"{text}Fix: apt-get install python3-venv (on Debian)", Exit.NOT_NOW)


class Neighbours:
    """Who has the ports that the guard needs, and where lk-jwt-service is."""

    def __init__(self, host: Host, service: Service, homeserver: str, ports: Ports) -> None:
        self._host, self._service, self._ports = host, service, ports
        self._homeserver = homeserver

    def upstream(self) -> str:
        """Return where lk-jwt-service answers; raises Trouble where it cannot be moved."""
        service = self._service
        self._refuse_a_container()
        for base in (service.upstream, service.public or ""):
            if base and probe.is_upstream(base):
                self._demand_the_unit(base)
                return base
        raise Trouble(self._silence(), Exit.NOT_NOW)

    def _refuse_a_container(self) -> None:
        """Raise Trouble where what is to be moved is in a container: no drop-in reaches inside."""
        playbook = upstream_texts(self._host, PLAYBOOK)
        page = "docs/matrix-docker-ansible-deploy.md" if playbook else "docs/install-containers.md"
        wanted = f"this command cannot move it. Fix: put the guard beside it as {page} says"
        if playbook or runs_in_a_container(upstream_texts(self._host)):
            unit = PLAYBOOK if playbook else UPSTREAM
            raise Trouble(f"{unit} runs lk-jwt-service in a container: {wanted}", Exit.USAGE)
        for base in (self._service.public, self._service.upstream):
            who = self._holder(base)
            if who and who.is_container:
                text = f"a container has port {who.port}: {who}. If that is lk-jwt-service, "
                raise Trouble(text + wanted, Exit.USAGE)

    def _demand_the_unit(self, base: str) -> None:
        if self._host.systemctl_command and not self._host.is_active(UPSTREAM):
            who = self._holder(base)
            text = f"lk-jwt-service answers at {base}{f' ({who})' if who else ''}, but {UPSTREAM} "
            text += "is not running, so this command cannot move it. Fix: run it as that unit, "
            text += "or put the guard beside it as a container (docs/install-containers.md)"
            raise Trouble(text, Exit.USAGE)

    def _silence(self) -> str:
        """Say that lk-jwt-service is not there, and where it is instead."""
        service = self._service
        text = f"lk-jwt-service answers neither at {service.public} nor at {service.upstream}"
        found = environment_of(self._host, upstream_texts(self._host))
        bind = found.get("LIVEKIT_JWT_BIND") or f":{found.get('LIVEKIT_JWT_PORT') or USUAL[1:]}"
        elsewhere = f"http://127.0.0.1:{bind.rpartition(':')[2]}"
        if not probe.is_upstream(elsewhere):
            return f"{text}. Fix: start it (systemctl status {UPSTREAM})"
        port = urlsplit(service.public or "").port
        return (
            f"{text}, but at {elsewhere}. Fix: move it to port {port} first, which the guard "
            f"then takes over (LIVEKIT_JWT_BIND=:{port}, and the same port in your reverse proxy)"
        )

    def taken(self, upstream: str | None) -> Iterator[Trouble]:
        """Give each port that the guard needs and somebody else has.

        `upstream` is where lk-jwt-service answers: it may.
        """
        if any(self._host.is_active(unit) for unit in (GUARD, SOCKET)):
            return  # the ports are the guard's own
        service = self._service
        wanted = {
            service.public: ("the guard's public port", "LOTUS_GUARD_LISTEN"),
            service.upstream: ("for lk-jwt-service behind the guard", "LOTUS_GUARD_UPSTREAM"),
            service.operators: ("the operators' port", "LOTUS_GUARD_ADMIN_LISTEN"),
            self._homeserver: ("the homeserver's port", "LOTUS_GUARD_HOMESERVER_LISTEN"),
        }
        for base, (what, setting) in wanted.items():
            who = self._holder(base)
            if who and base != upstream:
                text = f"port {who.port} ({what}) is taken by {who}. Fix: stop that"
                yield Trouble(f"{text}, or set another port in {setting}", Exit.NOT_NOW)

    def _holder(self, base: str | None) -> Listener | None:
        parts = urlsplit(base or "")
        try:
            address = ip_address((parts.hostname or "").replace("localhost", "127.0.0.1"))
        except ValueError:  # upstream is on another machine, whose ports are its own business
            return None
        return self._ports.on(parts.port or 80, address)
