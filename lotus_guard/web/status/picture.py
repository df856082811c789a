"""What a viewer is told: a whole picture once, then only what changed. Pure values.

Events, their data as JSON (rooms and decisions as `lotus_guard.observe.overview` describes them):

    hello         {"now": epoch s, "guard": {...}, "dependencies": [...], "rooms": [...],
                   "decisions": [newest first]}
    rooms         {"changed": [ROOM...], "gone": ["!id"...]}
    decisions     {"new": [newest first]}
    dependencies  [{"name", "state", "since": epoch s | null, "detail"}...]

A dependency's age changes all the time, the moment it last did well does not: so the moment is
told, and the page counts.
"""

from collections.abc import Iterator, Mapping, Sequence
from hashlib import sha256
from typing import Any

from attrs import frozen

MOST_TEXT = 300
"""Characters of a name or an id. Matrix has 255 bytes; whatever is longer somebody made up."""
SAME_MOMENT = 1.0
"""Seconds by which two readings of one moment may differ: ages are rounded, clocks are two."""

Event = tuple[str, Any]


@frozen
class Picture:
    """What was told last."""

    guard: Mapping[str, Any]
    rooms: Mapping[str, Mapping[str, Any]]
    """By room id, as it is told."""
    decisions: Sequence[Mapping[str, Any]]
    """Newest first."""
    dependencies: Sequence[Mapping[str, Any]]

    def hello(self, now: float) -> Event:
        """The whole picture; `now` in seconds since the epoch."""
        return "hello", {
            "now": now,
            "guard": self.guard,
            "dependencies": self.dependencies,
            "rooms": list(self.rooms.values()),
            "decisions": self.decisions,
        }


def pictured(snapshot: Mapping[str, Any], now: float, before: Picture | None) -> Picture:
    """Take a picture of a snapshot that was made just now (seconds since the epoch)."""
    rooms = [_short_room(room) for room in snapshot["rooms"]]
    told = {each["name"]: each["since"] for each in before.dependencies} if before else {}
    return Picture(
        snapshot["guard"],
        {room["room"]: room for room in rooms},
        [_short(decision) for decision in snapshot["decisions"]],
        [_with_moment(each, now, told) for each in snapshot["dependencies"]],
    )


def changes(before: Picture, after: Picture) -> Iterator[Event]:
    """What those who know `before` need to be sent."""
    changed = [room for key, room in after.rooms.items() if before.rooms.get(key) != room]
    gone = [key for key in before.rooms if key not in after.rooms]
    if changed or gone:
        yield "rooms", {"changed": changed, "gone": gone}
    known = {decision["id"] for decision in before.decisions}
    new = [decision for decision in after.decisions if decision["id"] not in known]
    if new:
        yield "decisions", {"new": new}
    if after.dependencies != before.dependencies:
        yield "dependencies", after.dependencies


def _with_moment(
    dependency: Mapping[str, Any], now: float, told: Mapping[str, float | None]
) -> dict[str, Any]:
    told_since, age = told.get(dependency["name"]), dependency["age"]
    since = None if age is None else round(now - age, 1)
    if since is not None and told_since is not None and abs(since - told_since) < SAME_MOMENT:
        since = told_since
    return {
        "name": dependency["name"],
        "state": dependency["state"],
        "since": since,
        "detail": dependency["detail"],
    }


def _short_room(room: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **room,
        "room": _short_text(room["room"]),
        "name": room["name"] and _short_text(room["name"]),
        "users": [_short_text(user) for user in room["users"]],
    }


def _short(value: Any) -> Any:
    """Bound every text in a JSON value."""
    if isinstance(value, str):
        return _short_text(value)
    if isinstance(value, Mapping):
        return {name: _short(each) for name, each in value.items()}
    if isinstance(value, list | tuple):
        return [_short(each) for each in value]
    return value


def _short_text(text: str) -> str:
    """Cut what is too long; two texts that differ still do."""
    if len(text) <= MOST_TEXT:
        return text
    digest = sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:12]
    return f"{text[: MOST_TEXT - 16]}… #{digest}"
