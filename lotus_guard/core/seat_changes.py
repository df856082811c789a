"""What has changed of a room's seats, and the same as JSON: guards tell each other this much only.

    {"looks": ..., "holds": ..., ...    what is new, as a table has it (core.seats_json)
     "still": {alias: at},              looks that found whom the one before had found
     "gone": {section: [key, ...]}}

What is missing has not changed. A change that only holds seats, or holds them for longer, or only
dates a look that found the same people, is one that *joins*: two of those come out the same
whichever is made first, and none frees a seat.
"""

from collections.abc import Mapping
from typing import Any

from attrs import define, evolve, field

from lotus_guard.core.model import LiveKitRoom
from lotus_guard.core.seat_merge import longer_hold
from lotus_guard.core.seat_table import Look, Table
from lotus_guard.core.seats_json import read_table, write_table

_SECTIONS = {
    "looks": "looks",
    "holds": "holds",
    "standing": "unseated",
    "returning": "returning",
    "put_out": "put_out",
}
"""The names of what is kept by key: in a document, and of a table."""
_NOTHING: Mapping[str, Any] = write_table(Table(), 0.0)


@define
class Change:
    """What is different between two tables."""

    new: Table = field(factory=Table)
    """What is new, or other than before."""
    still: dict[LiveKitRoom, float] = field(factory=dict)
    """When those were looked at again who are still the same."""
    gone: dict[str, list[str]] = field(factory=dict)
    """The keys that are not there any more, by the section's name in a document."""
    is_limited_anew: bool = False
    """Whether `limited` is other than before."""

    def __bool__(self) -> bool:
        return bool(self.still or self.gone or self.is_limited_anew or self.new != Table())

    def joins(self, before: Table, after: Table) -> bool:
        """Whether made on more seats than before it would be the same."""
        others = evolve(self.new, holds={}) != Table()
        if others or self.gone or self.is_limited_anew or after.returning:
            return False
        olds = ((before.holds.get(person), hold) for person, hold in self.new.holds.items())
        return all(old is None or longer_hold(old, hold) == hold for old, hold in olds)

    def join(self, table: Table) -> None:
        """Make it on a table on which others that join may have been made since."""
        for person, hold in self.new.holds.items():
            old = table.holds.get(person)
            table.holds[person] = hold if old is None else longer_hold(old, hold)
        for livekit_room, at in self.still.items():
            look = table.looks.get(livekit_room)
            if look is not None and look.at < at:
                table.looks[livekit_room] = Look(at, look.people)

    def apply(self, table: Table) -> None:
        """Make it on the table that it was found on."""
        for written, name in _SECTIONS.items():
            section = getattr(table, name)
            section.update(getattr(self.new, name))
            for key in self.gone.get(written, ()):
                section.pop(key, None)
        for livekit_room, at in self.still.items():
            if livekit_room in table.looks:
                table.looks[livekit_room] = Look(at, table.looks[livekit_room].people)
        table.unwatched |= self.new.unwatched
        table.unwatched.difference_update(map(LiveKitRoom, self.gone.get("unwatched", ())))
        if self.is_limited_anew:
            table.limited = self.new.limited


def change_between(before: Table, after: Table) -> Change:
    """Find what is different between two tables."""
    change = Change()
    for written, name in _SECTIONS.items():
        old, now = getattr(before, name), getattr(after, name)
        if old is now or old == now:
            continue
        section = getattr(change.new, name)
        section.update({key: value for key, value in now.items() if old.get(key) != value})
        if gone := [key for key in old if key not in now]:
            change.gone[written] = gone
    for livekit_room, look in list(change.new.looks.items()):
        known = before.looks.get(livekit_room)
        if known is not None and known.people == look.people:
            change.still[livekit_room] = look.at
            del change.new.looks[livekit_room]
    change.new.unwatched = after.unwatched - before.unwatched
    if gone := sorted(before.unwatched - after.unwatched):
        change.gone["unwatched"] = list(gone)
    if before.limited != after.limited:
        change.new.limited, change.is_limited_anew = after.limited, True
    return change


def write_change(change: Change, clock_offset: float) -> dict[str, Any]:
    """Write a change as what JSON can hold."""
    written = write_table(change.new, clock_offset)
    document = {name: value for name, value in written.items() if value}
    if change.is_limited_anew:
        document["limited"] = written["limited"]
    if change.still:
        document["still"] = {a: round(at + clock_offset, 6) for a, at in change.still.items()}
    if change.gone:
        document["gone"] = change.gone
    return document


def read_change(document: Mapping[str, Any], clock_offset: float) -> Change:
    """Read a change back.

    Raises KeyError, ValueError, TypeError or AttributeError for what is none.
    """
    still, gone = document.get("still", {}), document.get("gone", {})
    return Change(
        read_table({**_NOTHING, **document}, clock_offset),
        {LiveKitRoom(a): round(at - clock_offset, 6) for a, at in still.items()},
        {str(section): list(map(str, keys)) for section, keys in gone.items()},
        "limited" in document,
    )
