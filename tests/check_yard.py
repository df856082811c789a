"""A working stack for the check, every part of which a test can break: sandbox, guard, proxies."""

import secrets
import sqlite3
import time
from collections.abc import Callable
from email.utils import formatdate
from pathlib import Path
from typing import Any

import treq
from attrs import define, field
from klein import Klein
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from lotus_guard.check.all import look_around, look_still
from lotus_guard.check.ask import CheckContext
from lotus_guard.check.finding import Finding, Level
from lotus_guard.core.webhook import Forged, read_event
from lotus_guard.neighbours.agents import pooled_agents
from lotus_guard.neighbours.http import Http
from lotus_guard.overload.http_limits import BoundedRequest, QuietSite
from lotus_guard.sandbox.livekit_webhooks import webhook_poster
from lotus_guard.sandbox.stack import KEY, SECRET
from tests.real.processes import free_port
from tests.world import World

reactor: Any = _reactor
PREFIX = "/livekit/jwt"
PUSH_SECRET = "a-push-secret-for-tests-0123456789"
OUTSIDE, PUBLIC = "127.0.0.2", "127.0.0.3"
"""Loopback addresses that stand for the machine's own and for the public one."""


class Proxy(Resource):
    """A reverse proxy with a fault to choose. By default: prefix stripped, slashes merged."""

    isLeaf = True

    def __init__(self, target: str, prefix: str = "") -> None:
        super().__init__()
        self.target, self.prefix = target, prefix
        self.strips = self.merges = True
        self.redirects_slashes = False
        self.only: tuple[str, ...] = ()
        self.cors: Callable[[BoundedRequest, int, list[str]], list[str]] | None = None
        """Gets the request, the status and Access-Control-Allow-Origin; gives what to send."""
        self.names: tuple[str, ...] = ("X-Forwarded-For", "X-Real-IP")
        """The headers in which it says for whom it asks."""
        self.hides = False
        """Whether it drops what a client says of himself."""
        self.outer = ""
        """Sets X-Real-IP to that, as an outer proxy does whose word is handed on."""
        self.skew = 0.0
        self.page: tuple[int, bytes] | None = None
        """What is answered to everything."""

    def render(self, request: BoundedRequest) -> int:
        ensureDeferred(self._serve(request)).addErrback(lambda _: request.loseConnection())
        return NOT_DONE_YET

    async def _serve(self, request: BoundedRequest) -> None:
        path = request.uri.decode()
        if "//" in path and self.redirects_slashes:
            return self._finish(request, 301, {b"Location": [b"/"]}, b"")
        if self.merges:
            path = path.replace("//", "/")
        bare = path.removeprefix(self.prefix)
        if self.page or not path.startswith(self.prefix) or (self.only and bare not in self.only):
            status, body = self.page or (404, b"<html>\x1b[31mnothing here</html>")
            return self._finish(request, status, {b"Content-Type": [b"text/html"]}, body)
        sent = Headers(dict(request.requestHeaders.getAllRawHeaders()))
        for framing in ("Content-Length", "Host", "Connection"):
            sent.removeHeader(framing)
        if self.hides:
            sent.removeHeader("X-Real-IP")
            sent.removeHeader("X-Forwarded-For")
        for name in self.names:
            sent.setRawHeaders(name, [request.getClientAddress().host])
        if self.outer:
            sent.setRawHeaders("X-Real-IP", [self.outer])
        response = await treq.request(
            request.method.decode(),
            self.target + (bare if self.strips else path),
            data=request.content.read(),
            headers=sent,
            agent=Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False)),
            allow_redirects=False,
            unbuffered=True,
        )
        body = await treq.content(response)
        headers = dict(response.headers.getAllRawHeaders())
        return self._finish(request, response.code, headers, body)

    def _finish(
        self, request: BoundedRequest, status: int, headers: dict[bytes, list[bytes]], body: bytes
    ) -> None:
        request.setResponseCode(status)
        for name, values in headers.items():
            if name.lower() not in (b"content-length", b"transfer-encoding", b"connection"):
                request.responseHeaders.setRawHeaders(name, values)
        if self.skew:
            request.setHeader("Date", formatdate(time.time() + self.skew, usegmt=True))
        if self.cors:
            allowed = "Access-Control-Allow-Origin"
            got: list[str] = list(request.responseHeaders.getRawHeaders(allowed, []))
            request.responseHeaders.setRawHeaders(allowed, self.cors(request, status, got))
        request.write(body)
        request.finish()


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
        import json

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
class Yard:
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
    patience: float = 0.5
    names: list[str] = field(factory=list)
    """The names that the check has given to what it made."""
    _ends: list[Callable[[], Any]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
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
        """Serve a resource; gives its address."""
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
        """Look at everything; gives the findings by name, and no secret is in any."""
        still = look_still(self.environment, self.livekit_config, time.time())
        findings = list(still.findings)
        if still.config is not None:
            agents = pooled_agents(reactor)
            upstream, livekit, synapse = (
                Http(agent, reactor) for agent in (agents.upstream, agents.livekit, agents.synapse)
            )
            means = CheckContext(
                config=still.config,
                upstream=upstream,
                livekit=livekit,
                synapse=synapse,
                clock=reactor,
                now=time.monotonic,
                epoch=time.time,
                new_name=self._new_name,
                addresses=self.addresses,
                public_url=self.public_url,
                user_token=self.user_token,
                patience=self.patience,
            )
            try:
                findings += await look_around(means, still.file)
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
