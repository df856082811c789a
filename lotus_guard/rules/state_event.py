"""Finds a rule's state event among the events of a room, and what it says.

The homeserver's answer is another program's, and the event's content is a user's: every shape is
possible.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol, TypeVar

from attrs import evolve

from lotus_guard.core.ids import is_room_id
from lotus_guard.core.model import RoomId
from lotus_guard.core.objects import as_object, part_of, text_of
from lotus_guard.rules.rule import Content, Policy, Reading

P = TypeVar("P", bound=Policy)


class ReadsEvent(Protocol[P]):
    """What a homeserver is asked for: a type of state event, and what is made of its content."""

    @property
    def event(self) -> str:
        """The type of the event."""
        ...

    @property
    def name(self) -> str:
        """A name that is different for others."""
        ...

    def read(self, content: Content | None) -> Reading[P]:
        """Read the event's content; None where there is no event."""
        ...


def event_of(events: Iterable[object], event_type: str) -> Mapping[str, Any] | None:
    """Find the state event of this type with the empty state key.

    Looks at the type of every event, for older releases of Synapse ignore the `type` filter and
    send the whole state (docs/facts.md, Synapse: admin API). None where there is no such event.
    """
    for event in events:
        if (
            isinstance(event, dict)
            and event.get("type") == event_type
            and event.get("state_key") == ""
        ):
            return event
    return None


def content_of(event: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """The content of an event; None where there is no event."""
    return as_object((event or {}).get("content"))


def predecessor_in(create: Mapping[str, Any] | None) -> RoomId | None:
    """The room that another one replaced, by its first event (`m.room.create`)."""
    room = text_of(part_of(content_of(create) or {}, "predecessor"), "room_id")
    return RoomId(room) if is_room_id(room) else None


def set_at(event: Mapping[str, Any] | None) -> float | None:
    """When an event was sent, in seconds since the epoch by its homeserver's clock."""
    stamp = (event or {}).get("origin_server_ts")
    # Old room versions let any number through, also one that no float can hold.
    return stamp / 1000.0 if isinstance(stamp, int) and 0 < stamp < 2**53 else None


def read_events(rule: ReadsEvent[P], events: Iterable[object] | None) -> Reading[P]:
    """Read a rule's policy in a room's events; None for a room the homeserver does not know."""
    event = event_of(events or (), rule.event)
    reading = rule.read(content_of(event))
    return evolve(reading, set_at=set_at(event), is_unknown=events is None)
