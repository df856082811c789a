"""What a viewer is told: a whole picture once, then only what changed. Pure values.

Events, their data as JSON (rooms and decisions as `lotus_guard.observe.overview` describes them):

    hello         {"now": epoch s, "guard": {...}, "dependencies": [...], "rooms": [...],
                   "decisions": [newest first], "hour": [oldest minute first]}
    rooms         {"changed": [ROOM...], "gone": ["!id"...]}
    decisions     {"new": [newest first]}
    dependencies  [{"name", "state", "since": epoch s | null, "down_since": epoch s | null,
                    "detail"}...]
    hour          [minutes that are new or changed] (`lotus_guard.observe.last_hour`)

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
    hour: Sequence[Mapping[str, Any]]

    def hello(self, now: float) -> Event:
        """The whole picture; `now` in seconds since the epoch."""
        return "hello", {
            "now": now,
            "guard": self.guard,
            "dependencies": self.dependencies,
            "rooms": list(self.rooms.values()),
            "decisions": self.decisions,
            "hour": self.hour,
        }


def pictured(snapshot: Mapping[str, Any], now: float, before: Picture | None) -> Picture:
    """Take a picture of a snapshot that was made just now (seconds since the epoch)."""
    rooms = [_short_room(room) for room in snapshot["rooms"]]
    told = {each["name"]: each for each in before.dependencies} if before else {}
    known = {decision["id"]: decision for decision in before.decisions} if before else {}
    return Picture(
        snapshot["guard"],
        {room["room"]: room for room in rooms},
        [known.get(each["id"]) or _short(each) for each in snapshot["decisions"]],
        [_with_moments(each, now, told.get(each["name"], {})) for each in snapshot["dependencies"]],
        snapshot["hour"],
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
    minutes_known = {minute["at"]: minute for minute in before.hour}
    minutes = [minute for minute in after.hour if minutes_known.get(minute["at"]) != minute]
    if minutes:
        yield "hour", minutes


def _with_moments(
    dependency: Mapping[str, Any], now: float, told: Mapping[str, Any]
) -> dict[str, Any]:
    return {
        "name": dependency["name"],
        "state": dependency["state"],
        "since": _moment(dependency["age"], now, told.get("since")),
        "down_since": _moment(dependency.get("down"), now, told.get("down_since")),
        "detail": dependency["detail"],
    }


def _moment(age: float | None, now: float, told: float | None) -> float | None:
    """When something was that is so old; as it was told, where that is the same."""
    if age is None:
        return None
    moment = round(now - age, 1)
    return told if told is not None and abs(moment - told) < SAME_MOMENT else moment


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
