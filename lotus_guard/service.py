"""The composition root: the only place that knows every part."""

import gc
import time
from typing import Any

from attrs import frozen
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService, Service
from twisted.internet.endpoints import serverFromString
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.client import Agent, HTTPConnectionPool
from twisted.web.server import Site

from lotus_guard.adapters.http import Http
from lotus_guard.adapters.livekit import LiveKit
from lotus_guard.adapters.metrics import Metrics
from lotus_guard.adapters.synapse import Synapse
from lotus_guard.adapters.upstream import Upstream
from lotus_guard.admin import Admin
from lotus_guard.admission import Admission
from lotus_guard.config import Config
from lotus_guard.core.knowledge import Knowledge
from lotus_guard.core.seats import Seats
from lotus_guard.policies import Policies
from lotus_guard.presence import Presence
from lotus_guard.web import Gate, PublicSite

_log = Logger()

_SWEEP_SECONDS = 60.0


@frozen
class Guard:
    """The parts of one guard that its services need."""

    gate: Gate
    admin: Admin
    seats: Seats
    metrics: Metrics


@frozen
class Agents:
    """How each neighbour is reached; tests put in-memory ones here."""

    upstream: Any
    livekit: Any
    synapse: Any


def pooled_agents(reactor: Any) -> Agents:
    """Make an agent for each neighbour, with a pool of connections of its own.

    Separate pools, so that a neighbour who hangs takes no connection from the others. Idle
    connections are dropped before any usual server drops them, because a request that was sent
    into a closing connection is not repeated.
    """

    def agent(most: int) -> Agent:
        pool = HTTPConnectionPool(reactor, persistent=True)
        pool.maxPersistentPerHost = most
        pool.cachedConnectionTimeout = 30
        pool.retryAutomatically = False
        return Agent(reactor, connectTimeout=5.0, pool=pool)

    return Agents(agent(64), agent(32), agent(32))


def make_guard(config: Config, reactor: Any, agents: Agents) -> Guard:
    """Put the parts together; nothing is started."""
    now = time.monotonic
    metrics = Metrics(now)
    knowledge = Knowledge()
    seats = Seats(config.seat_hold, config.seat_grace, knowledge.user_of, knowledge.person)
    livekit = LiveKit(
        Http(agents.livekit, reactor),
        config.livekit_api,
        config.key,
        config.secret,
        now,
        config.deadline,
    )
    synapse = Synapse(
        Http(agents.synapse, reactor), config.synapse_url, config.synapse_token, config.deadline
    )
    ages = (config.policy_max_age, config.policy_stale)
    admission = Admission(
        key=config.key,
        secret=config.secret,
        deadline=config.deadline,
        token_life=config.token_life,
        knowledge=knowledge,
        seats=seats,
        presence=Presence(livekit, seats, knowledge, now),
        limits=Policies(synapse.limit, now, *ages, metrics.complained),
        sources=Policies(synapse.sources, now, *ages, metrics.complained),
        journal=metrics,
        clock=reactor,
        now=now,
        epoch=time.time,
    )
    upstream = Upstream(agents.upstream, config.upstream.encode("ascii"), reactor)
    return Guard(Gate(upstream, admission, metrics, now), Admin(metrics), seats, metrics)


def make_service(config: Config, reactor: Any) -> Any:
    """Make the service that twistd runs."""
    guard = make_guard(config, reactor, pooled_agents(reactor))
    service = MultiService()
    _listen(reactor, config.listen, PublicSite(guard.gate)).setServiceParent(service)
    if config.admin_listen:
        site = Site(guard.admin.app.resource())
        _listen(reactor, config.admin_listen, site).setServiceParent(service)
    Housekeeping(guard.seats, reactor).setServiceParent(service)
    _log.info(
        "lotus_guard listens on {listen} in front of {upstream}",
        listen=config.listen,
        upstream=config.upstream,
    )
    return service


def _listen(reactor: Any, endpoint: str, site: Site) -> StreamServerEndpointService:
    site.noisy = False
    server = StreamServerEndpointService(serverFromString(reactor, endpoint), site)
    # A port that is taken must end the start with an error, not leave a guard that serves nobody.
    server._raiseSynchronously = True
    return server


class Housekeeping(Service):
    """Clears away what has run out, once a minute."""

    def __init__(self, seats: Seats, reactor: Any) -> None:
        self._seats = seats
        self._call = LoopingCall(self._sweep)
        self._call.clock = reactor

    def startService(self) -> None:
        """Start; what is loaded by now stays, so the garbage collector need not look at it."""
        super().startService()
        gc.collect()
        gc.freeze()
        self._call.start(_SWEEP_SECONDS, now=False)

    def stopService(self) -> None:
        """Stop."""
        self._call.stop()
        super().stopService()

    def _sweep(self) -> None:
        try:
            self._seats.sweep(time.monotonic())
        except Exception:  # a LoopingCall stops for good at its first error
            _log.failure("Seats could not be swept")
