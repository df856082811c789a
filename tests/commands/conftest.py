"""A room to set policies in."""

from collections.abc import Iterator

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred

from lotus_guard.neighbours.agents import pooled_agents
from lotus_guard.neighbours.http import Http
from tests.commands.kitchen import Kitchen
from tests.world import World, reactor


@pytest.fixture
def kitchen(world: World) -> Iterator[Kitchen]:
    agents = pooled_agents(reactor)
    yield Kitchen(world, Http(agents.synapse, reactor))
    pytest_twisted.blockon(ensureDeferred(agents.close()))
