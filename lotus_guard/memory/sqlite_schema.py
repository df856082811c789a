"""The tables of the state file, and what is written to and read from them.

    alias(alias, room, slot, grounds)     identity(identity, user)     seat(room, person, until)
    decision(number, at, kind, rule, room, user, body)                 guard(instance, pid, ...)

`until`, `at` and `beat` are in seconds since the epoch, `until` NULL for who is there: a clock
that only this machine's uptime knows would mean nothing after a restart of the machine. `body` is
the decision as JSON (`lotus_guard.rules.decision`); `guard` has a row for each guard that runs on
this file, which must be one.
"""

import json
import sqlite3
from collections import deque
from collections.abc import Mapping
from itertools import chain
from typing import Any

from attrs import define, field, frozen

from lotus_guard.core.directory import Directory, Grounds, Place
from lotus_guard.core.ids import MOST_ID, MOST_NAME
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.seats import Person, Seats
from lotus_guard.rules.decision import Decision, Deed, from_json

SCHEMA = """
CREATE TABLE IF NOT EXISTS alias (
  alias TEXT PRIMARY KEY, room TEXT NOT NULL, slot TEXT NOT NULL, grounds TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS identity (
  identity TEXT PRIMARY KEY, user TEXT NOT NULL, alias TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS identity_alias ON identity (alias);
CREATE TABLE IF NOT EXISTS seat (
  room TEXT NOT NULL, person TEXT NOT NULL, until REAL, PRIMARY KEY (room, person));
CREATE TABLE IF NOT EXISTS decision (
  number INTEGER PRIMARY KEY AUTOINCREMENT, at REAL NOT NULL, kind TEXT NOT NULL,
  rule TEXT NOT NULL, room TEXT, user TEXT, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS decision_room ON decision (room, number);
CREATE INDEX IF NOT EXISTS decision_kind ON decision (kind, rule, number);
CREATE TABLE IF NOT EXISTS guard (
  instance TEXT PRIMARY KEY, pid INTEGER NOT NULL, listen TEXT NOT NULL, beat REAL NOT NULL);
"""

MOST_DECISIONS = 5_000
"""Decisions of one kind and rule that are kept: a flood of one leaves those of the others."""
_AS_BEFORE = {Deed.UNENFORCED: Deed.FAIL_OPEN}
"""What stands in a body in place of a kind that earlier releases do not know: to them one such row
is a file that cannot be read, and they may be put back. The column `kind` says which it is."""
MOST_WAITING = 20
"""Decisions of one kind and rule that may wait to be written; the oldest are dropped.

They wait for a tenth of a second, so what is not written is part of a flood of hundreds a second,
which would push itself out again soon (`MOST_DECISIONS`).
"""
ALIVE_SECONDS = 150.0
"""A guard that has not shown itself for so long does not run any more: two beats and a half."""


MOST_BODY = 16 * 1024
"""Bytes of a decision as JSON; what the guard writes is shorter."""
MOST_FREE = 8 * 1024 * 1024
"""Bytes of a file that may be free; a file with more of them is made smaller at the start."""


def _kept(table: str, most: int, **lengths: int) -> str:
    """Write a condition: what is not too long, and of that the newest rows, so many."""
    short = " AND ".join(f"length(CAST({c} AS BLOB)) <= {n}" for c, n in lengths.items())
    oldest = f"SELECT rowid FROM {table} WHERE {short} ORDER BY rowid DESC LIMIT 1 OFFSET {most}"  # noqa: S608
    return f"{short} AND rowid > COALESCE(({oldest}), 0)"


_KEPT = {
    "alias": _kept("alias", 100_000, alias=MOST_NAME, room=MOST_ID, slot=MOST_ID),
    "identity": _kept("identity", 400_000, identity=MOST_NAME, user=MOST_NAME, alias=MOST_NAME),
    "seat": _kept("seat", 200_000, room=MOST_ID, person=MOST_NAME),
    "decision": _kept("decision", 100_000, body=MOST_BODY),
}
"""What is read of each table. A file from before these bounds may hold more, and longer things."""


def shrink(connection: sqlite3.Connection) -> None:
    """Delete what is not read, and give the space back where that is much. Blocks, for a second."""
    for table, condition in _KEPT.items():
        connection.execute(f"DELETE FROM {table} WHERE NOT ({condition})")  # noqa: S608
    connection.commit()
    (free,), (size,) = (
        connection.execute(f"PRAGMA {name}").fetchone() for name in ("freelist_count", "page_size")
    )
    if free * size > MOST_FREE:
        connection.execute("VACUUM")
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")


@frozen
class Beat:
    """A guard's sign of life, with which it also drops what is too old to be kept."""

    instance: str
    pid: int
    listen: str
    at: float
    oldest: float
    """Decisions from before this moment are dropped."""
    most: int = MOST_DECISIONS


