"""State events of a Matrix room → what is allowed in its calls.

    io.lotus.voice_limit   {"max_users": 5}
    io.lotus.room_quality  {"allow_camera": false, "allow_screenshare": false}

Both have the empty state key. Read leniently: a value that makes no sense is no restriction,
because a typing error of a moderator must not end calls; the complaint that comes with it is
logged with the room id.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from attrs import frozen

from lotus_guard.core.model import LimitPolicy, Source, SourcePolicy

P = TypeVar("P")

LIMIT_EVENT = "io.lotus.voice_limit"
SOURCES_EVENT = "io.lotus.room_quality"

_FORBIDS = {
    "allow_camera": frozenset({Source.CAMERA}),
    # Element Call cannot stop a share whose audio alone is forbidden: the two go together
    # (docs/facts.md, Element Call: microphones and screens).
    "allow_screenshare": frozenset({Source.SCREEN_SHARE, Source.SCREEN_SHARE_AUDIO}),
}


@frozen
class Reading(Generic[P]):
    """A policy, and what was wrong with the event it was read from."""

    policy: P
    complaints: tuple[str, ...] = ()
    set_at: float | None = None
    """When it was set, in seconds since the epoch by a homeserver's clock, where that is known."""
    is_unknown: bool = False
    """Whether the homeserver does not know the room: then there can be no policy."""


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
    """Give the content of an event; None where there is no event."""
    content = (event or {}).get("content")
    return content if isinstance(content, dict) else None


def set_at(event: Mapping[str, Any] | None) -> float | None:
    """Tell when an event was sent, in seconds since the epoch by its homeserver's clock."""
    stamp = (event or {}).get("origin_server_ts")
    # Old room versions let any number through, also one that no float can hold.
    return stamp / 1000.0 if isinstance(stamp, int) and 0 < stamp < 2**53 else None


def read_limit(content: Mapping[str, Any] | None) -> Reading[LimitPolicy]:
    """Read `io.lotus.voice_limit`; only an integer of at least 1 limits."""
    if not content:  # absent, cleared or redacted
        return Reading(LimitPolicy())
    value = content.get("max_users")
    if isinstance(value, int) and not isinstance(value, bool) and value >= 1:
        return Reading(LimitPolicy(value))
    found = f"{LIMIT_EVENT}: max_users is {_shown(value)}; a limit is an integer of at least 1"
    return Reading(LimitPolicy(), (found,))


def read_sources(content: Mapping[str, Any] | None) -> Reading[SourcePolicy]:
    """Read `io.lotus.room_quality`; only `false` forbids, and other fields are not ours."""
    forbidden: set[Source] = set()
    complaints = []
    for field, sources in _FORBIDS.items():
        value = (content or {}).get(field, True)
        if value is False:
            forbidden |= sources
        elif value is not True:
            complaints.append(f"{SOURCES_EVENT}: {field} is {_shown(value)}; only false forbids")
    return Reading(SourcePolicy(frozenset(forbidden)), tuple(complaints))


def _shown(value: object) -> str:
    return f"{value!r:.40}"
