"""`lotus-guard explain`: why somebody was refused, or may publish less than they would like."""

import json
import sys

import click
from attrs import frozen

from lotus_guard.commands.common import (
    Failed,
    guard_address,
    guard_option,
    homeserver_option,
    on_the_reactor,
    some_settings,
)
from lotus_guard.commands.explain_source import Told, Wanted, ask_guard, read_state
from lotus_guard.commands.explain_words import lines_of, replayed
from lotus_guard.commands.output import make_console, say
from lotus_guard.commands.policy_room import Sides, check_room, find_room
from lotus_guard.core.ids import is_user_id
from lotus_guard.core.text import printable
from lotus_guard.enforce.ports import Outage
from lotus_guard.enforce.records import is_id
from lotus_guard.neighbours.agents import Agents
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.matrix import Matrix
from lotus_guard.run.clocks import Clocks

NOT_FOUND = 1
"""The exit code where a reference leads to no decision."""
_AROUND = " \t[](){}<>.,:;\"'`"
"""What may stand around a reference that somebody has copied."""


@frozen
class Question:
    """What the operator asks about."""

    wanted: Wanted
    alias: str = ""
    """Where the room is named by an alias: to be looked up."""


@click.command(short_help="Show why the guard did something.")
@click.argument("subject", metavar="REFERENCE|USER|ROOM")
@click.argument("room", required=False, metavar="[ROOM]")
@click.option("--limit", default=20, show_default=True, help="Show at most this many decisions.")
@click.option("--json", "as_json", is_flag=True, help="Print a JSON object per line.")
@guard_option
@homeserver_option
def explain(
    subject: str, room: str | None, limit: int, as_json: bool, guard: str, homeserver: str
) -> None:
    """Show why the guard refused a user, or changed a token or a live call.

    REFERENCE is what a refused user was shown ("Reference: k3v2t2xq"). Or name a USER
    (@user:server), a ROOM ('!id' or '#alias:server'), or both, for the most recent decisions.

    Prints each decision with its inputs, the rule and the verdict, and decides it again with the
    same code. Asks the running guard; if none answers and no --guard is given, reads the state
    file. Exits with 1 if nothing is known of a reference, 2 if nobody can be asked.
    """
    question = _question(subject, room, limit)
    found = on_the_reactor(_Asking(question, guard, homeserver).ask)
    if as_json:
        for decision in found.decisions:
            click.echo(json.dumps({**decision.as_json(), "replayed": replayed(decision)}))
    else:
        _print(question, found)
    if question.wanted.reference and not found.decisions:
        sys.exit(NOT_FOUND)


def _question(subject: str, room: str | None, limit: int) -> Question:
    """Read what is asked about; raises Failed."""
    reference = subject.rpartition(" ")[2].strip(_AROUND).lower()
    if subject.startswith("@") and is_user_id(subject):
        return _in_room(Wanted(user=subject, limit=limit), room)
    if subject[:1] in ("!", "#") and room is None:
        return _in_room(Wanted(limit=limit), subject)
    if is_id(reference) and room is None:
        return Question(Wanted(reference=reference))
    raise Failed(
        f"{printable(subject, 80)!r} cannot be looked up; expected a reference of eight letters "
        "and digits such as k3v2t2xq, a user such as @alice:example.org, or a room"
    )


def _in_room(wanted: Wanted, room: str | None) -> Question:
    if room is None:
        return Question(wanted)
    check_room(room)
    if room.startswith("#"):
        return Question(wanted, alias=room)
    return Question(wanted.in_room(room))


@frozen
class _Asking:
    """Asks whoever can tell."""

    question: Question
    guard: str
    """The address that was given; empty where there was none."""
    homeserver: str

    async def ask(self, clocks: Clocks, agents: Agents) -> Told:
        """Look the alias up where there is one, then ask; raises Failed."""
        wanted = self.question.wanted
        if self.question.alias:
            wanted = wanted.in_room(await self._room(Http(agents.synapse, clocks.reactor)))
        return await told(Http(agents.livekit, clocks.reactor), self.guard, wanted)

    async def _room(self, http: Http) -> str:
        alias, url = self.question.alias, self.homeserver or _homeserver()
        matrix = Matrix(http, url, "")
        return await find_room(Sides(matrix, matrix), alias)


def _homeserver() -> str:
    try:
        return str(some_settings("synapse_url")["synapse_url"])
    except Failed:
        raise Failed(
            "an alias is looked up at the homeserver, and LOTUS_GUARD_SYNAPSE_URL does not say "
            "where that is; expected --homeserver URL, or the room's ID"
        ) from None


async def told(http: Http, guard: str, wanted: Wanted) -> Told:
    """Ask the guard for decisions, or read the state file where none answers.

    `guard` is the address that the operator gave: then no file is read, for it may be another
    machine's. Raises Failed where nobody can tell.
    """
    try:
        address = guard_address(guard)
    except Failed as failed:
        return read_state(wanted, failed.message)
    try:
        return await ask_guard(http, address, wanted)
    except Outage as outage:
        why = f"no guard answers at {address} ({outage})"
        if guard:
            raise Failed(f"{why}; expected the operators' port of a running guard") from None
        return read_state(wanted, why)


def _print(question: Question, found: Told) -> None:
    console = make_console()
    if not found.decisions:
        say(console, _nothing(question, found))
    for decision in found.decisions:
        for number, line in enumerate(lines_of(decision)):
            say(console, line, indent=10 if number else 4)
        say(console, "")


def _nothing(question: Question, found: Told) -> str:
    wanted = question.wanted
    kept = "for LOTUS_GUARD_KEEP_DECISIONS days, up to 5,000 for each kind and rule"
    if wanted.reference:
        return (
            f"No decision has the reference {wanted.reference} ({found.source}). Decisions are "
            f"kept {kept}. Check the spelling, and that this is the guard that refused."
        )
    where = f" in {printable(question.alias or wanted.room)}" if wanted.room else ""
    whom = f" on {printable(wanted.user)}" if wanted.user else ""
    return (
        f"No decision{whom}{where} is on record ({found.source}). Tokens that lk-jwt-service "
        "made and the guard left unchanged are not recorded. Refusals, changed tokens, changes to "
        f"live calls and rules that were not enforced are kept {kept}."
    )
