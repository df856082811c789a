"""The ways to Synapse and LiveKit: for tokens, for the background; and how much room there is."""

import resource
from collections.abc import Callable
from typing import Any

from attrs import frozen

from lotus_guard.core.clock import ServerClock
from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.bulkhead import (
    BACKGROUND_PATIENCE,
    FOR_TOKENS,
    IN_BACKGROUND,
    Backend,
    Bulkhead,
    QueuedHttp,
)
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.livekit import LiveKit
from lotus_guard.neighbours.signing import Signer
from lotus_guard.neighbours.synapse import Synapse
from lotus_guard.observe.health import Dependency, Health
from lotus_guard.observe.metrics import Metrics
from lotus_guard.overload.connections import MOST_CONNECTIONS, Connections
from lotus_guard.overload.load_shedding import REQUESTS, LoadShedding
from lotus_guard.run.cluster import Clocks
from lotus_guard.run.config import Config

FILES = 20_000
"""Open files that we have a use for."""


@frozen
class FdBudget:
    """How much a process may have open at once; half of a request's files are upstream's."""

    connections: int = MOST_CONNECTIONS
    """Of clients, on the public port."""
    requests: int = REQUESTS
    """Of theirs that are under way."""


def fd_budget(files: int) -> FdBudget:
    """Share out so many files: of them, clients' connections get half, upstream's an eighth.

    What is left is for Synapse, LiveKit, the state file and the log: a flood of connections must
    not leave the guard without a file to ask upstream by.
    """
    return FdBudget(min(MOST_CONNECTIONS, files // 2), min(REQUESTS, files // 8))


def most_files() -> int:
    """Raise our bound on open files as far as we need and may; gives what it is then."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard == resource.RLIM_INFINITY:
        hard = FILES
    if soft == resource.RLIM_INFINITY or soft >= FILES:
        return FILES
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, min(FILES, hard)), hard))
    except (OSError, ValueError):
        return soft
    return max(soft, min(FILES, hard))


def signer_for(config: Config, clocks: Clocks, metrics: Metrics, health: Health) -> Signer:
    """Make what signs our calls to LiveKit; its clock is shown, and health tells of it."""
    clock = ServerClock("LiveKit", clocks.epoch)
    signer = Signer(config.credentials.livekit, clock, clocks.now)
    health.watch(signer.describe)
    metrics.show(
        "lotus_guard_clock_offset_seconds",
        "Seconds that LiveKit's clock is ahead of ours, by its answers; 0 until it has told",
        lambda: clock.ahead or 0.0,
    )
    return signer


def livekit_clients(
    config: Config, clocks: Clocks, agent: Any, signer: Signer, metrics: Metrics, health: Health
) -> tuple[LiveKit, LiveKit, Backend]:
    """Make the ways to LiveKit: for tokens, for the background, and what knows how it does."""

    def reached(http: Http, on_end: Callable[[Outage | None], None]) -> LiveKit:
        return LiveKit(
            http,
            config.livekit_api,
            signer,
            clocks.now,
            config.deadline,
            metrics.called_livekit,
            on_end,
        )

    note, http = health.noter(Dependency.LIVEKIT), Http(agent, clocks.reactor, peer="LiveKit")
    neighbour = _neighbour(Dependency.LIVEKIT, clocks, metrics, health)
    neighbour.probe = reached(http, note).ping
    tokens, later = _lanes(http, neighbour)
    on_end = _both(note, neighbour.ended)
    return reached(tokens, on_end), reached(later, on_end), neighbour


def synapse_clients(
    config: Config, clocks: Clocks, agent: Any, metrics: Metrics, health: Health
) -> tuple[Synapse, Synapse, Backend]:
    """Make the ways to Synapse, likewise."""

    def reached(http: Http, on_end: Callable[[Outage | None], None]) -> Synapse:
        return Synapse(
            http,
            config.synapse_url,
            config.credentials.synapse,
            config.deadline,
            metrics.called_synapse,
            on_end,
        )

    note, http = health.noter(Dependency.SYNAPSE), Http(agent, clocks.reactor, peer="Synapse")
    neighbour = _neighbour(Dependency.SYNAPSE, clocks, metrics, health)
    neighbour.probe = reached(http, note).ping
    tokens, later = _lanes(http, neighbour)
    on_end = _both(note, neighbour.ended)
    return reached(tokens, on_end), reached(later, on_end), neighbour


def _neighbour(name: Dependency, clocks: Clocks, metrics: Metrics, health: Health) -> Backend:
    def chance() -> float:
        return int.from_bytes(clocks.random(4)) / 2**32

    made = Backend(name.value, metrics, clocks.now, chance)
    health.remark(name, made.remark)
    metrics.breakers.labels(name.value).set(0)
    return made


def _lanes(http: Http, neighbour: Backend) -> tuple[QueuedHttp, QueuedHttp]:
    """Make the line of the token path and that of the background."""
    tokens = Bulkhead(*FOR_TOKENS, http.clock)
    later = Bulkhead(*IN_BACKGROUND, http.clock, BACKGROUND_PATIENCE)
    return (
        QueuedHttp(http.agent, http.clock, neighbour, tokens, peer=http.peer),
        QueuedHttp(http.agent, http.clock, neighbour, later, peer=http.peer),
    )


def _both(
    one: Callable[[Outage | None], None], other: Callable[[Outage | None], None]
) -> Callable[[Outage | None], None]:
    def tell(outage: Outage | None) -> None:
        one(outage)
        other(outage)

    return tell


def show_load(metrics: Metrics, pressure: LoadShedding, connections: Connections) -> None:
    """Expose how much there is to do."""
    requests, tokens = pressure.requests.shares, pressure.tokens.shares
    numbers: tuple[tuple[str, str, Callable[[], float]], ...] = (
        ("connections", "Connections of clients", lambda: connections.open),
        ("requests_under_way", "Requests being served", lambda: requests.used),
        ("requests_waiting", "Places taken in the clients' lines", lambda: requests.waiting),
        ("tokens_under_way", "Tokens being judged", lambda: tokens.used),
        ("loop_lag_seconds", "How late the reactor is", pressure.lag.seconds),
    )
    for name, text, value in numbers:
        metrics.show(f"lotus_guard_{name}", text, value)
