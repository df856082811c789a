"""What a room's policy is, and why it could not be set, in words and as JSON."""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from attrs import field, frozen

from lotus_guard.core.model import LimitPolicy, RoomId, Source, SourcePolicy
from lotus_guard.core.text import printable
from lotus_guard.rules.edit import Content
from lotus_guard.rules.policy import (
    LIMIT_EVENT,
    SOURCES_EVENT,
    Reading,
    content_of,
    read_limit,
    read_sources,
    set_at,
)

MOST_UNKNOWN = 20
"""Unknown fields of an event that are named; the others are counted."""
_KNOWN = {LIMIT_EVENT: {"max_users"}, SOURCES_EVENT: {"allow_camera", "allow_screenshare"}}


@frozen
class Held:
    """A state event of a policy as the room has it; without `event` where it was never set."""

    event_type: str
    event: Mapping[str, Any] | None = field(default=None, repr=False)

    @property
    def content(self) -> Content:
        """Give its content; empty where there is none."""
        return content_of(self.event) or {}

    @property
    def unknown(self) -> list[str]:
        """Name the fields that are not the guard's."""
        return [name for name in self.content if name not in _KNOWN[self.event_type]]

    @property
    def sender(self) -> str | None:
        """Tell who sent it."""
        sender = (self.event or {}).get("sender")
        return sender if isinstance(sender, str) and sender else None

    @property
    def redacted_by(self) -> str | None:
        """Tell who took its content out; Synapse has it in one place or the other."""
        unsigned = (self.event or {}).get("unsigned")
        places = (self.event or {}, unsigned if isinstance(unsigned, dict) else {})
        for place in places:
            because = place.get("redacted_because")
            if isinstance(because, dict) and isinstance(because.get("sender"), str):
                return str(because["sender"])
        return None


@frozen
class Policies:
    """Both policies of a room."""

    room: RoomId
    limit: Held = Held(LIMIT_EVENT)
    sources: Held = Held(SOURCES_EVENT)

    @property
    def limit_reading(self) -> Reading[LimitPolicy]:
        """Read the limit as the guard does."""
        return read_limit(content_of(self.limit.event))

    @property
    def sources_reading(self) -> Reading[SourcePolicy]:
        """Read camera and screen as the guard does."""
        return read_sources(content_of(self.sources.event))

    @property
    def complaints(self) -> tuple[str, ...]:
        """List what makes no sense in them."""
        return self.limit_reading.complaints + self.sources_reading.complaints


def meaning(policies: Policies) -> list[str]:
    """Say what holds in the room's calls."""
    return [_limit_in_words(policies), *_sources_in_words(policies)]


def _limit_in_words(policies: Policies) -> str:
    most = policies.limit_reading.policy.max_users
    if most is None:
        return "Any number of people may be in the room's calls."
    people = "1 person" if most == 1 else f"{most} different people"
    return f"At most {people} may be in the room's calls."


def _sources_in_words(policies: Policies) -> list[str]:
    forbidden = policies.sources_reading.policy.forbidden
    return [
        "Nobody may publish a camera." if Source.CAMERA in forbidden else "Cameras are allowed.",
        "Nobody may share a screen."
        if Source.SCREEN_SHARE in forbidden
        else "Screens may be shared.",
    ]


def lines_of(policies: Policies) -> list[str]:
    """Describe a room's policies for people to read; whatever strangers wrote is escaped."""
    return [
        f"Room     {printable(policies.room, 300)}",
        f"Limit    {_limit_in_words(policies)}",
        *_origin(policies.limit, policies.limit_reading.complaints),
        f"Sources  {' '.join(_sources_in_words(policies))}",
        *_origin(policies.sources, policies.sources_reading.complaints),
    ]


def _origin(held: Held, complaints: tuple[str, ...]) -> list[str]:
    lines = [_set_by(held), *(f"senseless: {printable(each, 400)}" for each in complaints)]
    unknown = held.unknown
    if unknown:
        named = [f"{name} = {_json(held.content[name])}" for name in unknown[:MOST_UNKNOWN]]
        more = len(unknown) - len(named)
        named += [f"and {more} more"] if more else []
        lines.append(
            f"not ours, and left alone: {', '.join(printable(each, 80) for each in named)}"
        )
    return [f"         {line}" for line in lines]


def _set_by(held: Held) -> str:
    if held.event is None:
        return f"{held.event_type} was never set"
    who, at = printable(held.sender or "somebody unknown", 300), _time(set_at(held.event))
    if held.content:
        return f"{held.event_type}, set by {who} {at}"
    if held.redacted_by:
        return f"{held.event_type}, set by {who} {at}; redacted by {printable(held.redacted_by)}"
    return f"{held.event_type} is empty, so it says nothing; sent by {who} {at}"


def _time(epoch: float | None) -> str:
    try:
        at = datetime.fromtimestamp(epoch or math.nan).astimezone()
    except (ValueError, OverflowError, OSError):
        return "at a time unknown"
    return at.strftime("on %Y-%m-%d at %H:%M:%S %z")


def as_json(policies: Policies) -> dict[str, Any]:
    """Describe a room's policies for machines."""
    limit, sources = policies.limit_reading, policies.sources_reading
    return {
        "room": policies.room,
        "limit": {
            **_event_json(policies.limit, limit.complaints),
            "max_users": limit.policy.max_users,
        },
        "sources": {
            **_event_json(policies.sources, sources.complaints),
            "forbidden": sorted(sources.policy.forbidden),
        },
    }


def _event_json(held: Held, complaints: tuple[str, ...]) -> dict[str, Any]:
    return {
        "event": held.event_type,
        "content": None if held.event is None else dict(held.content),
        "sender": held.sender,
        "at": set_at(held.event),
        "redacted_by": held.redacted_by,
        "complaints": list(complaints),
        "unknown": held.unknown,
    }


def level_in_words(level: float) -> str:
    """Write a power level."""
    return "all power, as a creator of the room" if level == math.inf else f"power level {level:g}"


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
