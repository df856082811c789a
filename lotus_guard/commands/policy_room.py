"""A room's policy at its homeserver: read as the service, set as a user, refusals put in words.

What goes wrong is raised as Failed or RefusedByHomeserver; the sentence says what to change.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any, NoReturn

from attrs import evolve, frozen

from lotus_guard.check.exchange import describe_outage
from lotus_guard.commands.common import Failed
from lotus_guard.commands.policy_options import Wishes
from lotus_guard.commands.policy_power import power_in, with_doubts
from lotus_guard.commands.policy_words import RoomPolicies, level_in_words, policies_of
from lotus_guard.core.ids import is_room_id
from lotus_guard.core.model import RoomId
from lotus_guard.core.power import CREATE
from lotus_guard.core.text import printable
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.matrix import Denied, Matrix
from lotus_guard.neighbours.synapse_admin import is_unknown_room
from lotus_guard.rules import Rules, by_event
from lotus_guard.rules.rule import Content, Rule
from lotus_guard.rules.state_event import event_of, predecessor_in

WANTED_USER = (
    "expected a valid access token of a user who can set state in the room (Element: Settings, "
    "Help & About, Access Token)"
)
WANTED_ROOM = "expected a room ID such as '!abc:example.org' or '!abc', or an alias '#room:server'"
WANTED_ADDRESS = (
    "expected Synapse's address in LOTUS_GUARD_SYNAPSE_URL, and in --homeserver if clients use "
    "another one"
)
_NEVER_SENT = (Reason.REFUSED, Reason.DNS)
_LONGEST_ALIAS = 255  # Matrix specification, appendices, "Room aliases"


class RefusedByHomeserver(Failed):
    """The homeserver does not let us; the sentence says why. Exits with 1."""

    exit_code = 1


@frozen
class Sides:
    """The two accounts that ask Synapse."""

    admin: Matrix
    """The service: reads the room's state."""
    user: Matrix
    """The user, or nobody for reading alone: finds aliases, sets state."""


@frozen
class Changed:
    """What holds after a change, and the types of the events that were sent for it."""

    policies: RoomPolicies
    written: tuple[str, ...]


def check_room(text: str) -> None:
    """Check that this is written as a room id or an alias is; raises Failed."""
    try:
        is_alias = text.startswith("#") and ":" in text and len(text.encode()) <= _LONGEST_ALIAS
    except UnicodeEncodeError:
        is_alias = False
    if not is_alias and not is_room_id(text):
        raise Failed(f"{printable(text, 80)!r} is not a room; {WANTED_ROOM}")


async def find_room(sides: Sides, text: str) -> RoomId:
    """Find a room by its id or alias; raises Failed."""
    check_room(text)
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


async def read(sides: Sides, room: RoomId, rules: Rules) -> RoomPolicies:
    """Read the policies of a room; raises Failed."""
    events = {event: await _event(sides.admin, room, event) for event in by_event(rules)}
    return policies_of(room, rules, events)


async def read_with_lost(sides: Sides, room: RoomId, rules: Rules) -> RoomPolicies:
    """Read the policies of a room; where it has none, those of the room that it replaced.

    Raises Failed.
    """
    found = await with_doubts(sides.admin, await read(sides, room, rules))
    if any(held.event is not None for held in found.held):
        return found
    old = predecessor_in(await _event(sides.admin, room, CREATE))
    try:
        before = await read(sides, old, rules) if old is not None else None
    except RefusedByHomeserver:  # Synapse does not know that room, or no more
        return found
    is_lost = before is not None and any(held.reading.policy.restricts for held in before.held)
    return evolve(found, lost=before) if is_lost else found


async def set_policy(sides: Sides, room: RoomId, rules: Rules, wishes: Wishes) -> Changed:
    """Change what is wanted otherwise; raises Failed."""

    def wanted(rule: Rule[Any], content: Content) -> Content:
        for option in rule.options:
            if option in wishes:
                content = option.write(content, wishes[option])
        return content

    return await _change(sides, room, rules, wanted)


async def clear_policy(sides: Sides, room: RoomId, rules: Rules, chosen: Rules) -> Changed:
    """Empty the events of the chosen rules where they hold anything; raises Failed.

    From the event of a rule that is not the first to read it only the rule's own fields go.
    """
    owners = _owners(rules)

    def wanted(rule: Rule[Any], content: Content) -> Content:
        if rule not in chosen:
            return content
        kept = content if rule not in owners else {}
        return {name: value for name, value in kept.items() if name not in rule.fields()}

    return await _change(sides, room, rules, wanted)


def clearing(rules: Rules, chosen: Rules) -> str:
    """Put in words what clearing these rules does to a room's events."""
    owners = _owners(rules)
    emptied = [rule.event for rule in chosen if rule in owners]
    others = [rule for rule in chosen if rule.event not in emptied]
    words = [f"Empty {' and '.join(emptied)}"] if emptied else []
    words += [f"Take {', '.join(sorted(rule.fields()))} out of {rule.event}" for rule in others]
    return " and ".join(words)


def _owners(rules: Rules) -> list[Rule[Any]]:
    """The first rule of each event."""
    return [readers[0] for readers in by_event(rules).values()]


