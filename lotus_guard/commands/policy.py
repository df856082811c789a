"""`lotus-guard policy`: what a room's state says about its calls, and setting it.

Read with the service's own admin token, so that it is what the guard reads. Set with the access
token of a user, so that Synapse decides who may, and the room sees who did.
"""

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click
from rich.console import Console
from rich.text import Text

from lotus_guard.commands.common import Failed, configuration, on_the_reactor
from lotus_guard.commands.policy_options import add_options, parameter_of, read_wishes
from lotus_guard.commands.policy_room import (
    WANTED_USER,
    Changed,
    Sides,
    check_room,
    clear_policy,
    clearing,
    find_room,
    read_with_lost,
    set_policy,
)
from lotus_guard.commands.policy_words import RoomPolicies, as_json, lines_of, meaning
from lotus_guard.core.model import RoomId
from lotus_guard.core.server_url import url_fault
from lotus_guard.core.text import printable
from lotus_guard.neighbours.agents import Agents
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.matrix import Matrix
from lotus_guard.rules import RULES, Rules
from lotus_guard.run.clocks import Clocks

TOKEN_VARIABLE = "POLICY_USER_TOKEN"  # noqa: S105  (a name; LOTUS_GUARD_… is the service's own)

V = TypeVar("V")
D = TypeVar("D")


def _homeserver(_context: click.Context, _option: click.Parameter, value: str) -> str:
    if value and url_fault(value):
        raise click.BadParameter("wanted: https://host or http://host:port")
    return value.rstrip("/")


def _of_user(command: D) -> D:
    """Add the options of what is done as a user."""
    for option in (
        click.option(
            "--token",
            default="",
            metavar="TOKEN",
            envvar=TOKEN_VARIABLE,
            help="Access token of a user who may set state in the room. Better: "
            f"${TOKEN_VARIABLE}, which `ps` does not show. Asked for where there is neither.",
        ),
        _at,
    ):
        command = option(command)  # type: ignore[type-var]
    return command


_at = click.option(
    "--homeserver",
    default="",
    callback=_homeserver,
    metavar="URL",
    help="Where clients reach the homeserver, where that is not LOTUS_GUARD_SYNAPSE_URL. The "
    "service's own token is not sent there.",
)


def policy_group(rules: Rules) -> click.Group:
    """Make `lotus-guard policy`, with the options of these rules."""

    @click.group()
    def policy() -> None:
        """Show or set what a ROOM's state says about its calls.

        ROOM is a room id ('!abc:example.org', '!abc') or an alias ('#room:example.org'). Exits with
        0 when done, 1 where the homeserver refuses, 2 where anything else is in the way.
        """

    for make in (_show, _set, _clear):
        policy.add_command(make(rules))
    return policy


def _show(rules: Rules) -> click.Command:
    @click.command()
    @click.argument("room")
    @click.option("--json", "is_json", is_flag=True, help="Print one JSON object, for machines.")
    @_at
    def show(room: str, is_json: bool, homeserver: str) -> None:
        """Show the policy of ROOM: who set it, when, and what it means."""

        async def work(sides: Sides, found: RoomId) -> RoomPolicies:
            return await read_with_lost(sides, found, rules)

        found = _run(room, homeserver, None, work)
        if is_json:
            click.echo(json.dumps(as_json(found), indent=1))
        else:
            _print(lines_of(found))

    return show


def _set(rules: Rules) -> click.Command:
    @_of_user
    def set_(room: str, token: str, homeserver: str, **given: Any) -> None:
        """Set the policy of ROOM, with a user's access token.

        What no option names stays as it is, also other fields of the state events.
        """
        wishes = read_wishes(rules, given)

        async def work(sides: Sides, found: RoomId) -> Changed:
            return await set_policy(sides, found, rules, wishes)

        _tell(_run(room, homeserver, token, work))

    command = click.argument("room")(add_options(rules, set_))
    return click.command("set")(command)


def _clear(rules: Rules) -> click.Command:
    @click.option("--yes", is_flag=True, help="Do not ask.")
    @_of_user
    def clear(room: str, yes: bool, token: str, homeserver: str, **only: bool) -> None:
        """Empty the policy of ROOM, with a user's access token: nothing is restricted any more."""
        chosen = [rule for rule in rules if only[parameter_of(rule.clear_flag[0])]] or rules
        check_room(room)
        if not yes:
            _confirm(f"{clearing(rules, chosen)} of {printable(room, 300)}?")

        async def work(sides: Sides, found: RoomId) -> Changed:
            return await clear_policy(sides, found, rules, chosen)

        _tell(_run(room, homeserver, token, work))

    command: Any = clear
    for rule in reversed(rules):
        flag, text = rule.clear_flag
        command = click.option(f"--{flag}", parameter_of(flag), is_flag=True, help=text)(command)
    return click.command("clear")(click.argument("room")(command))


policy = policy_group(RULES)


def _run(
    room: str,
    homeserver: str,
    token: str | None,
    work: Callable[[Sides, RoomId], Awaitable[V]],
) -> V:
    """Find the room and do this with it; the token is None where no user is needed."""
    check_room(room)
    config = configuration()
    if not config.synapse_token:
        raise Failed("policies are read here as an admin; wanted: LOTUS_GUARD_SYNAPSE_TOKEN")
    used = "" if token is None else _token(token)

    async def on_it(clocks: Clocks, agents: Agents) -> V:
        http = Http(agents.synapse, clocks.reactor)
        sides = Sides(
            Matrix(http, config.synapse_url, config.synapse_token, on_wait=_waiting),
            Matrix(http, homeserver or config.synapse_url, used, on_wait=_waiting),
        )
        return await work(sides, await find_room(sides, room))

    return on_the_reactor(on_it)


def _token(given: str) -> str:
    """The user's token, asked for where it was not given; raises Failed."""
    try:
        token = (given or _prompt()).strip()
    except click.Abort:
        raise Failed(f"no access token, nothing was changed; {WANTED_USER}") from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        found = "holds what no token holds" if token else "is empty"
        raise Failed(f"the access token {found}; {WANTED_USER}")
    return token


def _prompt() -> str:
    if not sys.stdin.isatty():
        raise Failed(f"no access token: neither --token nor ${TOKEN_VARIABLE}; {WANTED_USER}")
    return str(click.prompt("Access token", hide_input=True, err=True))


def _confirm(question: str) -> None:
    try:
        if sys.stdin.isatty() and click.confirm(question, err=True):
            return
    except click.Abort:
        click.echo(err=True)
    raise Failed("nothing was changed; without a question: --yes")


def _waiting(seconds: float) -> None:
    click.echo(f"Synapse takes no more for now; waiting {seconds:.1f} s", err=True)


def _tell(changed: Changed) -> None:
    done = f"Set {' and '.join(changed.written)}." if changed.written else "Nothing to change."
    complaints = [f"senseless: {printable(each, 400)}" for each in changed.policies.complaints]
    _print([f"{done} Now holds in {printable(changed.policies.room, 300)}:"])
    _print([f"  {line}" for line in [*meaning(changed.policies), *complaints]])


def _print(lines: list[str]) -> None:
    console = Console(highlight=False, markup=False, emoji=False)
    for line in lines:
        style = "bold yellow" if line.lstrip().startswith("senseless: ") else ""
        console.print(Text(line, style), soft_wrap=True)
