"""What the checks work with."""

from typing import Any

import pytest
from twisted.internet.task import Clock

from lotus_guard.check.context import CheckContext, CheckOptions, clients_over
from lotus_guard.neighbours.agents import Agents
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import read_config
from tests.test_docs import GOOD


def test_each_neighbour_is_asked_by_its_own_agent() -> None:
    agents = Agents("to upstream", "to livekit", "to synapse")
    clients = clients_over(agents, None)
    found: Any = (clients.upstream.agent, clients.livekit.agent, clients.synapse.agent)
    assert found == ("to upstream", "to livekit", "to synapse")


def test_a_users_token_is_not_shown() -> None:
    assert "syt_secret" not in repr(CheckOptions(user_token="syt_secret"))


@pytest.mark.parametrize(
    ("listen", "url"),
    [
        ("tcp:1234:interface=127.0.0.1", "http://127.0.0.1:1234"),
        ("unix:/run/guard", "http://127.0.0.1:8070"),
    ],
)
def test_where_the_guard_is_asked(listen: str, url: str) -> None:
    config = read_config({**GOOD, "LOTUS_GUARD_LISTEN": listen})
    clients = clients_over(Agents(None, None, None), None)
    clock = Clock()
    clocks = Clocks(clock, clock.seconds, clock.seconds)
    assert CheckContext(config, clients, clocks, CheckOptions(), str).guard_url == url
