"""Synapse: is it there, does it take our token as an admin's, and does it filter state?

The state filter (`?type=` of the Room State admin API) came with Synapse 1.123.0
(element-hq/synapse#18035, its changelog of 2025-01-28); older ones send the whole state.
"""

import re
from typing import Any

from lotus_guard.check.context import CheckContext
from lotus_guard.check.exchange import (
    describe_answer,
    describe_outage,
    errcode_of,
    fields_of,
    request,
)
from lotus_guard.check.finding import Finding, fault, note, ok, warning
from lotus_guard.core.power import CREATE
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.http import HttpAnswer
from lotus_guard.neighbours.matrix import VERSIONS_PATH
from lotus_guard.neighbours.synapse_admin import VERSION_PATH, events_in, rooms_path, state_path

SYNAPSE, TOKEN, FILTER = "synapse", "synapse-token", "synapse-filter"
WANTED = (
    "set LOTUS_GUARD_SYNAPSE_URL=http://127.0.0.1:8008 (Synapse itself, not the proxy before it)"
)
ADMIN = "set LOTUS_GUARD_SYNAPSE_TOKEN (or …_FROM_FILE) to a server admin's access token"
UPDATE = "update Synapse to 1.123.0 or later"
SINCE = (1, 123)


async def check_synapse(context: CheckContext) -> list[Finding]:
    """Go from the door (versions) to the token (rooms) to the filter (state).

    Without an admin's token only to the door: any homeserver will do.
    """
    base = context.config.synapse_url
    try:
        versions = await request(context.http.synapse, "GET", base + VERSIONS_PATH)
        if versions.status != 200 or "versions" not in fields_of(versions):
            seen = f"{base} answers {describe_answer(versions)}: not a homeserver"
            return [fault(SYNAPSE, seen, WANTED)]
        if not context.config.synapse_token:
            return [ok(SYNAPSE, f"the homeserver answers at {base}")]
        rooms = await _admin(context, rooms_path(limit=10))
        refused = _refusal(base, rooms)
        if refused:
            return refused
        there = [
            ok(SYNAPSE, f"Synapse answers at {base}"),
            ok(TOKEN, "Synapse accepts the token as an admin's"),
        ]
        return [*there, await _check_filter(context, fields_of(rooms).get("rooms"))]
    except Outage as outage:
        return [fault(SYNAPSE, describe_outage(outage, base), f"start Synapse, or {WANTED}")]


def _refusal(base: str, answer: HttpAnswer) -> list[Finding]:
    """Why the admin API does not let us in; nothing where it does."""
    there, code = ok(SYNAPSE, f"Synapse answers at {base}"), errcode_of(answer)
    if answer.status == 401 and code:
        seen = f"Synapse does not accept the token, it may have expired (401 {code})"
        return [there, fault(TOKEN, seen, ADMIN)]
    if answer.status == 403 and code:
        seen = f"the token is not a server admin's (403 {code})"
        return [there, fault(TOKEN, seen, ADMIN)]
    if answer.status != 200 or not isinstance(fields_of(answer).get("rooms"), list):
        seen = f"{base} answers {describe_answer(answer)} to /_synapse/admin: not the admin API"
        return [fault(SYNAPSE, seen, WANTED)]
    return []


async def _check_filter(context: CheckContext, rooms: Any) -> Finding:
    version = await _version(context)
    room = next(
        (
            each["room_id"]
            for each in rooms
            if isinstance(each, dict)
            and isinstance(each.get("room_id"), str)
            and each.get("state_events") != 0
        ),
        None,
    )
    types = await _types_sent(context, room) if room else set()
    if types == {CREATE}:
        return ok(FILTER, f"Synapse {version} sends only the state it is asked for")
    if types or _is_older(version):
        seen = (
            f"Synapse {version} sends a room's whole state for each look-up: it works, but slowly"
        )
        return warning(FILTER, seen, UPDATE)
    return note(FILTER, f"not checked: Synapse {version} has no room to try the state filter with")


async def _types_sent(context: CheckContext, room: str) -> set[str]:
    try:
        answer = await _admin(context, state_path(room, CREATE))
    except Outage as outage:
        if outage.reason is Reason.OVERSIZED:
            return {"a whole state"}  # nothing else is that long
        raise
    events = events_in(fields_of(answer)) or []
    return {str(event.get("type")) for event in events if isinstance(event, dict)}


async def _version(context: CheckContext) -> str:
    version = fields_of(await _admin(context, VERSION_PATH)).get("server_version")
    return version.partition(" ")[0] if isinstance(version, str) else "(of unknown version)"


def _is_older(version: str) -> bool:
    numbers = re.match(r"(\d+)\.(\d+)", version)
    return numbers is not None and (int(numbers[1]), int(numbers[2])) < SINCE


async def _admin(context: CheckContext, path: str) -> HttpAnswer:
    headers = {"Authorization": f"Bearer {context.config.synapse_token}"}
    return await request(context.http.synapse, "GET", context.config.synapse_url + path, headers)
