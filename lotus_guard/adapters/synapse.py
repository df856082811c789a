"""Synapse's admin API, where the policies of a room are read.

The wire (FACTS.md, Synapse):

    GET {synapse}/_synapse/admin/v1/rooms/{room_id}/state?type={type}
    Authorization: Bearer <an admin's access token>
    200 {"state": [event, ...]}            older releases ignore `type` and send the whole state
    404 {"errcode": "M_NOT_FOUND", ...}    no such room: an answer, not an outage
"""

import json
from typing import Any
from urllib.parse import quote

from attrs import define

from lotus_guard.adapters.http import Http, HttpAnswer
from lotus_guard.core.model import LimitPolicy, RoomId, SourcePolicy
from lotus_guard.core.policy import (
    LIMIT_EVENT,
    SOURCES_EVENT,
    Reading,
    content_of,
    read_limit,
    read_sources,
)
from lotus_guard.ports import Outage, Reason

_MOST_BYTES = 32 * 1024 * 1024  # a big room's whole state, from an old Synapse
_MOST_ROOM_ID = 255  # Matrix specification, appendices, "Identifier grammar"


@define(eq=False)
class Synapse:
    """Reads policies with an admin's token. Each call raises Outage when it fails."""

    http: Http
    url: str
    """Base address such as `http://127.0.0.1:8008`, without a trailing slash."""
    token: str
    seconds: float
    """The deadline of one call."""

    async def limit(self, room: RoomId) -> Reading[LimitPolicy]:
        """Read the limit of a room."""
        return read_limit(content_of(await self._state(room, LIMIT_EVENT), LIMIT_EVENT))

    async def sources(self, room: RoomId) -> Reading[SourcePolicy]:
        """Read the source policy of a room."""
        return read_sources(content_of(await self._state(room, SOURCES_EVENT), SOURCES_EVENT))

    async def _state(self, room: RoomId, event_type: str) -> list[Any]:
        if not is_room_id(room):
            return []  # such a room cannot exist, so it has no policy
        answer = await self.http.exchange(
            b"GET",
            f"{self.url}/_synapse/admin/v1/rooms/{quote(room, safe='')}/state"
            f"?type={event_type}".encode("ascii"),
            {b"Authorization": b"Bearer " + self.token.encode("ascii")},
            None,
            seconds=self.seconds,
            most=_MOST_BYTES,
        )
        return _events(answer)


def is_room_id(room: str) -> bool:
    """Tell whether Synapse could know a room by this id."""
    try:
        return room.startswith("!") and len(room.encode("utf-8")) <= _MOST_ROOM_ID
    except UnicodeEncodeError:
        return False


def _events(answer: HttpAnswer) -> list[Any]:
    try:
        value = json.loads(answer.body)
    except (ValueError, RecursionError):
        value = None
    fields = value if isinstance(value, dict) else {}
    if answer.status in (400, 404) and fields.get("errcode") in ("M_NOT_FOUND", "M_INVALID_PARAM"):
        return []
    if answer.status == 200:
        state = fields.get("state")
        if isinstance(state, list):
            return state
        raise Outage(Reason.GARBAGE, "Synapse's answer has no list of state events")
    if answer.status in (401, 403):
        raise Outage(
            Reason.UNAUTHORIZED,
            f"Synapse answered {answer.status} ({fields.get('errcode')!s:.40}) to the admin token",
        )
    if answer.status == 404:
        raise Outage(Reason.NOT_FOUND, "Synapse's admin API is not at LOTUS_GUARD_SYNAPSE_URL")
    reason = Reason.SERVER_ERROR if answer.status >= 500 else Reason.GARBAGE
    raise Outage(reason, f"Synapse answered {answer.status}")
