"""How changes of a room's seats stand in Redis, for the script `redis_scripts.CHANGE`.

Key `table:<room>` is a hash. Its changes are numbered, and a guard that knows one of them is told
those since. Now and then the whole table is written too, for guards that know none; changes from
before the whole table before that are dropped.

    v      <lineage>:<n>:<writer>: the last change
    <n>    "<version> <people it seats, or -1 where it does more than that> <change as JSON>"
    d, b   the whole table as JSON, and the number of the change that it was written with
    o      the number of the oldest change that is kept

Releases before kept the whole table alone, in `seats:<room>` (v and d). It is taken over from
there; they do not read what is written here.
"""

import json
from collections.abc import Sequence
from typing import Any

from attrs import define, field, frozen

from lotus_guard.core.seat_changes import Change, read_change, write_change
from lotus_guard.core.seat_table import Table
from lotus_guard.core.seats_json import read_table, write_table

MORE = -1
"""In place of how many people a change seats, where it does more than that."""
ANY_NUMBER = 1_000_000_000
FAULTS = (ValueError, TypeError, KeyError, AttributeError)
"""What reading raises where something is none of ours."""


@frozen
class Version:
    """Names one change of a room's table; the empty lineage stands for none.

    Changes of one lineage follow each other; another lineage means that Redis has lost the table
    and a guard has written its own again.
    """

    lineage: str = ""
    number: int = 0
    writer: str = ""

    def __str__(self) -> str:
        return f"{self.lineage}:{self.number}:{self.writer}" if self.lineage else ""

    def follows(self, other: "Version") -> bool:
        """Whether this was written on top of the other."""
        return self.lineage == other.lineage and self.number > other.number


def read_version(text: str) -> Version:
    """Read a version; raises ValueError for what is none."""
    if not text:
        return Version()
    lineage, number, writer = text.split(":")
    return Version(lineage, int(number), writer)


@frozen
class Reply:
    """What Redis says to a change that was offered."""

    is_made: bool
    version: str
    """The version that is there now, as it is written there."""
    whole: str
    """The whole table, where the changes since the version that we knew are not kept."""
    lines: Sequence[str] = field(factory=tuple)
    """The changes that we did not know, or those since the whole table."""

    @property
    def size(self) -> int:
        """Characters of the changes."""
        return sum(map(len, self.lines))

    def make_on(self, table: Table, clock_offset: float) -> Table:
        """Make the changes on a table or on the whole one; raises one of FAULTS."""
        if self.whole:
            table = read_table(json.loads(self.whole), clock_offset)
        for line in self.lines:
            _version, seats, written = line.split(" ", 2)
            change = read_change(json.loads(written), clock_offset)
            (change.apply if int(seats) == MORE else change.join)(table)
        return table


@define(eq=False)
class Known:
    """What a guard knows of a room's table in Redis."""

    there: str = ""
    """The version that is in Redis as far as we know, as it is written there."""
    version: Version = field(factory=Version)
    """The same, where it is one of ours: what our copy rests on."""
    known: Table = field(factory=Table)
    """The table of that version."""
    changes: int = 0
    changed: int = 0
    """Changes since the whole table was written, and their characters, as far as we know."""

    def count(self, reply: Reply, characters: int = 0, whole: str = "") -> None:
        """Count the changes since the whole table, and one more of so many characters."""
        is_whole = whole or reply.whole
        self.changes = len(reply.lines) + (0 if is_whole else self.changes + bool(characters))
        self.changed = reply.size + (0 if is_whole else self.changed + characters)


def read_reply(answer: Any) -> Reply:
    """Read what the script gives."""
    is_made, version, whole, *lines = answer
    return Reply(int(is_made) == 1, version, whole, lines)


def written_change(change: Change, clock_offset: float) -> str:
    """Write a change as one line."""
    return json.dumps(write_change(change, clock_offset), separators=(",", ":"))


def written_table(table: Table, clock_offset: float) -> str:
    """Write the whole table as one line."""
    return json.dumps(write_table(table, clock_offset), separators=(",", ":"))


def seated_by(change: Change, before: Table, now: float) -> int:
    """How many people a change seats at the most, of those who had no seat held before."""
    olds = map(before.holds.get, change.new.holds)
    return sum(old is None or old.until <= now for old in olds)


def people(slack: float) -> int:
    """A slack as a number of people that Redis can read."""
    return int(min(slack, ANY_NUMBER))
