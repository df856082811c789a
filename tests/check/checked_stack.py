"""A working stack for the check, every part of which a test can break: sandbox, guard, proxy."""

import json
import secrets
import sqlite3
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest_twisted
from attrs import define, field
from klein import Klein
from twisted.internet.defer import Deferred
from twisted.web.client import Agent, HTTPConnectionPool

from lotus_guard.check.all import check_offline, check_online
from lotus_guard.check.context import CheckContext, CheckOptions, clients_over
from lotus_guard.check.finding import Finding, Level
from lotus_guard.core.webhook import Forged, read_event
from lotus_guard.neighbours.agents import pooled_agents
from lotus_guard.overload.http_limits import BoundedRequest, QuietSite
from lotus_guard.run.clocks import clocks_of
from lotus_guard.run.config import read_config
from lotus_guard.sandbox.generation import RUST
from lotus_guard.sandbox.livekit_webhooks import webhook_poster
from lotus_guard.sandbox.stack import KEY, SECRET
from tests.check.proxy import Proxy
from tests.real.processes import free_port
from tests.world import World, reactor

PREFIX = "/livekit/jwt"
PUSH_SECRET = "a-push-secret-for-tests-0123456789"
OUTSIDE, PUBLIC = "127.0.0.2", "127.0.0.3"
"""Loopback addresses that stand for the machine's own and for the public one."""


class OperatorsPort:
    """As much of the operators' port as the check asks, over plain state."""

    app = Klein()

    def __init__(self, key: str = KEY, secret: str = SECRET) -> None:
        self._key, self._secret = key, secret
        self.genuine = self.forged = 0
        self.is_old = False
        self.pushes: dict[str, Any] = {"taken": 3, "refused": 0, "refused_age": None}
        self.states: dict[str, dict[str, Any]] = {
            name: {"name": name, "state": "ok", "age": 1.0, "detail": ""}
            for name in ("store", "loop", "pushes", "webhooks")
        }

    @app.route("/readyz", methods=["GET"])
    def readyz(self, request: BoundedRequest) -> Any:
        if self.is_old:
            request.setResponseCode(404)
            return b"<html>404</html>"
        return json.dumps(
            {
                "guard": {"pid": 1},
                "dependencies": list(self.states.values()),
                "webhooks": {"genuine": self.genuine, "forged": self.forged},
                "pushes": self.pushes,
            }
        ).encode()

    @app.route("/webhook", methods=["POST"])
    def webhook(self, request: BoundedRequest) -> bytes:
        header = str(request.getHeader("Authorization") or "")
        try:
            read_event(request.content.read(), header, self._key, self._secret)
            self.genuine += 1
        except Forged:
            self.forged += 1
        return b""


