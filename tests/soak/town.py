"""What a soak runs on: real livekit-server, real Redis, real guards; Synapse and lk-jwt-service are
the sandbox's, in this process, because a real Synapse would leave two cores to nobody else.

Only what the guards see of Synapse can be broken; lk-jwt-service's own way to it stays whole.
"""

import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import deferLater
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET

from lotus_guard.neighbours.bodies import BytesBody
from lotus_guard.sandbox.authorization import AuthorizationApp
from lotus_guard.sandbox.authorization_clients import room_maker, userinfo_over
from lotus_guard.sandbox.authorization_state import AuthorizationState, Issuer
from lotus_guard.sandbox.site import sandbox_site
from lotus_guard.sandbox.stack import Addresses, Sandbox
from lotus_guard.sandbox.synapse import SynapseApp
from tests.events import SOURCES_EVENT
from tests.real.processes import ROOT, Process, free_port
from tests.real.redis import redis_server
from tests.real.sfu import KEY, SECRET, LiveKit

reactor: Any = _reactor
TWISTD = str(Path(sys.executable).with_name("twistd"))


class Moody(Resource):
    """Synapse as the guards see it: well, hanging or failing."""

    isLeaf = True

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self._inner = inner
        self.mood = "well"

    def render(self, request: Any) -> Any:
        """Answer as the mood is."""
        if self.mood == "hangs":
            return NOT_DONE_YET
        # PostgreSQL keeps no NUL, so that Synapse fails for a room named so (docs/facts.md,
        # Synapse: admin API).
        if self.mood == "fails" or b"%00" in request.uri:
            request.setResponseCode(500)
            return b"{}"
        return self._inner.render(request)


class Relay(Resource):
    """LiveKit's webhooks on their way to a guard: handed on, dropped, doubled or delayed."""

    isLeaf = True

    def __init__(self, choose: Callable[[], str]) -> None:
        super().__init__()
        self._choose = choose
        self._agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))
        self.mode = "handed on"
        self.is_on = True

    def render_POST(self, request: Any) -> bytes:
        """Hand a webhook on; whatever comes of it, LiveKit hears that it is fine."""
        if self.is_on and self.mode != "dropped":
            for _ in range(2 if self.mode == "doubled" else 1):
                wait = 2.0 if self.mode == "delayed" else 0.0
                body, token = request.content.getvalue(), request.getHeader("Authorization") or ""
                ensureDeferred(self._hand_on(body, token, wait)).addErrback(lambda _: None)
        return b""

    async def _hand_on(self, body: bytes, token: str, wait: float) -> None:
        await deferLater(reactor, wait, lambda: None)
        headers = {"Authorization": [token], "Content-Type": ["application/webhook+json"]}
        target = f"{self._choose()}/sfu_webhook".encode()
        await self._agent.request(b"POST", target, Headers(headers), BytesBody(body))


@define(eq=False)
class Town:
    """All that runs."""

    directory: Path
    rooms: int
    guards: int
    settings: dict[str, str]
    hostile: int
    """How many hostile clients have rooms of their own."""
    choose: Callable[[], str]
    """Gives a guard's URL for a webhook."""
    sandbox: Sandbox = field(init=False)
    livekit: LiveKit = field(init=False)
    redis: Process = field(init=False)
    synapse: Moody = field(init=False)
    relay: Relay = field(init=False)
    upstream: str = field(init=False)
    processes: list[Process] = field(factory=list)

    def build(self) -> None:
        """Start everything; called in the reactor's thread."""
        ports = [free_port() for _ in range(4)]
        urls = [f"http://127.0.0.1:{port}" for port in ports]
        self.relay = Relay(self.choose)
        self.livekit = LiveKit(self.directory, [urls[3]])
        self.livekit.start()
        agent = Agent(reactor, pool=HTTPConnectionPool(reactor, persistent=False))
        self.sandbox = Sandbox(agent, time.time, Addresses(urls[0], self.livekit.api, urls[1]))
        authorization = AuthorizationState(
            Issuer(KEY, SECRET, self.livekit.url, time.time),
            userinfo_over(agent, lambda _server: urls[2]),
            room_maker(agent, self.livekit.api, KEY, SECRET),
        )
        synapse = SynapseApp(self.sandbox.homeserver).app.resource()
        self.upstream = urls[0]
        self.synapse = Moody(synapse)
        resources = (
            AuthorizationApp(authorization).resource(),
            self.synapse,
            synapse,
            self.relay,
        )
        for port, resource in zip(ports, resources, strict=True):
            site = sandbox_site(resource)
            reactor.listenTCP(port, site, backlog=512, interface="127.0.0.1")
        for number in range(self.rooms):
            self.sandbox.homeserver.add_room(room_id(number), "@admin:sandbox")
        for number in range(self.hostile):
            for room in own_rooms(number):
                self.sandbox.homeserver.add_room(room, f"@h{number}:sandbox")
                self.sandbox.homeserver.set_state(room, SOURCES_EVENT, {"allow_camera": False})
        self.redis = redis_server(self.directory)
        self.redis.start()
        self.processes = [self._guard(number) for number in range(self.guards)]

    def start_guards(self) -> None:
        """Start the guards; not in the reactor's thread, which they ask things of."""
        threads = [threading.Thread(target=process.start) for process in self.processes]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()

    def admit(self, name: str) -> None:
        """Have somebody be a member of every room, from any thread."""
        user = f"@{name}:sandbox"
        self.sandbox.homeserver.openid[f"openid-{name}"] = user
        for number in range(self.rooms):
            reactor.callFromThread(self.sandbox.homeserver.join, room_id(number), user)

    def stop(self) -> None:
        """End everything that is a process."""
        for process in (*self.processes, self.redis, self.livekit.process):
            process.go_on() if process is self.redis else None
            process.kill()

    def _guard(self, number: int) -> Process:
        port, desk = free_port(), free_port()
        env = {
            **self.sandbox.environment(),
            "LIVEKIT_URL": self.livekit.url,
            "LIVEKIT_KEY": KEY,
            "LIVEKIT_SECRET": SECRET,
            "LOTUS_GUARD_LIVEKIT_URL": self.livekit.api,
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "LOTUS_GUARD_LISTEN": f"tcp:{port}:interface=127.0.0.1",
            "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{desk}:interface=127.0.0.1",
            "LOTUS_GUARD_STATE": f"redis://127.0.0.1:{self.redis.port}",
            **self.settings,
        }
        command = [TWISTD, "--nodaemon", "--pidfile=", "lotus-guard"]
        return Process(f"guard{number}", command, self.directory, port, env)


def room_id(number: int) -> str:
    """Name a room."""
    return f"!soak{number}:sandbox"


def own_rooms(number: int) -> list[str]:
    """Name the rooms of a hostile client."""
    return [f"!own{number}-{which}:sandbox" for which in range(4)]


def in_reactor(work: Callable[[], Any]) -> Any:
    """Do something in the reactor's thread and wait for it."""
    from twisted.internet.threads import blockingCallFromThread

    return blockingCallFromThread(reactor, work)


__all__ = ["Deferred", "Moody", "Relay", "Town", "in_reactor", "own_rooms", "reactor", "room_id"]
