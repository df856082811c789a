"""What all commands share: the guard's settings, where it is asked, and work on the reactor."""

import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import react
from twisted.python.failure import Failure

from lotus_guard.commands.surroundings import Surroundings, surroundings
from lotus_guard.core.server_url import url_fault
from lotus_guard.core.text import printable
from lotus_guard.neighbours.agents import Agents, pooled_agents
from lotus_guard.run.address import listening
from lotus_guard.run.clocks import Clocks, clocks_of
from lotus_guard.run.config import Config, read_config, read_some
from lotus_guard.run.setting import Faulty

V = TypeVar("V")
MISDIRECTED = 421
"""How the operators' port answers under a host name that is not its own."""


class Failed(click.ClickException):
    """A command cannot do its work; the sentence says what to change. Exits with 2."""

    exit_code = 2

    def show(self, file: Any = None) -> None:
        """Print the sentence."""
        click.echo(f"lotus-guard: {self.message}", file=file or sys.stderr)


def configuration() -> Config:
    """Read all settings of the guard; raises Failed with every fault."""
    found = surroundings()
    try:
        return read_config(found.texts)
    except Faulty as faulty:
        raise unusable(found, faulty) from None


def some_settings(*names: str) -> dict[str, Any]:
    """Read these fields of the configuration only; raises Failed with every fault in them."""
    found = surroundings()
    try:
        return read_some(found.texts, *names)
    except Faulty as faulty:
        raise unusable(found, faulty) from None


def unusable(found: Surroundings, faulty: Faulty) -> Failed:
    """The error that says what is wrong with the settings, and where they were looked for."""
    where = f"in {found.file} and the environment" if found.file else "in the environment"
    lines = "".join(f"\n  {fault}" for fault in faulty.faults)
    hint = f"\n{found.unread} exists, but you may not read it: try sudo" if found.unread else ""
    if found.passed_over:
        numbers = ", ".join(map(str, found.passed_over[:5]))
        hint += (
            f"\n{found.file} has lines that are not NAME=value (line {numbers}): they are ignored"
        )
    return Failed(f"settings are missing or wrong ({where}):{lines}{hint}")


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


def check_own_host(status: int, address: str) -> None:
    """Raise Failed where the guard does not show people under this host name."""
    if status == MISDIRECTED:
        raise Failed(
            f"the guard does not list rooms and people under the name in {address}. Fix: use its "
            "IP address, or add that name to the guard's LOTUS_GUARD_ADMIN_HOSTS"
        )


def guard_address(given: str) -> str:
    """The URL of the operators' port: as given, or where the settings have it; raises Failed."""
    if given:
        return given
    own = listening(some_settings("admin_listen")["admin_listen"])
    if own is None:
        raise Failed(
            "the settings give the guard no operators' port on TCP (LOTUS_GUARD_ADMIN_LISTEN). "
            "Fix: use --guard URL, or set LOTUS_GUARD_ADMIN_LISTEN=tcp:8072:interface=127.0.0.1 "
            "and restart the guard"
        )
    return own.url


def _server_url(_context: click.Context, _option: click.Parameter, value: str) -> str:
    fault = url_fault(value) if value else ""
    if fault:
        shown = printable(value, 100)
        raise click.BadParameter(f"{shown} {fault}; expected http://host:port or https://host")
    return value.rstrip("/")


guard_option = click.option(
    "--guard",
    default="",
    callback=_server_url,
    metavar="URL",
    help="The guard's operators' port. Default: the one in LOTUS_GUARD_ADMIN_LISTEN, or else "
    "http://127.0.0.1:8072.",
)
homeserver_option = click.option(
    "--homeserver",
    default="",
    callback=_server_url,
    metavar="URL",
    help="The homeserver's address for clients. Default: LOTUS_GUARD_SYNAPSE_URL. The guard's own "
    "token is never sent there.",
)
