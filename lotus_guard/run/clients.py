"""The clients of LiveKit and Synapse: one for tokens, one for the background."""

from collections.abc import Callable, Coroutine
from typing import Any, Generic, Protocol, TypeVar

from attrs import frozen

from lotus_guard.core.clock import ServerClock
from lotus_guard.enforce.ports import Outage
from lotus_guard.enforce.roll_call import AT_ONCE
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
from lotus_guard.neighbours.signing import Signer
from lotus_guard.neighbours.synapse import Synapse
from lotus_guard.observe.health import Dependency
from lotus_guard.run.basics import Basics

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


def make_signer(basics: Basics) -> Signer:
    """Make what signs our calls to LiveKit; its clock is shown, and health tells of it."""
    clocks = basics.clocks
    clock = ServerClock("LiveKit", clocks.epoch)
    signer = Signer(basics.config.credentials.livekit, clock, clocks.now)
    basics.health.watch(signer.describe)
    basics.metrics.families.show(
        "lotus_guard_clock_offset_seconds",
        "Seconds that LiveKit's clock is ahead of ours, by its answers; 0 until it has told",
        lambda: clock.ahead or 0.0,
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


def synapse_clients(basics: Basics, agent: Any) -> NeighbourClients[Synapse]:
    """Make the clients of Synapse."""

    def client(http: Http, on_end: OnEnd) -> Synapse:
        return Synapse(
            http,
            basics.config.synapse_url,
            basics.config.credentials.synapse,
            basics.config.deadline,
            basics.metrics.neighbours.called_synapse,
            on_end,
        )

    http = Http(agent, basics.clocks.reactor, peer="Synapse")
    return _clients(basics, Dependency.SYNAPSE, http, client, len(basics.rules))


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
    def chance() -> float:
        return int.from_bytes(basics.clocks.random(4)) / 2**32

    made = Backend(name.value, basics.metrics.neighbours, basics.clocks.now, chance, prober.ping)
    basics.health.remark(name, made.remark)
    basics.metrics.neighbours.has_breaker(name.value)
    return made
