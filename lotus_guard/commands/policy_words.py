"""What a room's policy is, and why it could not be set, in words and as JSON."""

import json
import math
from collections.abc import Mapping
from datetime import datetime
from itertools import chain
from typing import Any

from attrs import evolve, field, frozen

from lotus_guard.core.model import RoomId
from lotus_guard.core.objects import part_of
from lotus_guard.core.text import printable
from lotus_guard.rules import Rules, by_event
from lotus_guard.rules.rule import Content, Reading, Rule, Shown
from lotus_guard.rules.state_event import content_of, set_at

WARNING = "warning: "
"""Begins a line about what the guard does not take as it is meant."""
MOST_UNKNOWN = 20
"""Unknown fields of an event that are named; the others are counted."""


@frozen
class Held:
    """A rule's state event as the room has it; without `event` where it was never set."""

    rule: Rule[Any]
    event: Mapping[str, Any] | None = field(default=None, repr=False)
    others: frozenset[str] = frozenset()
    """The fields of the event that other rules read."""
    doubts: tuple[str, ...] = ()
    """What makes no sense in it with the room's power levels, as far as they are known."""

    @property
    def reading(self) -> Reading[Any]:
        """Its policy, read as the guard reads it."""
        return self.rule.read(content_of(self.event))

    @property
    def complaints(self) -> tuple[str, ...]:
        """What makes no sense in it."""
        return self.reading.complaints + self.doubts

    @property
    def shown(self) -> Shown:
        """Its policy in words."""
        return self.rule.show(self.reading.policy)

    @property
    def content(self) -> Content:
        """Its content; empty where there is none."""
        return content_of(self.event) or {}

    @property
    def unknown(self) -> list[str]:
        """The names of the fields that are not the guard's."""
        return [name for name in self.content if name not in self.rule.fields() | self.others]

    @property
    def sender(self) -> str | None:
        """Who sent it."""
        sender = (self.event or {}).get("sender")
        return sender if isinstance(sender, str) and sender else None

    @property
    def redacted_by(self) -> str | None:
        """Who took its content out; Synapse has it in one place or the other."""
        event = self.event or {}
        for place in (event, part_of(event, "unsigned")):
            sender = part_of(place, "redacted_because").get("sender")
            if isinstance(sender, str):
                return sender
        return None


@frozen
class RoomPolicies:
    """The policies of all rules in a room."""

    room: RoomId
    held: tuple[Held, ...]
    """In the order of the rules."""
    lost: "RoomPolicies | None" = None
    """Those of the room that this one replaced, where it has none itself."""

    @property
    def complaints(self) -> tuple[str, ...]:
        """What makes no sense in them."""
        return tuple(each for held in self.held for each in held.complaints)

    def content(self, event: str) -> Content:
        """What an event of this type says; empty where there is none."""
        return next((held.content for held in self.held if held.rule.event == event), {})

    def replaced(self, event: str, content: Content) -> "RoomPolicies":
        """The same with another content of the event of this type."""
        new = {"content": dict(content)}
        held = (evolve(h, event=new, doubts=()) if h.rule.event == event else h for h in self.held)
        return RoomPolicies(self.room, tuple(held))


def policies_of(
    room: RoomId, rules: Rules, events: Mapping[str, Mapping[str, Any] | None]
) -> RoomPolicies:
    """What the rules' events of a room hold, by their types."""
    readers = by_event(rules)
    fields = {event: frozenset(chain(*(r.fields() for r in readers[event]))) for event in readers}
    held = (Held(rule, events[rule.event], fields[rule.event]) for rule in rules)
    return RoomPolicies(room, tuple(held))


def meaning(policies: RoomPolicies) -> list[str]:
    """Put in sentences what holds in the room's calls."""
    return [sentence for held in policies.held for sentence in held.shown.sentences]


def lines_of(policies: RoomPolicies) -> list[str]:
    """Describe a room's policies for people to read; whatever strangers wrote is escaped."""
    lines = [f"Room     {printable(policies.room, 300)}"]
    told: set[str] = set()
    for held in policies.held:
        lines.append(f"{held.rule.heading:<8} {' '.join(held.shown.sentences)}")
        origin = [] if held.rule.event in told else _origin(held)
        complaints = [f"{WARNING}{printable(each, 400)}" for each in held.complaints]
        lines += [f"         {line}" for line in [*origin[:1], *complaints, *origin[1:]]]
        told.add(held.rule.event)
    return lines + (_lost(policies.lost) if policies.lost else [])


def _lost(before: RoomPolicies) -> list[str]:
    return [
        f"Lost     This room replaced {printable(before.room, 300)}; the upgrade did not copy that "
        "room's rules.",
        f"         They were: {' '.join(meaning(before))}",
        "         Set them again with `lotus-guard policy set`. `carry_over: true` in the Synapse "
        "module copies them next time.",
    ]


def _origin(held: Held) -> list[str]:
    """Who set an event and when, and what in it is nobody's."""
    lines = [_set_by(held)]
    unknown = held.unknown
    if unknown:
        named = [f"{name} = {_json(held.content[name])}" for name in unknown[:MOST_UNKNOWN]]
        more = len(unknown) - len(named)
        named += [f"and {more} more"] if more else []
        lines.append(
            f"other fields, left alone: {', '.join(printable(each, 80) for each in named)}"
        )
    return lines


def _set_by(held: Held) -> str:
    if held.event is None:
        return f"{held.rule.event} was never set"
    who, at = printable(held.sender or "an unknown user", 300), _time(set_at(held.event))
    if held.content:
        return f"{held.rule.event}, set by {who} {at}"
    if held.redacted_by:
        return f"{held.rule.event}, set by {who} {at}; redacted by {printable(held.redacted_by)}"
    return f"{held.rule.event} is empty, so it has no effect; sent by {who} {at}"


def _time(epoch: float | None) -> str:
    try:
        at = datetime.fromtimestamp(epoch or math.nan).astimezone()
    except (ValueError, OverflowError, OSError):
        return "at an unknown time"
    return at.strftime("on %Y-%m-%d at %H:%M:%S %z")


def as_json(policies: RoomPolicies) -> dict[str, Any]:
    """Describe a room's policies for machines, by the names of the rules."""
    rules = {held.rule.name: {**_event_json(held), **held.shown.fields} for held in policies.held}
    lost = as_json(policies.lost) if policies.lost else None
    return {"room": policies.room, **rules, "rules_lost_of": lost}


def _event_json(held: Held) -> dict[str, Any]:
    return {
        "event": held.rule.event,
        "content": None if held.event is None else dict(held.content),
        "sender": held.sender,
        "at": set_at(held.event),
        "redacted_by": held.redacted_by,
        "complaints": list(held.complaints),
        "unknown": held.unknown,
    }


def level_in_words(level: float) -> str:
    """Write a power level."""
    return (
        "unlimited power, as a creator of the room"
        if level == math.inf
        else f"power level {level:g}"
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
