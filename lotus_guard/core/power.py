"""Power levels of a Matrix room: who has which level, and which one setting a state event needs.

Source: the Matrix specification, "m.room.power_levels" and the authorization rules of the room
versions; from version 12 on a room's creators stand above every level. Read leniently, as old room
versions let anything through: what homeservers would refuse counts as if it were not there.

In Synapse's process an event's content is a mapping and no dict, and what is in it may be frozen:
so nothing here asks for dicts and lists.
"""

from collections.abc import Iterator, Mapping
from math import inf
from typing import Any

from attrs import frozen

from lotus_guard.core.lru import weight
from lotus_guard.core.model import UserId

Event = Mapping[str, Any]

POWER_LEVELS = "m.room.power_levels"
"""The type of the event that says who has which level."""
CREATE = "m.room.create"
"""The type of a room's first event, which says who made it."""

_STATE_DEFAULT = 50
"""Needed for a state event where nothing says otherwise, not even an event (docs/facts.md, Any
homeserver: power levels)."""
_CREATOR = 100
"""What whoever made a room has as long as no event says otherwise."""
_CREATOR_IS_SENDER = 11
"""The first room version whose creator is who sent the first event; before, it names them."""
_CREATORS_ABOVE_ALL = 12
"""The first room version in which creators have no level, for they may do everything."""
_HIGHEST = 2**53 - 1
"""No number of Matrix' JSON is higher; those of old rooms are cut to it, and as floats exact."""
_ENTRY = 100
"""Bytes that a level takes beside its name: a number, its part of a table (measured)."""


@frozen
class PowerLevels:
    """Who has which level in a room, and what setting a state event needs there.

    A user or type of event that is not named has the default, and none is named that has it anyway.
    """

    users_default: int = 0
    """The level of whoever has none of their own."""
    state_default: int = _STATE_DEFAULT
    users: Mapping[str, float] = {}
    """Infinite for the creators of a room from version 12 on."""
    events: Mapping[str, int] = {}
    """Levels needed, by type of event."""
    bytes: int = 0
    """About how much memory they take."""

    def of(self, user: UserId | str) -> float:
        """A user's level; infinite for a creator who stands above every level."""
        return self.users.get(user, self.users_default)

    def needed(self, event_type: str) -> int:
        """The level that setting a state event of this type needs."""
        return self.events.get(event_type, self.state_default)


def read_power(levels: Mapping[str, Any] | None, create: Event | None) -> PowerLevels:
    """Read the levels of a room; never raises.

    `levels` is the content of POWER_LEVELS, None where the room has no such event; `create` the
    whole event CREATE, None where nobody is to stand out as a creator.
    """
    said = levels if levels is not None else {}
    users_default = _number(said.get("users_default"), 0)
    state_default = _number(said.get("state_default"), _STATE_DEFAULT)
    users: dict[str, float] = dict(_numbers(said.get("users"), users_default))
    users.update(_creators(create or {}, has_levels=levels is not None))
    events = dict(_numbers(said.get("events"), state_default))
    return PowerLevels(
        users_default,
        state_default,
        users,
        events,
        weight(*users, *events) + _ENTRY * (len(users) + len(events)),
    )


def _creators(create: Event, has_levels: bool) -> Iterator[tuple[str, float]]:
    """Those whose level follows from having made the room."""
    content = _part(create, "content")
    version, sender = _version(content), create.get("sender")
    if version >= _CREATORS_ABOVE_ALL:
        more = content.get("additional_creators")
        for each in (sender, *(more if isinstance(more, list | tuple) else ())):
            if isinstance(each, str):
                yield each, inf
        return
    named = content.get("creator")
    creator = named if version < _CREATOR_IS_SENDER and isinstance(named, str) else sender
    if not has_levels and isinstance(creator, str):
        yield creator, _CREATOR


def _version(create: Mapping[str, Any]) -> int:
    text = create.get("room_version", "1")
    is_number = isinstance(text, str) and text.isascii() and text.isdecimal() and len(text) < 9
    return int(text) if is_number else 0


def _part(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name)
    return value if isinstance(value, Mapping) else {}


def _numbers(levels: object, default: int) -> Iterator[tuple[str, int]]:
    """Those of these levels, by name, that differ from the default."""
    for name, value in levels.items() if isinstance(levels, Mapping) else ():
        level = _number(value, default)
        if level != default:
            yield name, level


def _number(value: object, default: int) -> int:
    """Read a level as homeservers do: before room version 10 it may be text, before 6 a float."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return default
    try:
        return max(-_HIGHEST, min(_HIGHEST, int(value)))
    except (ValueError, OverflowError):  # no number, or none that is finite
        return default
