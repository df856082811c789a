"""`lotus-guard policy`: what a room's state says about its calls, and setting it.

Read with the service's own admin token, so that it is what the guard reads. Set with the access
token of a user, so that Synapse decides who may, and the room sees who did.
"""

import json
import sys
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar
from urllib.parse import urlsplit

import click
from attrs import define, evolve, frozen
from rich.console import Console
from rich.text import Text

from lotus_guard.adapters.http import Http
from lotus_guard.adapters.matrix import Denied, Matrix
from lotus_guard.adapters.synapse import is_room_id
from lotus_guard.check.ask import trouble
from lotus_guard.commands.common import Failed, configuration, on_the_reactor
from lotus_guard.commands.policy_words import (
    Held,
    Policies,
    as_json,
    level_in_words,
    lines_of,
    meaning,
)
from lotus_guard.config import Config
from lotus_guard.core.edit import MOST_USERS, Wish, limit_content, sources_content
from lotus_guard.core.model import RoomId
from lotus_guard.core.policy import LIMIT_EVENT, SOURCES_EVENT, content_of, event_of
from lotus_guard.core.power import level_needed, level_of
from lotus_guard.core.text import printable
from lotus_guard.ports import Outage, Reason
from lotus_guard.service import Agents, Clocks

TOKEN_VARIABLE = "POLICY_USER_TOKEN"  # noqa: S105  (a name; LOTUS_GUARD_… is the service's own)
WANTED_TOKEN = (
    "wanted: a valid access token of a user who may set state in the room (Element: Settings, "
    "Help & About, Access Token)"
)
WANTED_ROOM = "wanted: a room id such as '!abc:example.org' or '!abc', or an alias '#room:server'"
_NEVER_SENT = (Reason.REFUSED, Reason.DNS)
_LONGEST_ALIAS = 255  # Matrix specification, appendices, "Room aliases"

D = TypeVar("D")


class RefusedByHomeserver(Failed):
    """The homeserver does not let us; the sentence says why. Exits with 1."""

    exit_code = 1


@frozen
class Sides:
    """The two who ask Synapse."""

    admin: Matrix
    """The service: reads the room's state."""
    user: Matrix
    """The user, or nobody for reading alone: finds aliases, sets state."""


def _homeserver(_context: click.Context, _option: click.Parameter, value: str) -> str:
    try:
        parts = urlsplit(value)
        parts.port  # noqa: B018  (raises ValueError for a port that is none)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and value.isascii()
    except ValueError:
        usable = False
    if value and (not usable or parts.query or parts.fragment or parts.username):
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
            help=f"Access token of a user who may set state in the room. Better: ${TOKEN_VARIABLE}, "
            "which `ps` does not show. Asked for where there is neither.",
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


@click.group()
def policy() -> None:
    """Show or set what a ROOM's state says about its calls.

    ROOM is a room id ('!abc:example.org', '!abc') or an alias ('#room:example.org'). Exits with 0
    when done, 1 where the homeserver refuses, 2 where anything else is in the way.
    """


@policy.command()
@click.argument("room")
@click.option("--json", "is_json", is_flag=True, help="Print one JSON object, for machines.")
@_at
def show(room: str, is_json: bool, homeserver: str) -> None:
    """Tell the policy of ROOM: who set it, when, and what it means."""
    found = _run(room, homeserver, "", read)
    if is_json:
        click.echo(json.dumps(as_json(found), indent=1))
    else:
        _print(lines_of(found))


@policy.command("set")
@click.argument("room")
@click.option(
    "--max-users",
    type=click.IntRange(1, MOST_USERS),
    metavar="N",
    help="At most N different people in the room's calls.",
)
@click.option("--no-limit", is_flag=True, help="Any number of people.")
@click.option("--camera/--no-camera", default=None, help="May anybody publish a camera?")
@click.option("--screenshare/--no-screenshare", default=None, help="May anybody share a screen?")
@_of_user
def set_(
    room: str,
    max_users: int | None,
    no_limit: bool,
    camera: bool | None,
    screenshare: bool | None,
    token: str,
    homeserver: str,
) -> None:
    """Set the policy of ROOM, with a user's access token.

    What no option names stays as it is, also other fields of the state events.
    """
    wish = Wish(max_users, no_limit, camera, screenshare)
    if wish.is_empty:
        raise click.UsageError(
            "nothing to set; wanted: --max-users N, --no-limit, --camera, --no-camera, "
            "--screenshare or --no-screenshare"
        )
    if no_limit and max_users is not None:
        raise click.UsageError("--max-users and --no-limit at once; wanted: one of them")

    async def work(sides: Sides, found: RoomId) -> Changed:
        return await set_policy(sides, found, wish)

    _tell(_run(room, homeserver, _token(token), work))


