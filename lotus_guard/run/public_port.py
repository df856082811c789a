"""The public port: what serves clients, and how much of it there may be at once."""

from collections.abc import Callable
from typing import Any

from attrs import define, frozen

from lotus_guard.core.probe import HEADER, is_genuine
from lotus_guard.enforce.admission import Admission
from lotus_guard.enforce.ports import Outage
from lotus_guard.enforce.records import Recorder
from lotus_guard.neighbours.upstream import Upstream
from lotus_guard.observe.families import Families
from lotus_guard.observe.health import Dependency
from lotus_guard.observe.request_metrics import RequestMetrics
from lotus_guard.overload.client_address import Origins
from lotus_guard.overload.connections import Connections
from lotus_guard.overload.load_shedding import LoadShedding
from lotus_guard.rules.decision import REQUEST
from lotus_guard.run.basics import Basics
from lotus_guard.run.fd_budget import FdBudget
from lotus_guard.web.answers import Answers
from lotus_guard.web.client_request import ClientRequest, Clients
from lotus_guard.web.door import Door
from lotus_guard.web.hooks import Hooks
from lotus_guard.web.landing import landing_pages
from lotus_guard.web.languages import Languages
from lotus_guard.web.panel.room import RoomDoor
from lotus_guard.web.pass_through import PassThrough
from lotus_guard.web.problems import Objections
from lotus_guard.web.public import PublicApp, label_of
from lotus_guard.web.token_exchange import TokenExchange


@frozen
class PublicPort:
    """What serves clients."""

    door: Door
    connections: Connections
    load: LoadShedding


def make_public_port(
    basics: Basics,
    budget: FdBudget,
    upstream: Any,
    admission: Admission,
    recorder: Recorder,
    webhooks: Hooks,
    panel: RoomDoor | None = None,
) -> PublicPort:
    """Make what serves clients; `upstream` is the agent by which lk-jwt-service is reached."""
    config, clocks, metrics = basics.config, basics.clocks, basics.metrics
    origins = Origins(config.trusted_proxies)
    load = LoadShedding(
        clocks.reactor,
        clocks.now,
        config.deadline / 2,
        budget.requests,
        metrics.requests.turned_one_away,
    )
    connections = Connections(
        budget.connections,
        is_proxy=origins.is_proxy,
        on_cut=metrics.requests.cut,
        now=clocks.now,
        on_work=lambda peer, times: load.worked(origins.of(peer, None, None), times),
    )
    _show_load(metrics.families, load, connections)
    clients = Clients(origins)
    answers = Answers(Traffic.of(basics), label_of, languages=Languages(config.languages))
    objections = Objections(recorder, REQUEST in config.observed)
    way = PassThrough(Upstream(upstream, config.upstream.encode("ascii"), clocks.reactor), answers)
    exchange = TokenExchange(way, admission, objections, load, clients, clocks.now)
    landing = landing_pages(basics.rules, config.languages, config.panel)
    app = PublicApp(exchange, webhooks, answers, landing, panel)
    door = Door(app, clients, load, answers, objections, probes(basics, in_header))
    return PublicPort(door, connections, load)


def in_header(request: ClientRequest) -> str:
    """What a request says of being a probe, in its header."""
    return request.getHeader(HEADER) or ""


def probes(basics: Basics, said: Callable[[ClientRequest], str]) -> Callable[[ClientRequest], bool]:
    """Make what knows genuine probes of `lotus-guard check`; `said` finds one in a request."""

    def is_probe(request: ClientRequest) -> bool:
        probe = said(request)
        pairs = basics.config.credentials.livekit.believed() if probe else ()
        return any(is_genuine(probe, pair.secret, basics.clocks.epoch()) for pair in pairs)

    return is_probe


def _show_load(families: Families, load: LoadShedding, connections: Connections) -> None:
    """Expose how much there is to do."""
    doors, tokens = (load.requests.shares, load.handed_on.shares), load.tokens.shares
    show = families.show
    show("lotus_guard_connections", "Open client connections", lambda: connections.open)
    show(
        "lotus_guard_requests_under_way",
        "Requests being served",
        lambda: sum(door.used for door in doors),
    )
    show(
        "lotus_guard_requests_waiting",
        "Requests waiting in their client's queue",
        lambda: sum(door.waiting for door in doors),
    )
    show("lotus_guard_tokens_under_way", "Tokens being checked", lambda: tokens.used)
    show("lotus_guard_loop_lag_seconds", "How late the event loop is", load.lag.seconds)


@define(eq=False)
class Traffic:
    """Counts traffic, and has upstream's health noted."""

    metrics: RequestMetrics
    on_end: Callable[[Outage | None], None]

    @classmethod
    def of(cls, basics: Basics) -> "Traffic":
        """Make what counts a door's traffic."""
        return cls(basics.metrics.requests, basics.health.noter(Dependency.UPSTREAM))

    def answered(self, endpoint: str, status: int) -> None:
        """Note an answer that a client got."""
        self.metrics.answered(endpoint, status)

    def added(self, seconds: float) -> None:
        """Note how long an answer took, apart from upstream's part of it."""
        self.metrics.added(seconds)

    def upstream_did(self, outage: Outage | None) -> None:
        """Note that lk-jwt-service answered, or why it did not."""
        self.metrics.upstream_did(outage)
        self.on_end(outage)
