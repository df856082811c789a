"""The homeserver's port: what serves clients whose homeserver hands on what they ask for."""

from collections.abc import Callable
from typing import Any
from urllib.parse import parse_qs

from attrs import frozen

from lotus_guard.core.power import POWER_LEVELS
from lotus_guard.core.probe import QUERY
from lotus_guard.enforce.admission import Admission
from lotus_guard.enforce.records import Recorder
from lotus_guard.enforce.transactions import Changes, Transactions
from lotus_guard.neighbours.upstream import OF_HOMESERVERS, WITHHELD, Upstream
from lotus_guard.overload.connections import Connections
from lotus_guard.overload.load_shedding import HANDED_ON_SECONDS, LoadShedding
from lotus_guard.rules import by_event
from lotus_guard.rules.decision import REQUEST
from lotus_guard.run.basics import Basics
from lotus_guard.run.fd_budget import FdBudget
from lotus_guard.run.public_port import Traffic, probes
from lotus_guard.web.answers import Answers
from lotus_guard.web.app_service import AppService
from lotus_guard.web.client_request import ClientRequest
from lotus_guard.web.door import Door
from lotus_guard.web.homeserver import HomeserverApp, label_of
from lotus_guard.web.homeserver_request import Homeservers
from lotus_guard.web.languages import Languages
from lotus_guard.web.pass_through import PassThrough
from lotus_guard.web.problems import Objections
from lotus_guard.web.token_exchange import TokenExchange

UPSTREAM_SECONDS = 18.0
"""How long upstream may take here. With what a request may wait for its user's others, its token
once more, and the rules' time that ends before Synapse gives up, after 30 s (docs/facts.md,
lk-jwt-service: behind a homeserver): a user reads our sentence rather than Synapse's."""
MOST_ANSWER = 32 * 1024
"""Bytes of an answer that are read before it is judged. A hostile homeserver may have written it,
which a user can name (`server_name`): a longer one is no token."""
MOST_FIELDS = 16
"""Of a query string, so many are looked at; one with more is no probe."""
JSON_ONLY = {b"Content-Type": b"application/json"}
"""The headers of our own answers: the homeserver has its own, which ours would replace."""


def in_query(request: ClientRequest) -> str:
    """What a request says of being a probe: a homeserver hands on its query, and no header."""
    query = request.uri.partition(b"?")[2].decode("ascii", "replace")
    if QUERY not in query or query.count("&") >= MOST_FIELDS:
        return ""
    return parse_qs(query).get(QUERY, [""])[0]


@frozen
class HomeserverPort:
    """What serves the homeserver."""

    door: Door
    connections: Connections


def make_homeserver_port(
    basics: Basics,
    budget: FdBudget,
    upstream: Any,
    admission: Admission,
    recorder: Recorder,
    load: LoadShedding,
    on_changes: Callable[[Changes], None],
) -> HomeserverPort:
    """Make what serves the homeserver, should it have a port; `on_changes` hears its news."""
    config, clocks, metrics = basics.config, basics.clocks, basics.metrics
    connections = Connections(
        budget.requests,
        is_proxy=lambda _peer: True,
        on_cut=metrics.requests.cut,
        now=clocks.now,
    )
    answers = Answers(Traffic.of(basics), label_of, JSON_ONLY, Languages(config.languages))
    objections = Objections(recorder, REQUEST in config.observed)
    callers = Homeservers(config.credentials.hs_token, objections, clocks.now)
    base = config.upstream.encode("ascii")
    service = Upstream(upstream, base, clocks.reactor, UPSTREAM_SECONDS, MOST_ANSWER)
    way = PassThrough(service, answers, WITHHELD - OF_HOMESERVERS)
    exchange = TokenExchange(
        way, admission, objections, load, callers, clocks.now, patience=HANDED_ON_SECONDS
    )
    sender = Homeservers(config.credentials.transactions, objections, clocks.now)
    app = HomeserverApp(exchange, _service(basics, sender, answers, on_changes))
    is_probe = probes(basics, in_query)
    door = Door(app, callers, load, answers, objections, is_probe, load.handed_on)
    return HomeserverPort(door, connections)


def _service(
    basics: Basics, sender: Homeservers, answers: Answers, on_changes: Callable[[Changes], None]
) -> AppService | None:
    """Make what takes transactions, where they are wanted."""
    if not basics.config.transactions:
        return None
    types = [*by_event(basics.rules), POWER_LEVELS]
    on_outcome = basics.metrics.requests.took_transaction
    return AppService(
        sender, Transactions(types, basics.clocks.epoch, on_changes, on_outcome), answers
    )
