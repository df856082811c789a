"""What the checks work with."""

from typing import Any

from lotus_guard.check.context import CheckOptions, clients_over
from lotus_guard.neighbours.agents import Agents


def test_each_neighbour_is_asked_by_its_own_agent() -> None:
    agents = Agents("to upstream", "to livekit", "to synapse")
    clients = clients_over(agents, None)
    found: Any = (clients.upstream.agent, clients.livekit.agent, clients.synapse.agent)
    assert found == ("to upstream", "to livekit", "to synapse")


def test_a_users_token_is_not_shown() -> None:
    assert "syt_secret" not in repr(CheckOptions(user_token="syt_secret"))