async def _change(
    sides: Sides, room: RoomId, rules: Rules, wanted: Callable[[Rule[Any], Content], Content]
) -> Changed:
    now = await read(sides, room, rules)
    written: list[str] = []
    for event, readers in by_event(rules).items():
        before = content = now.content(event)
        for rule in readers:
            content = wanted(rule, content)
        if _text_of(content) == _text_of(before):
            continue
        await _send(sides, room, readers, content, written)
        written.append(event)
        now = now.replaced(event, content)
    return Changed(await with_doubts(sides.admin, now), tuple(written))


def _text_of(content: Mapping[str, Any]) -> str:
    """Write a content so that 1, 1.0 and true are three things."""
    return json.dumps(dict(content), sort_keys=True)


async def _send(
    sides: Sides, room: RoomId, readers: Rules, content: Content, written: list[str]
) -> None:
    event_type, ours = readers[0].event, {name for rule in readers for name in rule.fields()}
    so_far = f"{' and '.join(written)} is set. " if written else ""
    try:
        await sides.user.set_state(room, event_type, content)
    except Outage as outage:
        sent = "was not set" if outage.reason in _NEVER_SENT else "may or may not have been set"
        why = describe_outage(outage, sides.user.url)
        raise Failed(
            f"{so_far}{event_type} {sent}: {why}. See what holds with `lotus-guard policy show`"
        ) from None
    except Denied as denied:
        why = await _why(sides, room, event_type, denied)
        if denied.status == 400 and not ours & content.keys():
            flag = f"`lotus-guard policy clear --{readers[0].clear_flag[0]}`"
            why += f"; {flag} empties the event, including other fields"
        if _is_homeservers(denied):
            raise RefusedByHomeserver(f"{so_far}{event_type} was not set: {why}") from None
        sent = "may or may not have been set" if denied.status >= 500 else "was not set"
        raise Failed(f"{so_far}{event_type} {sent}: {why}; {WANTED_ADDRESS}") from None


async def _event(admin: Matrix, room: RoomId, event_type: str) -> Mapping[str, Any] | None:
    try:
        return event_of(await admin.events(room, event_type), event_type)
    except Outage as outage:
        _unreachable(admin, outage)
    except Denied as denied:
        if is_unknown_room(denied.status, denied.errcode):
            raise RefusedByHomeserver(
                f"Synapse does not know the room {printable(room, 300)}; {WANTED_ROOM}, of a room "
                "that has a user of this server"
            ) from None
        if denied.status in (401, 403) and denied.errcode:
            raise Failed(
                f"Synapse answers {_said(denied)} to LOTUS_GUARD_SYNAPSE_TOKEN; expected a valid "
                "access token of a server admin (`lotus-guard check` tells you more)"
            ) from None
        _give_up(admin, denied)


async def _why(sides: Sides, room: RoomId, event_type: str, denied: Denied) -> str:
    if denied.status == 401:
        return f"Synapse rejects the user's access token ({_said(denied)}); {WANTED_USER}"
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
        return f"{who} is not in the room. Fix: let them join, or use a token of somebody in it"
    power = await power_in(sides.admin, room)
    needed, has = power.needed(event_type), power.of(user)
    if has >= needed:
        said = _said(denied)
        return f"Synapse does not allow this, although {who} has {level_in_words(has)}: {said}"
    return (
        f"this needs power level {needed} in the room, and {who} has {has:g}. Fix: use a token of "
        f"somebody with more power, or lower the level for {event_type} in the room's permissions"
    )


async def _is_inside(user: Matrix, room: RoomId, user_id: str) -> bool:
    try:
        return await user.membership(room, user_id) == "join"
    except Denied as denied:
        if denied.status in (403, 404) and denied.errcode in ("M_FORBIDDEN", "M_NOT_FOUND"):
            return False
        raise


def _unreachable(side: Matrix, outage: Outage) -> NoReturn:
    raise Failed(f"{describe_outage(outage, side.url)}; {WANTED_ADDRESS}") from None


def _give_up(side: Matrix, denied: Denied) -> NoReturn:
    if denied.status == 429:
        raise RefusedByHomeserver(_too_fast(denied)) from None
    failure = RefusedByHomeserver if _is_homeservers(denied) else Failed
    wanted = "" if failure is RefusedByHomeserver else f"; {WANTED_ADDRESS}"
    raise failure(f"{_answerer(side, denied)} {_said(denied)}{wanted}") from None


def _is_homeservers(denied: Denied) -> bool:
    """Whether the homeserver judged what it was asked, and did not just fail."""
    return bool(denied.errcode) and denied.errcode != "M_UNRECOGNIZED" and denied.status < 500


def _answerer(side: Matrix, denied: Denied) -> str:
    if denied.errcode:
        return f"Synapse at {side.url} answers"
    return f"{side.url} answers, but not as Synapse does:"


def _said(denied: Denied) -> str:
    words = f": {printable(denied.error, 400)}" if denied.error else ""
    return f"{denied.status} {printable(denied.errcode, 60)}".strip() + words


def _too_fast(denied: Denied) -> str:
    wait = denied.retry_after
    when = f"in {wait:.0f} s" if wait >= 1.0 else "later"
    return f"Synapse asks us to slow down (429); try again {when}"
