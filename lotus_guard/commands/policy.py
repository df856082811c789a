"""`lotus-guard policy`: what a room's state says about its calls, and setting it.

Read with the service's own admin token, so that it is what the guard reads. Set with the access
token of a user, so that Synapse decides who may, and the room sees who did.
"""

import json
import sys
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import click

from lotus_guard.commands.common import (
    Failed,
    configuration,
    homeserver_option,
    on_the_reactor,
)
from lotus_guard.commands.output import make_console, say
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
from lotus_guard.commands.policy_words import WARNING, RoomPolicies, as_json, lines_of, meaning
from lotus_guard.core.model import RoomId
from lotus_guard.core.text import printable
from lotus_guard.neighbours.agents import Agents
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.matrix import Matrix
from lotus_guard.rules import RULES, Rules
from lotus_guard.run.clocks import Clocks

TOKEN_VARIABLE = "POLICY_USER_TOKEN"  # noqa: S105  (a name; LOTUS_GUARD_… is the service's own)

V = TypeVar("V")
D = TypeVar("D")


def _of_user(command: D) -> D:
    """Add the options of what is done as a user."""
    for option in (
        click.option(
            "--token",
            default="",
            metavar="TOKEN",
            envvar=TOKEN_VARIABLE,
            help="Access token of a user who may set state in the room. Better: set "
            f"${TOKEN_VARIABLE}, which `ps` does not show. Without either, you are asked for it.",
        ),
        homeserver_option,
    ):
        command = option(command)  # type: ignore[type-var]
    return command


def policy_group(rules: Rules) -> click.Group:
    """Make `lotus-guard policy`, with the options of these rules."""

    @click.group(short_help="Show or set a room's policy.")
    def policy() -> None:
        """Show or set the rules that a ROOM's state has for its calls.

        ROOM is a room ID ('!abc:example.org', '!abc') or an alias ('#room:example.org'). Exits with
        0 when done, 1 if the homeserver refuses, 2 if anything else goes wrong.
        """

    for make in (_show, _set, _clear):
        policy.add_command(make(rules))
    return policy


def _show(rules: Rules) -> click.Command:
    @click.command(short_help="Show the policy of ROOM.")
    @click.argument("room")
    @click.option("--json", "is_json", is_flag=True, help="Print one JSON object, for machines.")
    @homeserver_option
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

        Whatever no option names stays unchanged, including other fields of the state events.
        """
        wishes = read_wishes(rules, given)

        async def work(sides: Sides, found: RoomId) -> Changed:
            return await set_policy(sides, found, rules, wishes)

        _tell(_run(room, homeserver, token, work))

    command = click.argument("room")(add_options(rules, set_))
    return click.command("set", short_help="Set the policy of ROOM.")(command)


def _clear(rules: Rules) -> click.Command:
    @click.option("--yes", is_flag=True, help="Do not ask for confirmation.")
    @_of_user
    def clear(room: str, yes: bool, token: str, homeserver: str, **only: bool) -> None:
        """Remove the policy of ROOM, with a user's access token: nothing is restricted any more."""
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
    return click.command("clear", short_help="Remove the policy of ROOM.")(
        click.argument("room")(command)
    )


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
        raise Failed(
            "this command reads policies as a server admin. Fix: set LOTUS_GUARD_SYNAPSE_TOKEN"
        )
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
        raise Failed(f"no access token, so nothing was changed; {WANTED_USER}") from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        found = "has characters that no token has" if token else "is empty"
        raise Failed(f"the access token {found}; {WANTED_USER}")
    return token


def _prompt() -> str:
    if not sys.stdin.isatty():
        raise Failed(f"no access token in --token or ${TOKEN_VARIABLE}; {WANTED_USER}")
    return str(click.prompt("Access token", hide_input=True, err=True))


def _confirm(question: str) -> None:
    try:
        if sys.stdin.isatty() and click.confirm(question, err=True):
            return
    except click.Abort:
        click.echo(err=True)
    raise Failed("nothing was changed; --yes skips the question")


def _waiting(seconds: float) -> None:
    click.echo(f"Synapse asks us to slow down; waiting {seconds:.1f} s", err=True)


def _tell(changed: Changed) -> None:
    done = f"Set {' and '.join(changed.written)}." if changed.written else "Nothing to change."
    complaints = [f"{WARNING}{printable(each, 400)}" for each in changed.policies.complaints]
    _print([f"{done} Policy of {printable(changed.policies.room, 300)}:"])
    _print([f"  {line}" for line in [*meaning(changed.policies), *complaints]])


def _print(lines: list[str]) -> None:
    console = make_console()
    for line in lines:
        style = "bold yellow" if line.lstrip().startswith(WARNING) else ""
        say(console, line, indent=9, style=style)