@define
class SeatRows:
    """What the file says of seats, so that only what changes is written.

    A full room is a few hundred rows, and every token issued in it changes one of them.
    """

    slack: float
    """Seconds by which a seat may be held longer than the file says: whoever asks again and again
    is not worth a row each time."""
    _rows: dict[RoomId, dict[Person, float | None]] = field(factory=dict)

    def has(self, room: RoomId, seats: Mapping[Person, float | None]) -> None:
        """Take note of what a file says."""
        self._rows[room] = dict(seats)

    def clear(self) -> None:
        """Begin anew, with an empty file."""
        self._rows.clear()

    def changes(
        self, room: RoomId, seats: Mapping[Person, float | None]
    ) -> dict[tuple[RoomId, Person], tuple[float | None] | None]:
        """List the rows to write so that the file says `seats`; None for one to delete."""
        rows = self._rows.pop(room, {})
        found: dict[tuple[RoomId, Person], tuple[float | None] | None] = {}
        for person in rows.keys() - seats.keys():
            del rows[person]
            found[room, person] = None
        for person, until in seats.items():
            if person not in rows or not self._says(rows[person], until):
                rows[person] = until
                found[room, person] = (until,)
        if rows:
            self._rows[room] = rows
        return found

    def _says(self, row: float | None, until: float | None) -> bool:
        if row is None or until is None:
            return row is until
        return abs(until - row) < self.slack


@define
class Batch:
    """What is to be written with the next transaction."""

    livekit_rooms: dict[LiveKitRoom, Place | None] = field(factory=dict)
    """None for one to forget, with the identities learnt in it."""
    identities: dict[Identity, tuple[UserId, LiveKitRoom]] = field(factory=dict)
    dropped: set[tuple[Identity, LiveKitRoom]] = field(factory=set)
    """Identities to forget, where the one that is written is the one learnt in this alias."""
    unbound: set[LiveKitRoom] = field(factory=set)
    """Aliases to forget, and nothing else with them."""
    seats: dict[tuple[RoomId, Person], tuple[float | None] | None] = field(factory=dict)
    """Until when each is held; None for one to delete."""
    decisions: dict[tuple[Deed, str], deque[Decision]] = field(factory=dict)
    """By kind and rule."""
    beat: Beat | None = None
    gone: str | None = None
    """The instance of a guard that stops."""

    def __bool__(self) -> bool:
        learnt = (self.livekit_rooms, self.identities, self.dropped, self.unbound)
        return any((*learnt, self.seats, self.decisions, self.beat, self.gone))

    def drop(self, identity: Identity, livekit_room: LiveKitRoom) -> None:
        """Add an identity to forget."""
        self.dropped.add((identity, livekit_room))
        if self.identities.get(identity, ("", ""))[1] == livekit_room:
            del self.identities[identity]

    def unbind(self, livekit_room: LiveKitRoom) -> None:
        """Add an alias to forget."""
        self.unbound.add(livekit_room)
        if self.livekit_rooms.get(livekit_room) is not None:
            del self.livekit_rooms[livekit_room]

    def decided(self, decision: Decision) -> None:
        """Add a decision."""
        key = (decision.ruling.deed, decision.ruling.rule)
        self.decisions.setdefault(key, deque(maxlen=MOST_WAITING)).append(decision)

    def add(self, later: "Batch") -> None:
        """Add what came later."""
        for livekit_room in later.unbound:
            self.unbind(livekit_room)
        self.livekit_rooms.update(later.livekit_rooms)
        for identity, livekit_room in later.dropped:
            self.drop(identity, livekit_room)
        self.identities.update(later.identities)
        self.seats.update(later.seats)
        for decision in later.in_order():
            self.decided(decision)
        self.beat = later.beat or self.beat
        self.gone = later.gone or self.gone

    def in_order(self) -> list[Decision]:
        """List the decisions, oldest first."""
        return sorted(chain(*self.decisions.values()), key=lambda decision: decision.at)

    def write(self, cursor: Any) -> list[int]:
        """Write all of it; gives the pids of other guards on this file. Runs in a thread."""
        cursor.executemany("DELETE FROM alias WHERE alias = ?", [(a,) for a in self.unbound])
        for livekit_room, place in self.livekit_rooms.items():
            if place is None:
                cursor.execute("DELETE FROM alias WHERE alias = ?", (livekit_room,))
                cursor.execute("DELETE FROM identity WHERE alias = ?", (livekit_room,))
            else:
                row = (livekit_room, place.room, place.slot, place.grounds.value)
                cursor.execute("INSERT OR REPLACE INTO alias VALUES (?, ?, ?, ?)", row)
        cursor.executemany(
            "DELETE FROM identity WHERE identity = ? AND alias = ?", sorted(self.dropped)
        )
        cursor.executemany(
            "INSERT OR REPLACE INTO identity VALUES (?, ?, ?)",
            [(identity, *registered) for identity, registered in self.identities.items()],
        )
        cursor.executemany(
            "DELETE FROM seat WHERE room = ? AND person = ?",
            [whose for whose, row in self.seats.items() if row is None],
        )
        cursor.executemany(
            "INSERT OR REPLACE INTO seat VALUES (?, ?, ?)",
            [(*whose, *row) for whose, row in self.seats.items() if row is not None],
        )
        cursor.executemany(
            "INSERT INTO decision (at, kind, rule, room, user, body) VALUES (?, ?, ?, ?, ?, ?)",
            [_row(decision) for decision in self.in_order()],
        )
        if self.gone:
            cursor.execute("DELETE FROM guard WHERE instance = ?", (self.gone,))
        return _beat(cursor, self.beat) if self.beat else []


