"""When the guard may say that it is ready."""

import time
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.logger import formatEvent
from twisted.web.resource import Resource
from twisted.web.server import Site

from lotus_guard.core.probe import FIELD
from lotus_guard.neighbours.agents import pooled_agents
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.cluster import Cluster
from lotus_guard.run.config import read_config
from lotus_guard.run.listeners import PUBLIC, listener
from lotus_guard.run.readiness import Readiness, WorkerReadiness
from lotus_guard.run.systemd import Reporter
from tests.real.processes import free_port
from tests.test_docs import GOOD
from tests.world import reactor


class Port(Resource):
    """A public port that is another server's until it is ours."""

    isLeaf = True
    is_ours = False
    asked = 0

    def render(self, request: Any) -> bytes:
        self.asked += 1
        return FIELD.encode() if self.is_ours else b"another server"


async def until(condition: Any) -> None:
    for _ in range(200):
        if condition():
            return
        await deferLater(reactor, 0.02, lambda: None)
    raise AssertionError("it does not come")


@pytest_twisted.ensureDeferred
async def test_it_is_ready_once_its_own_port_answers_as_it_does() -> None:
    page, said = Port(), list[bytes]()
    listen = f"tcp:{free_port()}:interface=127.0.0.1"
    config = read_config({**GOOD, "LOTUS_GUARD_LISTEN": listen})
    public: Any = listener(reactor, PUBLIC, listen, Site(page), {})
    clocks, agents = Clocks(reactor, time.monotonic, time.time), pooled_agents(reactor)
    ready = Readiness(config, clocks, agents, public, Reporter(said.append))
    public.privilegedStartService()
    ready.startService()
    await until(lambda: page.asked >= 2)
    assert said == []
    page.is_ours = True
    await until(lambda: said)
    assert said == [b"READY=1"]
    ready.stopService()
    await public.stopService()
    await agents.close()


@pytest_twisted.ensureDeferred
async def test_the_line_names_the_homeservers_port_and_a_token_that_is_not_known(
    logged: list[Any],
) -> None:
    Port.is_ours = True
    for token, is_known in (("t", True), ("", False)):
        ports = [f"tcp:{free_port()}:interface=127.0.0.1" for _ in range(2)]
        settings = {"LOTUS_GUARD_LISTEN": ports[0], "LOTUS_GUARD_HOMESERVER_LISTEN": ports[1]}
        config = read_config({**GOOD, **settings, "LIVEKIT_HS_TOKEN": token})
        public, own = (listener(reactor, PUBLIC, each, Site(Port()), {}) for each in ports)
        clocks, agents = Clocks(reactor, time.monotonic, time.time), pooled_agents(reactor)
        said: list[bytes] = []
        ready = Readiness(config, clocks, agents, public, Reporter(said.append), own)
        for each in (public, own):
            each.privilegedStartService()
        ready.startService()
        await until(lambda said=said: said)
        line = next(str(formatEvent(e)) for e in logged if "is ready on" in e["log_format"])
        logged.clear()
        assert f"for the homeserver on http://127.0.0.1:{ports[1].split(':')[1]}" in line
        assert ("without its hs_token" in line) is not is_known
        await ready_ends(ready, public, own)
        await agents.close()


async def ready_ends(ready: Readiness, *ports: Any) -> None:
    ready.stopService()
    for each in ports:
        await each.stopService()


@pytest_twisted.ensureDeferred
async def test_who_stops_before_is_never_ready() -> None:
    page, said = Port(), list[bytes]()
    listen = f"tcp:{free_port()}:interface=127.0.0.1"
    config = read_config({**GOOD, "LOTUS_GUARD_LISTEN": listen})
    public: Any = listener(reactor, PUBLIC, listen, Site(page), {})
    clocks, agents = Clocks(reactor, time.monotonic, time.time), pooled_agents(reactor)
    ready = Readiness(config, clocks, agents, public, Reporter(said.append))
    public.privilegedStartService()
    ready.startService()
    await until(lambda: page.asked)
    ready.stopService()
    page.is_ours = True
    await deferLater(reactor, 0.3, lambda: None)
    assert said == []
    await public.stopService()
    await agents.close()


@define
class Connecting:
    """A Redis that is being connected to."""

    there: Deferred[None] = field(factory=Deferred)

    def connected(self) -> Deferred[None]:
        return self.there


def test_a_worker_is_ready_once_it_knows_of_the_others() -> None:
    redis, said = Connecting(), list[bytes]()
    cluster: Any = Cluster(None, redis=redis)  # type: ignore[arg-type]
    WorkerReadiness(Reporter(said.append), cluster).startService()
    assert said == []
    redis.there.callback(None)
    assert said == [b"READY=1"]


def test_a_worker_that_cannot_find_out_says_so(logged: list[Any]) -> None:
    redis, said = Connecting(), list[bytes]()
    cluster: Any = Cluster(None, redis=redis)  # type: ignore[arg-type]
    WorkerReadiness(Reporter(said.append), cluster).startService()
    redis.there.errback(RuntimeError("a bug"))
    assert said == []
    assert any("report readiness" in str(event["log_format"]) for event in logged)


@pytest.fixture(autouse=True)
def quiet() -> None:
    Port.is_ours = False
