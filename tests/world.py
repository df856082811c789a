"""A guard in this process, on real sockets, in front of the sandbox or of broken neighbours."""

import base64
import json
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import treq
from attrs import define, field, frozen
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.protocol import Factory, Protocol
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.iweb import IResponse

from lotus_guard.neighbours.agents import pooled_agents
from lotus_guard.rules import RULES, Rules
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import Config, read_config
from lotus_guard.run.guard import Guard, make_guard
from lotus_guard.sandbox.site import sandbox_site
from lotus_guard.sandbox.stack import Addresses, Sandbox
from lotus_guard.web.door import DoorSite
from lotus_guard.web.operators import OperatorsSite
from tests.real.processes import free_port

reactor: Any = _reactor
DEADLINE = 0.3
"""Seconds; for tests in which something hangs. The others have more, for a loaded machine."""
FAST = {"LOTUS_GUARD_DEADLINE": str(DEADLINE)}


@frozen
class Got:
    """An answer, read to its end."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def claims(self) -> Any:
        payload = self.json()["jwt"].split(".")[1]
        return json.loads(base64.b64decode(payload + "=" * (-len(payload) % 4), validate=True))

    @property
    def sources(self) -> Any:
        return self.claims["video"].get("canPublishSources")


class Faulty(Protocol):
    """A server that does one thing, whatever it is asked."""

    answer: bytes | None = None
    abort = False

    def dataReceived(self, data: bytes) -> None:
        if self.abort:
            self.transport.abortConnection()  # type: ignore[union-attr]
        elif self.answer is not None:
            self.transport.write(self.answer)  # type: ignore[union-attr]


@define(eq=False)
class World:
    """The sandbox, a guard in front of it, and a client."""

    directory: Path
    sandbox: Sandbox = field(init=False)
    guard: Guard = field(init=False)
    rules: Rules = RULES
    config: Config = field(init=False)
    url: str = ""
    homeserver: str = ""
    """The homeserver's port."""
    operators: str = ""
    """The operators' port."""
    _ends: list[Callable[[], Any]] = field(factory=list)

    def __attrs_post_init__(self) -> None:
        ports = [f"http://127.0.0.1:{free_port()}" for _ in range(3)]
        pool = HTTPConnectionPool(reactor, persistent=False)
        self.sandbox = Sandbox(Agent(reactor, pool=pool), time.time, Addresses(*ports), self.rules)
        for address, resource in self.sandbox.resources().items():
            self._listen(int(address.rpartition(":")[2]), sandbox_site(resource))

    def start_guard(self, redis: Any = None, by: Any = None, **settings: str) -> None:
        """Start the guard; its live loop runs only when a test runs it.

        `redis` stands for the Redis that the settings name; `by` may change how it reaches others.
        """
        environment = {
            **self.sandbox.environment(),
            "LOTUS_GUARD_STATE": str(self.directory / "state.sqlite"),
            "LOTUS_GUARD_DEADLINE": "5.0",
            "LOTUS_GUARD_POLICY_MAX_AGE": "0",
            "LOTUS_GUARD_MEMBERS": "off",  # most tests are about other rules
            **settings,
        }
        agents = pooled_agents(reactor)
        agents = by(agents) if by else agents
        clocks = Clocks(reactor, time.monotonic, time.time)
        self.config = read_config(environment)
        self.guard = make_guard(self.config, clocks, agents, redis=redis, rules=self.rules)
        self.guard.live.room_pass.stage.chance = lambda: 60.0  # no look comes between two passes
        self.guard.memory.open()
        port = self._listen(0, DoorSite(self.guard.public.door, self.guard.public.connections))
        self.url = f"http://127.0.0.1:{port}"
        if self.config.homeserver_listen:
            door = self.guard.homeserver
            port = self._listen(0, DoorSite(door.door, door.connections))
            self.homeserver = f"http://127.0.0.1:{port}"
            self.sandbox.behind(self.homeserver)
        site = OperatorsSite(self.guard.operators)
        self.operators = f"http://127.0.0.1:{self._listen(0, site)}"
        self._ends += [self.guard.memory.cluster.store.close, agents.close]

    def serve(self, answer: bytes | None = None, abort: bool = False) -> str:
        """Start a faulty neighbour; returns its address."""
        factory = Factory.forProtocol(Faulty)
        Faulty.answer = None

        def build(_address: object) -> Faulty:
            protocol = Faulty()
            protocol.answer, protocol.abort = answer, abort
            return protocol

        factory.buildProtocol = build  # type: ignore[method-assign,assignment]
        return f"http://127.0.0.1:{self._listen(0, factory)}"

    def _listen(self, port: int, factory: Any) -> int:
        listening = reactor.listenTCP(port, factory, backlog=4096, interface="127.0.0.1")
        self._ends.append(listening.stopListening)
        number: int = listening.getHost().port
        return number

    def stop(self) -> Deferred[Any]:
        return gatherResults([end() for end in reversed(self._ends) if end is not None] or [])

    async def request(
        self,
        method: str,
        path: str,
        body: bytes = b"",
        headers: Mapping[str, str] | None = None,
        base: str = "",
    ) -> Got:
        """Make a request of the guard, or of `base`."""
        response: IResponse = await treq.request(
            method,
            (base or self.url) + path,
            data=body,
            headers=Headers({name: [value] for name, value in (headers or {}).items()}),
            agent=Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False)),
            allow_redirects=False,
            browser_like_redirects=False,
        )
        found = {
            name.decode(): b", ".join(values).decode()
            for name, values in response.headers.getAllRawHeaders()
        }
        return Got(response.code, found, await treq.content(response))

    async def ask(
        self, name: str, room: str, endpoint: str = "/sfu/get", base: str = "", **more: Any
    ) -> Got:
        """Ask for a token."""
        return await self.request(
            "POST", endpoint, token_request(name, room, endpoint, **more), base=base
        )

    def fail_opens(self) -> dict[tuple[str, str], float]:
        """Count the fail-opens by rule and reason."""
        found = {}
        for metric in self.guard.metrics.rules.fail_open.collect():
            for sample in metric.samples:
                if sample.name.endswith("_total"):
                    found[sample.labels["rule"], sample.labels["reason"]] = sample.value
        return found


def token_request(
    name: str,
    room: str,
    endpoint: str = "/sfu/get",
    device: str = "PHONE",
    slot: str = "m.call#ROOM",
    member: str = "m1",
) -> bytes:
    openid = {"access_token": f"openid-{name}", "matrix_server_name": "sandbox"}
    if endpoint == "/sfu/get":
        return json.dumps({"room": room, "openid_token": openid, "device_id": device}).encode()
    who = {"id": member, "claimed_user_id": f"@{name}:sandbox", "claimed_device_id": device}
    fields = {"room_id": room, "slot_id": slot, "openid_token": openid, "member": who}
    return json.dumps(fields).encode()


def http_answer(body: bytes, status: str = "200 OK", length: int | None = None) -> bytes:
    """Write a raw HTTP answer, with a length that need not be true."""
    return (
        f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
        f"Content-Length: {len(body) if length is None else length}\r\n\r\n"
    ).encode() + body
