"""`lotus-guard explain`: why somebody was refused, or may publish less than they would like."""

import json
import sqlite3
from datetime import datetime
from typing import Any
from urllib.parse import urlencode

import click
from attrs import frozen

from lotus_guard.commands.common import Failed, admin_address, configuration, on_the_reactor
from lotus_guard.core.text import printable
from lotus_guard.enforce.ports import Outage
from lotus_guard.enforce.records import mask_of
from lotus_guard.memory.sqlite_read import select_decisions
from lotus_guard.neighbours.agents import Agents
from lotus_guard.neighbours.http import Http
from lotus_guard.rules import RULES, Rules
from lotus_guard.rules.decision import Decision, from_json
from lotus_guard.rules.rulings import replay
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import Config

SECONDS = 5.0
MOST_BYTES = 8 * 1024 * 1024


@frozen
class Told:
    """Decisions on somebody, newest first, and who told us."""

    decisions: list[Decision]
    source: str


@click.command()
@click.argument("user")
@click.argument("room", required=False)
@click.option("--limit", default=20, show_default=True, help="At most so many decisions.")
@click.option("--json", "as_json", is_flag=True, help="For machines: a JSON object a line.")
def explain(user: str, room: str | None, limit: int, as_json: bool) -> None:
    """Show the recent decisions on USER (@user:server), in ROOM (!room) or in all rooms.

    Each comes with its inputs, the rule and the verdict, and is decided once more by the same
    code. Asks the running guard; where none runs, reads the state file.
    """
    config = configuration()
    if not user.startswith("@") or (room is not None and not room.startswith("!")):
        raise Failed("wanted: a user such as @alice:example.org, and a room id such as '!abc:…'")
    if config.log_users == "no":
        raise Failed(
            "no users are on record: LOTUS_GUARD_LOG_USERS is no; wanted: yes or hash, from the "
            "next decision on"
        )

    async def ask(clocks: Clocks, agents: Agents) -> Told:
        return await told(Http(agents.livekit, clocks.reactor), config, user, room, limit)

    found = on_the_reactor(ask)
    if as_json:
        for decision in found.decisions:
            click.echo(
                json.dumps({**decision.as_json(), "replayed": replay(decision.ruling, RULES)})
            )
        return
    if not found.decisions:
        where = f" in {printable(room)}" if room else ""
        click.echo(
            f"No decision on {printable(user)}{where} is on record ({found.source}). Whoever got "
            "a token as upstream made it is not written down; refusals, changed tokens, live "
            f"steps and fail-opens are, for {config.keep_decisions:g} days."
        )
    for decision in found.decisions:
        click.echo("\n".join(lines_of(decision)) + "\n")


async def told(http: Http, config: Config, user: str, room: str | None, limit: int) -> Told:
    """Ask the guard for decisions, or read the state file where none answers.

    Raises Failed where neither can be had.
    """
    address = admin_address(config)
    if address is None:
        return _read_file(config, user, room, limit, "the guard has no operators' port")
    wanted = {"user": user, "limit": str(limit), **({"room": room} if room else {})}
    url = f"{address}/decisions?{urlencode(wanted)}".encode("ascii")
    try:
        answer = await http.exchange(b"GET", url, {}, None, seconds=SECONDS, most=MOST_BYTES)
    except Outage as outage:
        return _read_file(config, user, room, limit, f"no guard at {address}: {outage}")
    try:
        found = json.loads(answer.body)["decisions"]
        return Told([from_json(each) for each in found], f"asked the guard at {address}")
    except (ValueError, KeyError, TypeError):
        raise Failed(
            f"{address} answered {answer.status}, and not as a guard does; wanted: "
            "LOTUS_GUARD_ADMIN_LISTEN as the running guard has it"
        ) from None


def lines_of(decision: Decision, rules: Rules = RULES) -> list[str]:
    """Write a decision for people to read."""
    ruling = decision.ruling
    when = datetime.fromtimestamp(decision.at).astimezone().strftime("%Y-%m-%d %H:%M:%S %z")
    observed = "  (observed only: nothing was changed)" if decision.observed else ""
    lines = [
        f"{when}  [{printable(decision.id)}]  {printable(ruling.verdict)}{observed}",
        f"  room    {printable(ruling.room or 'not known')}",
        f"  rule    {printable(ruling.rule)}",
        f"  why     {printable(ruling.why, 400)}",
        f"  inputs  {_inputs(dict(ruling.inputs))}",
    ]
    if ruling.people:
        lines.append(f"  seated  {', '.join(map(printable, ruling.people))}")
    return [*lines, f"  replay  {_replayed(decision, rules)}"]


def _inputs(inputs: dict[str, Any]) -> str:
    return printable(", ".join(f"{name} = {json.dumps(inputs[name])}" for name in inputs), 600)


def _replayed(decision: Decision, rules: Rules) -> str:
    """Decide once more, and say whether the same comes of it."""
    try:
        verdict = replay(decision.ruling, rules)
    except (KeyError, ValueError, TypeError):
        return "not possible: another release wrote these inputs"
    if verdict is None:
        return "nothing to replay: no rule was asked"
    if verdict == decision.ruling.verdict:
        return f"the same: {printable(verdict)}"
    return f"DIFFERENT with this release: {printable(verdict)}"


def _read_file(config: Config, user: str, room: str | None, limit: int, why: str) -> Told:
    if config.redis is not None:
        raise Failed(
            f"{why}; and what several guards have decided is in Redis. Wanted: the address of one "
            "that runs in LOTUS_GUARD_ADMIN_LISTEN"
        )
    shown = mask_of(config.log_users, config.secret)(user)
    path = config.state.absolute()
    try:
        connection = sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=2.0)
        try:
            found = select_decisions(connection.cursor(), room, shown, limit)
        finally:
            connection.close()
    except (sqlite3.Error, ValueError, KeyError) as error:
        raise Failed(
            f"{why}; and the state file {path} cannot be read ({error}). Wanted: a running guard, "
            "or LOTUS_GUARD_STATE as the guard has it and the right to read it"
        ) from None
    return Told(found, f"{why}; read {path}")
