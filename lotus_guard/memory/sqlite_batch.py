"""What is to be written to the state file with the next transaction."""

import json
from collections.abc import Mapping, Sequence
from itertools import chain
from typing import Any

from attrs import define, field, frozen

from lotus_guard.core.binding import Binding
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.seats import Person
from lotus_guard.memory.sqlite_schema import ALIVE_SECONDS
from lotus_guard.memory.waiting_decisions import MOST_DECISIONS, WaitingDecisions
from lotus_guard.rules.decision import Decision, Deed

_AS_BEFORE = {Deed.UNENFORCED: Deed.FAIL_OPEN}
"""What stands in a body in place of a kind that earlier releases do not know: to them one such row
is a file that cannot be read, and they may be put back. The column `kind` says which it is."""


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
        """The rows to write so that the file says `seats`; None for one to delete."""
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

    bindings: dict[LiveKitRoom, Binding | None] = field(factory=dict)
    """None for a LiveKit room to forget, with the identities learnt in it."""
    identities: dict[Identity, tuple[UserId, LiveKitRoom]] = field(factory=dict)
    dropped: set[tuple[Identity, LiveKitRoom]] = field(factory=set)
    """Identities to forget, where the row is that of the one learnt in this LiveKit room."""
    unbound: set[LiveKitRoom] = field(factory=set)
    """LiveKit rooms to forget, and nothing else with them."""
    seats: dict[tuple[RoomId, Person], tuple[float | None] | None] = field(factory=dict)
    """Until when each is held; None for one to delete."""
    claims: dict[tuple[LiveKitRoom, Identity], str | None] = field(factory=dict, init=False)
    """As JSON; None for one to delete."""
    decisions: WaitingDecisions = field(factory=WaitingDecisions)
    beat: Beat | None = None
    gone: str | None = None
    """The instance of a guard that stops."""

    def __bool__(self) -> bool:
        learnt = (self.bindings, self.identities, self.dropped, self.unbound)
        return any((*learnt, self.seats, self.claims, self.decisions, self.beat, self.gone))

    def forget(self, livekit_room: LiveKitRoom) -> None:
        """Add a LiveKit room to forget, with the identities learnt in it."""
        self.bindings[livekit_room] = None
        learnt = [i for i, (_, where) in self.identities.items() if where == livekit_room]
        for identity in learnt:
            del self.identities[identity]
        for key in [key for key in self.claims if key[0] == livekit_room]:
            del self.claims[key]

    def drop(self, identity: Identity, livekit_room: LiveKitRoom) -> None:
        """Add an identity to forget."""
        self.dropped.add((identity, livekit_room))
        if self.identities.get(identity, ("", ""))[1] == livekit_room:
            del self.identities[identity]

    def unbind(self, livekit_room: LiveKitRoom) -> None:
        """Add a LiveKit room to forget, and nothing else with it."""
        self.unbound.add(livekit_room)
        if self.bindings.get(livekit_room) is not None:
            del self.bindings[livekit_room]

    def add(self, later: "Batch") -> None:
        """Add what came later."""
        for livekit_room in later.unbound:
            self.unbind(livekit_room)
        for livekit_room, binding in later.bindings.items():
            if binding is None:
                self.forget(livekit_room)
            else:
                self.bindings[livekit_room] = binding
        for identity, livekit_room in later.dropped:
            self.drop(identity, livekit_room)
        self.identities.update(later.identities)
        self.seats.update(later.seats)
        self.claims.update(later.claims)
        for decision in later.decisions.in_order():
            self.decisions.add(decision)
        self.beat = later.beat or self.beat
        self.gone = later.gone or self.gone

    def write(self, cursor: Any) -> list[int]:
        """Write all of it; returns the pids of other guards on this file. Runs in a thread."""
        self._write_rooms(cursor)
        self._write_identities(cursor)
        self._write_seats(cursor)
        self._write_claims(cursor)
        _insert(
            cursor,
            "INSERT INTO decision (at, kind, rule, room, user, body)",
            [_row(decision) for decision in self.decisions.in_order()],
        )
        if self.gone:
            cursor.execute("DELETE FROM guard WHERE instance = ?", (self.gone,))
        return _beat(cursor, self.beat) if self.beat else []

    def _write_rooms(self, cursor: Any) -> None:
        cursor.executemany("DELETE FROM alias WHERE alias = ?", [(a,) for a in self.unbound])
        forgotten = [(each,) for each, binding in self.bindings.items() if binding is None]
        for table in ("alias", "identity", "claim"):
            cursor.executemany(f"DELETE FROM {table} WHERE alias = ?", forgotten)  # noqa: S608
        _insert(
            cursor,
            "INSERT OR REPLACE INTO alias",
            [
                (livekit_room, binding.room, binding.slot, binding.evidence.value)
                for livekit_room, binding in self.bindings.items()
                if binding
            ],
        )

    def _write_identities(self, cursor: Any) -> None:
        cursor.executemany(
            "DELETE FROM identity WHERE identity = ? AND alias = ?", sorted(self.dropped)
        )
        _insert(
            cursor,
            "INSERT OR REPLACE INTO identity",
            [(identity, *registered) for identity, registered in self.identities.items()],
        )

    def _write_seats(self, cursor: Any) -> None:
        cursor.executemany(
            "DELETE FROM seat WHERE room = ? AND person = ?",
            [whose for whose, row in self.seats.items() if row is None],
        )
        _insert(
            cursor,
            "INSERT OR REPLACE INTO seat",
            [(*whose, *row) for whose, row in self.seats.items() if row is not None],
        )

    def _write_claims(self, cursor: Any) -> None:
        cursor.executemany(
            "DELETE FROM claim WHERE alias = ? AND identity = ?",
            [whose for whose, body in self.claims.items() if body is None],
        )
        _insert(
            cursor,
            "INSERT OR REPLACE INTO claim",
            [(*whose, body) for whose, body in self.claims.items() if body is not None],
        )


ROWS_AT_ONCE = (64, 8, 1)
"""How many rows go with one statement: SQLite keeps each statement that it has read, so there are
few of them. It takes 999 values at least, and a row here has up to six."""


def _insert(cursor: Any, statement: str, rows: Sequence[tuple[Any, ...]]) -> None:
    """Insert rows with few statements.

    With each statement Python's lock goes to the reactor and comes back, and `executemany` makes
    one of each row. As JSON all rows would fit into one, but SQLite's ends a text at its first NUL,
    which may stand in an identity: it would be written as somebody else's.
    """
    begin = 0
    for number in ROWS_AT_ONCE:
        while len(rows) - begin >= number:
            some = rows[begin : begin + number]
            begin += number
            places = ", ".join([f"({', '.join('?' * len(some[0]))})"] * number)
            cursor.execute(f"{statement} VALUES {places}", tuple(chain.from_iterable(some)))


def _row(decision: Decision) -> tuple[Any, ...]:
    ruling = decision.ruling
    named = (ruling.deed.value, str(ruling.rule), storable(ruling.room), storable(ruling.user))
    body = decision.as_json()
    body["kind"] = _AS_BEFORE.get(ruling.deed, ruling.deed).value
    return (decision.at, *named, json.dumps(body))


def storable(name: str | None) -> str | None:
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
