"""Synapse's admin API: the paths that we ask, and how their answers are read.

The wire (docs/facts.md, Synapse: admin API):

GET {synapse}/_synapse/admin/v1/server_version
GET {synapse}/_synapse/admin/v1/rooms?from={n}&limit={n}
GET {synapse}/_synapse/admin/v1/rooms/{room_id}/state?type={type}
GET {synapse}/_synapse/admin/v1/users/{user_id}/joined_rooms
Authorization: Bearer <an admin's access token>
200 {"state": [event, ...]}            older releases ignore `type` and send the whole state
404 {"errcode": "M_NOT_FOUND", ...}    no such room: an answer, not an outage
"""

from collections.abc import Mapping
from typing import Any
from urllib.parse import quote

MOST_BYTES = 32 * 1024 * 1024
"""Bytes of an answer: a big room's whole state, from a Synapse that ignores `type`."""
_ADMIN = "/_synapse/admin/v1"
_QUOTED = {ord(c): quote(c, safe="") for c in map(chr, range(128))}
VERSION_PATH = f"{_ADMIN}/server_version"


def rooms_path(limit: int, start: int = 0) -> str:
    """The path that lists up to `limit` rooms from the `start`th on."""
    return f"{_ADMIN}/rooms?from={start}&limit={limit}"


def state_path(room: str, event_type: str) -> str:
    """The path of a room's state events of one type."""
    return f"{_ADMIN}/rooms/{quoted(room)}/state?type={quoted(event_type)}"


def joined_rooms_path(user: str) -> str:
    """The path of the rooms that a user has joined."""
    return f"{_ADMIN}/users/{quoted(user)}/joined_rooms"


def events_in(fields: Mapping[str, Any]) -> list[Any] | None:
    """Take the state events out of an answer; None where it has none."""
    events = fields.get("state")
    return events if isinstance(events, list) else None


def is_unknown_room(status: int, errcode: object) -> bool:
    """Whether Synapse says that it knows no such room, or that this can be no room's id."""
    return status in (400, 404) and errcode in ("M_NOT_FOUND", "M_INVALID_PARAM")


def quoted(text: str) -> str:
    """Write an id as one segment of a path; what is no text becomes `?`."""
    if text.isascii():  # as nearly all are; `quote` takes a call of Python's for each character
        return text.translate(_QUOTED)
    return quote(text, safe="", errors="replace")