@policy.command()
@click.argument("room")
@click.option("--limit", is_flag=True, help="Only the limit.")
@click.option("--media", is_flag=True, help="Only the rules for camera and screen.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@_of_user
def clear(room: str, limit: bool, media: bool, yes: bool, token: str, homeserver: str) -> None:
    """Empty the policy of ROOM, with a user's access token: nothing is restricted any more."""
    types = [LIMIT_EVENT] if limit or not media else []
    types += [SOURCES_EVENT] if media or not limit else []
    _check_room(room)
    if not yes:
        _confirm(f"Empty {' and '.join(types)} of {printable(room, 300)}?")

    async def work(sides: Sides, found: RoomId) -> Changed:
        return await clear_policy(sides, found, types)

    _tell(_run(room, homeserver, _token(token), work))


# What is asked of Synapse


@frozen
class Changed:
    """What holds after a change, and the types of the events that were sent for it."""

    policies: Policies
    written: tuple[str, ...]


async def find_room(sides: Sides, text: str) -> RoomId:
    """Find a room by its id or alias; raises Failed."""
    _check_room(text)
    if text.startswith("!"):
        return RoomId(text)
    try:
        return await sides.user.room_of(text)
    except Outage as outage:
        _unreachable(sides.user, outage)
    except Denied as denied:
        if denied.status == 404 and denied.errcode == "M_NOT_FOUND":
            raise RefusedByHomeserver(
                f"no room has the alias {printable(text, 300)}; {WANTED_ROOM}"
            ) from None
        _give_up(sides.user, denied)


async def read(sides: Sides, room: RoomId) -> Policies:
    """Read both policies of a room; raises Failed."""
    limit = await _event(sides.admin, room, LIMIT_EVENT)
    sources = await _event(sides.admin, room, SOURCES_EVENT)
    return Policies(room, Held(LIMIT_EVENT, limit), Held(SOURCES_EVENT, sources))


async def set_policy(sides: Sides, room: RoomId, wish: Wish) -> Changed:
    """Change what is wanted otherwise; raises Failed."""
    now = await read(sides, room)
    wanted = {
        LIMIT_EVENT: limit_content(now.limit.content, wish),
        SOURCES_EVENT: sources_content(now.sources.content, wish),
    }
    return await _write(sides, now, wanted)


async def clear_policy(sides: Sides, room: RoomId, types: list[str]) -> Changed:
    """Empty these events where they hold anything; raises Failed."""
    return await _write(sides, await read(sides, room), {name: {} for name in types})


async def _write(sides: Sides, now: Policies, wanted: Mapping[str, dict[str, Any]]) -> Changed:
    written: list[str] = []
    for held in (now.limit, now.sources):
        content = wanted.get(held.event_type, held.content)
        if _text_of(content) == _text_of(held.content):
            continue
        await _send(sides, now.room, held.event_type, content, written)
        written.append(held.event_type)
        now = _with(now, Held(held.event_type, {"content": dict(content)}))
    return Changed(now, tuple(written))


def _text_of(content: Mapping[str, Any]) -> str:
    """Write a content so that 1, 1.0 and true are three things."""
    return json.dumps(dict(content), sort_keys=True)


def _with(now: Policies, held: Held) -> Policies:
    if held.event_type == LIMIT_EVENT:
        return evolve(now, limit=held)
    return evolve(now, sources=held)


async def _send(
    sides: Sides, room: RoomId, event_type: str, content: Mapping[str, Any], written: list[str]
) -> None:
    so_far = f"{' and '.join(written)} was set before that. " if written else ""
    try:
        await sides.user.set_state(room, event_type, content)
    except Outage as outage:
        sent = "was not set" if outage.reason in _NEVER_SENT else "may or may not have been set"
        why = trouble(outage, sides.user.url)
        raise Failed(
            f"{so_far}{event_type} {sent}: {why}. `lotus-guard policy show` tells what holds"
        ) from None
    except Denied as denied:
        why = await _why(sides, room, event_type, denied)
        raise (RefusedByHomeserver if denied.errcode and denied.status < 500 else Failed)(
            f"{so_far}{event_type} was not set: {why}"
        ) from None


async def _event(admin: Matrix, room: RoomId, event_type: str) -> Mapping[str, Any] | None:
    try:
        return event_of(await admin.events(room, event_type), event_type)
    except Outage as outage:
        _unreachable(admin, outage)
    except Denied as denied:
        if denied.status in (400, 404) and denied.errcode in ("M_NOT_FOUND", "M_INVALID_PARAM"):
            raise RefusedByHomeserver(
                f"Synapse knows no room {printable(room, 300)}; {WANTED_ROOM}, of a room that "
                "somebody of this server is in"
            ) from None
        if denied.status in (401, 403) and denied.errcode:
            raise Failed(
                f"Synapse answers {_said(denied)} to LOTUS_GUARD_SYNAPSE_TOKEN; wanted: a valid "
                "access token of a server admin (`lotus-guard check` tells more)"
            ) from None
        _give_up(admin, denied)


# Why not, in words


async def _why(sides: Sides, room: RoomId, event_type: str, denied: Denied) -> str:
    if denied.status == 401:
        return f"Synapse does not take the user's access token ({_said(denied)}); {WANTED_TOKEN}"
    if denied.status == 403 and denied.errcode == "M_FORBIDDEN":
        try:
            return await _forbidden(sides, room, event_type, denied)
        except (Denied, Outage):
            pass  # what it said must do
    if denied.status == 429:
        return _too_fast(denied)
    return f"{_answerer(sides.user, denied)} {_said(denied)}"


async def _forbidden(sides: Sides, room: RoomId, event_type: str, denied: Denied) -> str:
    """Find out what is missing: being in the room, or power."""
    user = await sides.user.whoami()
    who = printable(user, 300)
    if not await _is_inside(sides.user, room, user):
        return f"{who} is not in the room; wanted: join it with this user, or a token of somebody in it"
    power_levels, create = [
        event_of(await sides.admin.events(room, name), name)
        for name in ("m.room.power_levels", "m.room.create")
    ]
    levels = content_of(power_levels)
    needed, has = level_needed(levels, event_type), level_of(user, levels, create)
    if has >= needed:
        return f"Synapse forbids it to {who}, who has {level_in_words(has)}: {_said(denied)}"
    return (
        f"it takes power level {needed} in the room, and {who} has {has:g}; wanted: a token of "
        f"somebody with more power, or a lower level for {event_type} in the room's permissions"
    )


async def _is_inside(user: Matrix, room: RoomId, user_id: str) -> bool:
    try:
        return await user.membership(room, user_id) == "join"
    except Denied as denied:
        if denied.status in (403, 404) and denied.errcode in ("M_FORBIDDEN", "M_NOT_FOUND"):
            return False
        raise


def _unreachable(side: Matrix, outage: Outage) -> NoReturn:
    raise Failed(f"{trouble(outage, side.url)}; wanted: Synapse there, {_where(side)}") from None


def _give_up(side: Matrix, denied: Denied) -> NoReturn:
    if denied.status == 429:
        raise RefusedByHomeserver(_too_fast(denied)) from None
    failure = RefusedByHomeserver if _is_homeservers(denied) else Failed
    wanted = "" if failure is RefusedByHomeserver else f"; wanted: Synapse there, {_where(side)}"
    raise failure(f"{_answerer(side, denied)} {_said(denied)}{wanted}") from None


def _is_homeservers(denied: Denied) -> bool:
    """Tell whether the homeserver judged what it was asked, and did not just fail."""
    return bool(denied.errcode) and denied.errcode != "M_UNRECOGNIZED" and denied.status < 500


def _answerer(side: Matrix, denied: Denied) -> str:
    return "Synapse answers" if denied.errcode else f"{side.url} answers, and not as Synapse does:"


def _said(denied: Denied) -> str:
    words = f": {printable(denied.error, 400)}" if denied.error else ""
    return f"{denied.status} {printable(denied.errcode, 60)}".strip() + words


def _too_fast(denied: Denied) -> str:
    wait = denied.retry_after
    when = f"in {wait:.0f} s" if wait >= 1.0 else "in a while"
    return f"Synapse takes no more for now (429); wanted: try again {when}"


def _where(_side: Matrix) -> str:
    return "or LOTUS_GUARD_SYNAPSE_URL (for the client API: --homeserver) with its address"


# The command line


@define
class _Run:
    """One run of a command on the reactor."""

    config: Config
    homeserver: str
    token: str

    def sides(self, clocks: Clocks, agents: Agents) -> Sides:
        http = Http(agents.synapse, clocks.reactor)
        config = self.config
        return Sides(
            Matrix(http, config.synapse_url, config.synapse_token, on_wait=_waiting),
            Matrix(http, self.homeserver or config.synapse_url, self.token, on_wait=_waiting),
        )


def _run(room: str, homeserver: str, token: str, work: Any) -> Any:
    _check_room(room)
    run = _Run(configuration(), homeserver, token)

    async def on_it(clocks: Clocks, agents: Agents) -> Any:
        sides = run.sides(clocks, agents)
        return await work(sides, await find_room(sides, room))

    return on_the_reactor(on_it)


def _check_room(text: str) -> None:
    try:
        is_alias = text.startswith("#") and ":" in text and len(text.encode()) <= _LONGEST_ALIAS
    except UnicodeEncodeError:
        is_alias = False
    if not is_alias and not (is_room_id(text) and len(text) > 1):
        raise Failed(f"{printable(text, 80)!r} is no room; {WANTED_ROOM}")


def _token(given: str) -> str:
    """Give the user's token, asked for where it was not given; raises Failed."""
    try:
        token = (given or _prompt()).strip()
    except click.Abort:
        raise Failed(f"no access token, nothing was changed; {WANTED_TOKEN}") from None
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        found = "holds what no token holds" if token else "is empty"
        raise Failed(f"the access token {found}; {WANTED_TOKEN}")
    return token


def _prompt() -> str:
    if not sys.stdin.isatty():
        raise Failed(f"no access token: neither --token nor ${TOKEN_VARIABLE}; {WANTED_TOKEN}")
    return str(click.prompt("Access token", hide_input=True, err=True))


def _confirm(question: str) -> None:
    try:
        if click.confirm(question, err=True):
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