def _row(decision: Decision) -> tuple[Any, ...]:
    ruling = decision.ruling
    named = (ruling.deed.value, str(ruling.rule), _text(ruling.room), _text(ruling.user))
    body = {**decision.as_json(), "kind": _AS_BEFORE.get(ruling.deed, ruling.deed).value}
    return (decision.at, *named, json.dumps(body))


def _text(name: str | None) -> str | None:
    """Make a name fit for SQLite, which does not take half a character."""
    return None if name is None else name.encode("utf-8", "replace").decode()


def _beat(cursor: Any, beat: Beat) -> list[int]:
    row = (beat.instance, beat.pid, beat.listen, beat.at)
    cursor.execute("INSERT OR REPLACE INTO guard VALUES (?, ?, ?, ?)", row)
    cursor.execute("DELETE FROM guard WHERE beat < ?", (beat.at - ALIVE_SECONDS,))
    cursor.execute("DELETE FROM decision WHERE at < ?", (beat.oldest,))
    cursor.execute("SELECT kind, rule, MAX(number) FROM decision GROUP BY kind, rule")
    for kind, rule, _ in cursor.fetchall():
        cursor.execute(
            "DELETE FROM decision WHERE kind = ? AND rule = ? AND number <= ("
            "SELECT number FROM decision WHERE kind = ? AND rule = ? "
            "ORDER BY number DESC LIMIT 1 OFFSET ?)",
            (kind, rule, kind, rule, beat.most),
        )
    cursor.execute("SELECT pid FROM guard WHERE instance != ?", (beat.instance,))
    return [int(pid) for (pid,) in cursor.fetchall()]


def select_decisions(cursor: Any, room: str | None, user: str | None, most: int) -> list[Decision]:
    """Read the newest decisions on a room and a user, where these are given; newest first.

    What a later release has written and this one cannot read is left out.
    """
    found = cursor.execute(
        "SELECT kind, body FROM decision WHERE (? IS NULL OR room = ?) AND (? IS NULL OR user = ?) "
        "ORDER BY number DESC LIMIT ?",
        (_text(room), _text(room), _text(user), _text(user), most),
    )
    read = (_read(kind, body) for kind, body in found.fetchall())
    return [decision for decision in read if decision]


def _read(kind: str, body: str) -> Decision | None:
    try:
        return from_json({**json.loads(body), "kind": kind})
    except (ValueError, KeyError, TypeError):
        return None


@define
class Saved:
    """What a file holds."""

    places: dict[LiveKitRoom, Place] = field(factory=dict)
    users: dict[Identity, tuple[UserId, LiveKitRoom]] = field(factory=dict)
    seats: dict[RoomId, dict[Person, float | None]] = field(factory=dict)

    @classmethod
    def read(cls, connection: sqlite3.Connection, clock_offset: float) -> "Saved":
        """Read a file; `clock_offset`: how far the epoch's clock is ahead of that of the seats."""
        saved = cls()
        for livekit_room, room, slot, grounds in connection.execute(
            f"SELECT alias, room, slot, grounds FROM alias WHERE {_KEPT['alias']}"  # noqa: S608
        ):
            saved.places[LiveKitRoom(livekit_room)] = Place(
                RoomId(room), str(slot), Grounds(grounds)
            )
        for identity, user, livekit_room in connection.execute(
            f"SELECT identity, user, alias FROM identity WHERE {_KEPT['identity']}"  # noqa: S608
        ):
            saved.users[Identity(identity)] = (UserId(user), LiveKitRoom(livekit_room))
        for room, person, until in connection.execute(
            f"SELECT room, person, until FROM seat WHERE {_KEPT['seat']}"  # noqa: S608
        ):
            seats = saved.seats.setdefault(RoomId(room), {})
            seats[person] = None if until is None else float(until) - clock_offset
        return saved

    def take_up(self, knowledge: Directory, seats: Seats, now: float) -> None:
        """Learn it."""
        for livekit_room, place in self.places.items():
            knowledge.learn_room(livekit_room, place)
        for identity, (user, livekit_room) in self.users.items():
            knowledge.learn_identity(identity, user, livekit_room)
        for room, held in self.seats.items():
            seats.restore(room, held, now)
