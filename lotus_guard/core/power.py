"""Power levels of a Matrix room: who may set a state event.

Source: the Matrix specification, "m.room.power_levels" and the authorization rules of the room
versions; from version 12 on a room's creators stand above every level. Read leniently, as old
room versions let anything through: it is for telling people, Synapse alone decides.
"""

from collections.abc import Mapping
from math import inf
from typing import Any

from lotus_guard.core.objects import part_of

Event = Mapping[str, Any]

_STATE_DEFAULT = 50
_CREATOR = 100
_CREATORS_ABOVE_ALL = 12
"""The first room version in which creators have no level, for they may do everything."""


def level_needed(power_levels: Mapping[str, Any] | None, event_type: str) -> int:
    """The level that setting a state event needs; `power_levels` is None where no event is."""
    if power_levels is None:
        return 0
    default = _number(power_levels.get("state_default"), _STATE_DEFAULT)
    return _number(part_of(power_levels, "events").get(event_type), default)


def level_of(user: str, power_levels: Mapping[str, Any] | None, create: Event | None) -> float:
    """A user's level; infinite where they are a creator and the room's version says so."""
    content = part_of(create or {}, "content")
    is_creator = user == (create or {}).get("sender")
    if _version(content) >= _CREATORS_ABOVE_ALL:
        additional = content.get("additional_creators")
        if is_creator or (isinstance(additional, list) and user in additional):
            return inf
    if power_levels is None:
        return _CREATOR if is_creator else 0
    default = _number(power_levels.get("users_default"), 0)
    return _number(part_of(power_levels, "users").get(user), default)


def _version(create: Mapping[str, Any]) -> int:
    text = str(create.get("room_version", "1"))
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 9 else 0


def _number(value: object, default: int) -> int:
    """Read a level; until room version 10 it may be written as text."""
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    try:
        return int(value) if isinstance(value, str) and len(value) < 20 else default
    except ValueError:
        return default
