"""The guard's parts, put together on a clock turned by hand; no neighbour is reached."""

from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.task import Clock

from lotus_guard.neighbours.agents import Agents
from lotus_guard.run.basics import Basics, make_basics
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import read_config
from lotus_guard.run.guard import Guard, make_guard
from tests.test_docs import GOOD

EPOCH = 1_790_000_000.0


@define(eq=False)
class Agent:
    """Reaches nobody, and writes down whom it was to ask."""

    asked: list[str] = field(factory=list)

    def request(self, _method: bytes, uri: bytes, *_rest: Any) -> Deferred[Any]:
        self.asked.append(uri.decode())
        return fail(ConnectionRefusedError())


def clocks_on(clock: Clock) -> Clocks:
    return Clocks(clock, clock.seconds, lambda: EPOCH + clock.seconds(), bytes)


def basics_on(clock: Clock, **settings: str) -> Basics:
    return make_basics(read_config({**GOOD, **settings}), clocks_on(clock))


def guard_on(clock: Clock, redis: Any = None, **settings: str) -> Guard:
    config = read_config({**GOOD, **settings})
    return make_guard(config, clocks_on(clock), Agents(Agent(), Agent(), Agent()), redis=redis)


def shown(basics: Basics, name: str, **labels: str) -> float | None:
    """What a metric says now."""
    return basics.metrics.registry.get_sample_value(name, labels)
