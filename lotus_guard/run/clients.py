"""The clients of LiveKit and the homeserver: one for tokens, one for the background."""

from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Generic, Protocol, TypeVar

from attrs import frozen

from lotus_guard.core.clock import ServerClock
from lotus_guard.enforce.eyes import Eyes
from lotus_guard.enforce.ports import Outage
from lotus_guard.enforce.roll_call import AT_ONCE
from lotus_guard.neighbours.application_service import ApplicationService, Memory
from lotus_guard.neighbours.bulkhead import (
    BACKGROUND_PATIENCE,
    IN_BACKGROUND,
    Backend,
    Bulkhead,
    QueuedHttp,
    for_tokens,
)
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.livekit import LiveKit
from lotus_guard.neighbours.openid import OpenId
from lotus_guard.neighbours.our_server import OurServer
from lotus_guard.neighbours.signing import Signer
from lotus_guard.neighbours.sources import Source, Sources
from lotus_guard.neighbours.synapse import Synapse
from lotus_guard.observe.health import Dependency
from lotus_guard.rules import by_event
from lotus_guard.run.basics import Basics

FOR_OPENID = 4, 16
"""Questions whose an OpenID token is: how many at once, and how many may wait."""
OPENID_SECONDS = 3.0

OnEnd = Callable[[Outage | None], None]
"""Told how each call ends."""


class Pingable(Protocol):
    """A client that can ask whether its neighbour is there at all."""

    def ping(self) -> Coroutine[Any, Any, None]:
        """Ask what no client of ours has a hand in; raises Outage."""


C = TypeVar("C", bound=Pingable)


@frozen
class NeighbourClients(Generic[C]):
    """How one neighbour is asked: background questions have a line of their own."""

    tokens: C
    """Asked while a client waits for a token."""
    background: C
    backend: Backend
    """Knows whether the neighbour is to be asked at all."""


@frozen
class HomeserverClients(NeighbourClients[Sources]):
    """How the homeserver is asked, and as whom of its users."""

    eyes: Eyes
    openid: OpenId
    """Knows whose OpenID tokens are; it has a line of its own."""


def make_signer(basics: Basics) -> Signer:
    """Make what signs our calls to LiveKit; its clock is shown, and health tells of it."""
    clocks = basics.clocks
    clock = ServerClock("LiveKit", clocks.epoch)
    signer = Signer(basics.config.credentials.livekit, clock, clocks.now)
    basics.health.watch(signer.describe)
    basics.metrics.families.show(
        "lotus_guard_clock_offset_seconds",
        "How far LiveKit's clock is ahead of the guard's; absent until LiveKit has answered",
        lambda: clock.ahead,
    )
    return signer


def livekit_clients(basics: Basics, agent: Any, signer: Signer) -> NeighbourClients[LiveKit]:
    """Make the clients of LiveKit."""

    def client(http: Http, on_end: OnEnd) -> LiveKit:
        return LiveKit(
            http,
            basics.config.livekit_api,
            signer,
            basics.clocks.now,
            basics.config.deadline,
            basics.metrics.neighbours.called_livekit,
            on_end,
        )

    http = Http(agent, basics.clocks.reactor, peer="LiveKit")
    return _clients(basics, Dependency.LIVEKIT, http, client, AT_ONCE)


def homeserver_clients(basics: Basics, agent: Any) -> HomeserverClients:
    """Make the clients of the homeserver: as an application service, then as an admin."""
    config = basics.config
    memory = Memory(keeps_last=not config.synapse_token)
    eyes = Eyes(memory.server.may_have)

    def client(http: Http, on_end: OnEnd) -> Sources:
        return Sources(_ways(basics, http, on_end, eyes, memory), http.clock, config.deadline)

    http = Http(agent, basics.clocks.reactor, peer="Synapse")
    at_once = 2 if config.as_token else 1  # an event with a canary beside it, then another
    # Two questions more: whether the recipient is a member, and with which power, by two events.
    questions = at_once * len(by_event(basics.rules)) + 1 + (at_once + 1)
    made = _clients(basics, Dependency.SYNAPSE, http, client, questions)
    openid = _openid(basics, agent, made.backend, memory.server)
    return HomeserverClients(made.tokens, made.background, made.backend, eyes, openid)


def _openid(basics: Basics, agent: Any, backend: Backend, server: OurServer) -> OpenId:
    """Make what asks whose tokens are. It tells nobody how its calls end: clients choose them."""
    clock = basics.clocks.reactor
    return OpenId(
        QueuedHttp(agent, clock, backend, Bulkhead(*FOR_OPENID, clock), peer="the homeserver"),
        basics.config.openid_url,
        server,
        OPENID_SECONDS,
        basics.clocks.now,
        basics.metrics.neighbours.called_synapse,
    )


def _ways(
    basics: Basics, http: Http, on_end: OnEnd, eyes: Eyes, memory: Memory
) -> Sequence[Source]:
    """In which ways the homeserver is asked, the cheapest first."""
    config, credentials = basics.config, basics.config.credentials
    called = basics.metrics.neighbours.called_synapse
    ways: list[Source] = []
    if config.has_application_service:
        ways.append(
            ApplicationService(
                http,
                config.synapse_url,
                credentials.as_token,
                config.deadline,
                eyes,
                called,
                on_end,
                memory,
            )
        )
    if config.synapse_token:
        ways.append(
            Synapse(
                http,
                config.synapse_url,
                credentials.synapse,
                config.deadline,
                called,
                on_end,
                memory.server,
            )
        )
    return ways


def _clients(
    basics: Basics,
    name: Dependency,
    http: Http,
    client: Callable[[Http, OnEnd], C],
    questions: int,
) -> NeighbourClients[C]:
    """Make a neighbour's clients; its probe goes past the lines and the breaker.

    `questions`: how many questions one token asks of it at once.
    """
    note = basics.health.noter(name)
    backend = _backend(basics, name, client(http, note))

    def on_end(outage: Outage | None) -> None:
        note(outage)
        backend.ended(outage)

    def queued(bulkhead: Bulkhead) -> C:
        return client(QueuedHttp(http.agent, http.clock, backend, bulkhead, peer=http.peer), on_end)

    return NeighbourClients(
        tokens=queued(Bulkhead(*for_tokens(questions), http.clock)),
        background=queued(Bulkhead(*IN_BACKGROUND, http.clock, BACKGROUND_PATIENCE)),
        backend=backend,
    )


def _backend(basics: Basics, name: Dependency, prober: Pingable) -> Backend:
    clocks = basics.clocks
    made = Backend(name.value, basics.metrics.neighbours, clocks.now, clocks.chance, prober.ping)
    basics.health.remark(name, made.remark)
    basics.metrics.neighbours.has_breaker(name.value)
    return made
