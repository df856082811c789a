"""What the checks work with: the settings, the ways to ask, and what the operator wants checked."""

from collections.abc import Callable
from typing import Any

from attrs import field, frozen

from lotus_guard.check.livekit_file import LiveKitFile
from lotus_guard.neighbours.agents import Agents
from lotus_guard.neighbours.http import Http
from lotus_guard.run.address import listening
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import Config

PREFIX = "lotus-guard-check"
"""Begins the name of whatever the check makes, and says who it was in others' logs."""


@frozen
class HttpClients:
    """How each neighbour is asked."""

    upstream: Http
    livekit: Http
    synapse: Http


def clients_over(agents: Agents, reactor: Any) -> HttpClients:
    """Make the clients of the neighbours, over these agents."""
    upstream, livekit, synapse = (
        Http(agent, reactor) for agent in (agents.upstream, agents.livekit, agents.synapse)
    )
    return HttpClients(upstream, livekit, synapse)


@frozen
class CheckOptions:
    """What the operator has asked for."""

    public_url: str = ""
    """The public address; empty where it is not to be checked."""
    user_token: str = field(default="", repr=False)
    """A user's access token; empty where nothing is to be tried as a user."""
    webhook_seconds: float = 3.0
    """For so long a webhook is waited for."""


@frozen
class CheckContext:
    """What every check is handed."""

    config: Config
    http: HttpClients
    clocks: Clocks
    options: CheckOptions
    new_name: Callable[[], str]
    """Returns a name that nobody else uses."""
    addresses: tuple[str, ...] = ()
    """This machine's own addresses that others can reach."""
    livekit_file: LiveKitFile | None = None
    """LiveKit's own configuration, where it could be read."""

    @property
    def guard_url(self) -> str:
        """Where the guard listens for this machine; the default where that is no TCP port."""
        own = listening(self.config.listen)
        return own.url if own else "http://127.0.0.1:8070"
