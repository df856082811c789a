"""What all commands share: the service's environment, and work on the reactor."""

import os
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import react
from twisted.python.failure import Failure

from lotus_guard.neighbours.agents import Agents, pooled_agents
from lotus_guard.run.address import listening
from lotus_guard.run.clocks import Clocks, clocks_of
from lotus_guard.run.config import Config, Faulty, read_config

V = TypeVar("V")


class Failed(click.ClickException):
    """A command that cannot do its work; the sentence says what to change. Exits with 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Print the sentence."""
        click.echo(f"lotus-guard: {self.message}", file=file or sys.stderr)


def configuration() -> Config:
    """Read the environment of the service; raises Failed with every fault."""
    try:
        return read_config(os.environ)
    except Faulty as faulty:
        lines = "".join(f"\n  {fault}" for fault in faulty.faults)
        raise Failed(f"the environment is faulty (it must be the service's own):{lines}") from None


def on_the_reactor(work: Callable[[Clocks, Agents], Awaitable[V]]) -> V:
    """Run a coroutine on the reactor; returns what it returns and raises what it raises.

    Once in a process, for a reactor does not start again.
    """
    results: list[V | Failure] = []

    async def run(reactor: Any) -> None:
        agents = pooled_agents(reactor)
        try:
            results.append(await work(clocks_of(reactor), agents))
        except Exception:
            results.append(Failure())
        finally:
            await agents.close()

    def main(reactor: Any) -> Deferred[None]:
        return ensureDeferred(run(reactor))

    try:
        react(main)
    except SystemExit:
        if not results:  # Ctrl-C ends the reactor with 0, as if all were done
            raise Failed("interrupted") from None
    result = results[0]
    if isinstance(result, Failure):
        result.raiseException()
        raise AssertionError("a Failure raises")
    return result


def admin_address(config: Config) -> str | None:
    """The URL of the operators' port as this machine reaches it; None where there is none."""
    own = listening(config.admin_listen)
    return own.url if own else None
