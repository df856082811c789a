"""The public port: how much there may be of it, and who may probe it."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from lotus_guard.core.probe import FIELD, HEADER, WINDOW, sign_probe
from lotus_guard.neighbours.agents import Agents
from lotus_guard.run.config import read_config
from lotus_guard.run.fd_budget import FdBudget
from lotus_guard.run.guard import make_guard
from lotus_guard.sandbox.stack import OPEN, SECRET
from tests.run.parts import Agent, clocks_on, guard_on
from tests.test_docs import GOOD
from tests.world import World

GAUGES = ("connections", "requests_under_way", "requests_waiting", "tokens_under_way")


def test_the_budget_bounds_connections_and_requests() -> None:
    agents = Agents(Agent(), Agent(), Agent())
    guard = make_guard(read_config(GOOD), clocks_on(Clock()), agents, FdBudget(7, 3))
    assert guard.public.connections.most == 7
    assert guard.public.load.requests.shares.bounds.most == 3


def test_how_much_there_is_to_do_is_shown() -> None:
    registry = guard_on(Clock()).metrics.registry
    values = [registry.get_sample_value(f"lotus_guard_{name}") for name in GAUGES]
    assert values == [0.0] * len(GAUGES)


def test_how_late_the_reactor_is_is_shown() -> None:
    clock = Clock()
    guard = guard_on(clock)
    guard.public.load.lag.tick()
    clock.advance(3.0)
    guard.public.load.lag.tick()
    lag = guard.metrics.registry.get_sample_value("lotus_guard_loop_lag_seconds")
    assert lag is not None
    assert lag > 1.0


@pytest.mark.parametrize(
    ("secret", "late", "is_answered"),
    [
        (SECRET, 0.0, True),
        (SECRET, WINDOW + 60.0, False),
        ("another-secret-of-more-than-32-characters", 0.0, False),
    ],
)
@pytest_twisted.ensureDeferred
async def test_who_knows_livekits_secret_may_probe(
    world: World, secret: str, late: float, is_answered: bool
) -> None:
    world.start_guard()
    epoch = world.guard.overview.epoch() - late
    got = await world.request("GET", "/healthz", headers={HEADER: sign_probe(secret, epoch)})
    assert (FIELD.encode() in got.body) is is_answered


@pytest_twisted.ensureDeferred
async def test_answers_are_counted_and_upstreams_outage_is_health(world: World) -> None:
    world.start_guard()
    assert (await world.ask("alice", OPEN)).status == 200
    assert upstream_of(world)["state"] == "ok"
    world.start_guard(LOTUS_GUARD_UPSTREAM=world.serve(abort=True))
    assert (await world.ask("alice", OPEN)).status == 502
    assert upstream_of(world)["state"] == "trouble"
    registry = world.guard.metrics.registry
    labels = {"endpoint": "/sfu/get", "status": "502"}
    assert registry.get_sample_value("lotus_guard_requests_total", labels) == 1.0


def upstream_of(world: World) -> Any:
    (found,) = [each for each in world.guard.overview.dependencies() if each["name"] == "upstream"]
    return found