@define(eq=False)
class CheckedStack:
    """The stack, the environment of its guard, and what the check is told."""

    world: World
    directory: Path
    operators: OperatorsPort = field(factory=OperatorsPort)
    public: Proxy = field(init=False)
    environment: dict[str, str] = field(init=False)
    public_url: str = field(init=False)
    user_token: str = "alice"
    addresses: tuple[str, ...] = (OUTSIDE,)
    livekit_config: Path | None = None
    webhook_seconds: float = 2.0
    names: list[str] = field(factory=list)
    """The names that the check has given to what it made."""
    _ends: list[Callable[[], Any]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        self.world.sandbox.authorization.generation = RUST  # the older one is a warning
        self.world.start_guard()
        self.public = Proxy(self.world.url, PREFIX)
        self.public_url = self.serve(self.public, PUBLIC) + PREFIX
        admin = self.serve(self.operators.app.resource())
        secret = self.directory / "secret"
        secret.write_text(SECRET)
        secret.chmod(0o600)
        self.environment = {
            **self.world.sandbox.environment(),
            "LOTUS_GUARD_LISTEN": f"tcp:{port_of(self.world.url)}:interface=127.0.0.1",
            "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{port_of(admin)}:interface=127.0.0.1",
            "LOTUS_GUARD_STATE": str(self.directory / "state.sqlite"),
            "LOTUS_GUARD_PUSH_SECRET": PUSH_SECRET,
            "LIVEKIT_SECRET_FROM_FILE": str(secret),
        }
        self.post_webhooks(f"{admin}/webhook")
        self.beat("one", time.time() - 30.0)

    @property
    def admin(self) -> str:
        return f"http://127.0.0.1:{self.environment['LOTUS_GUARD_ADMIN_LISTEN'].split(':')[1]}"

    def serve(self, resource: Any, interface: str = "127.0.0.1", port: int | None = None) -> str:
        """Serve a resource; returns its address."""
        site = QuietSite(resource, requestFactory=BoundedRequest)
        listening = reactor.listenTCP(port or free_port(), site, interface=interface)
        self._ends.append(listening.stopListening)
        return f"http://{interface}:{listening.getHost().port}"

    def before(self, variable: str) -> Proxy:
        """Put a proxy in front of a neighbour, as this variable names it."""
        proxy = Proxy(self.environment[variable])
        self.environment[variable] = self.serve(proxy)
        return proxy

    def post_webhooks(self, *urls: str, key: str = KEY, secret: str = SECRET) -> None:
        """Let LiveKit post its webhooks there and nowhere else."""
        agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))
        post = webhook_poster(agent, urls, key, secret, time.time)
        self.world.sandbox.sfu.listeners = [post]

    def beat(self, instance: str, at: float) -> None:
        """Write a guard's sign of life, as the contract has it."""
        connection = sqlite3.connect(self.environment["LOTUS_GUARD_STATE"])
        with connection:
            connection.execute(
                "CREATE TABLE IF NOT EXISTS guard "
                "(instance TEXT PRIMARY KEY, pid INTEGER, listen TEXT, beat REAL)"
            )
            row = (instance, 4711, "tcp:8070", at)
            connection.execute("INSERT OR REPLACE INTO guard VALUES (?, ?, ?, ?)", row)
        connection.close()

    async def check(self) -> dict[str, Finding]:
        """Make all checks; returns the findings by name, and no secret is in any."""
        report = check_offline(self.environment, self.livekit_config, time.time())
        findings = list(report.findings)
        if report.config is not None:
            agents = pooled_agents(reactor)
            context = CheckContext(
                config=report.config,
                http=clients_over(agents, reactor),
                clocks=clocks_of(reactor),
                options=CheckOptions(self.public_url, self.user_token, self.webhook_seconds),
                new_name=self._new_name,
                addresses=self.addresses,
                livekit_file=report.livekit_file,
            )
            try:
                findings += await check_online(context)
            finally:
                await agents.close()
        said = "".join(f.seen + f.wanted for f in findings)
        assert not any(secret in said for secret in (SECRET, PUSH_SECRET, "sandbox-admin"))
        assert said.isprintable()
        found = {finding.name: finding for finding in findings}
        assert len(found) == len(findings) or Level.FAULT in {f.level for f in findings}
        return found

    def _new_name(self) -> str:
        self.names.append(secrets.token_hex(4))
        return self.names[-1]

    async def stop(self) -> None:
        for end in self._ends:
            done: Deferred[Any] | None = end()
            if done is not None:
                await done


def port_of(url: str) -> int:
    return int(url.rpartition(":")[2])


def context_of(stack: CheckedStack) -> CheckContext:
    """What a check is handed on this stack, with no options."""
    agents = pooled_agents(reactor)
    config = read_config(stack.environment)
    return CheckContext(
        config, clients_over(agents, reactor), clocks_of(reactor), CheckOptions(), lambda: "x"
    )


@contextmanager
def checked_stack(world: World, directory: Path) -> Iterator[CheckedStack]:
    """A stack for one test."""
    made = CheckedStack(world, directory)
    yield made
    pytest_twisted.blockon(Deferred.fromCoroutine(made.stop()))
