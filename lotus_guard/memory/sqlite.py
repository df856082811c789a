"""What the guard remembers over a restart, in SQLite: aliases, identities, seats, decisions.

Written behind: changes are collected in memory and written by a thread, one transaction at a
time, so that no answer waits for the disk. Losing the file loses no call: what is in it, LiveKit,
Synapse and upstream told us, and will tell again. So every fault of it is an outage: counted,
logged, never raised; a file that is no database is moved aside.

The tables are in `lotus_guard.memory.sqlite_schema`.
"""

import os
import sqlite3
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

from attrs import define, field
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from lotus_guard.core.directory import Change, Directory
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId
from lotus_guard.core.seats import Seats
from lotus_guard.enforce.ports import Now
from lotus_guard.memory.sqlite_schema import (
    SCHEMA,
    Batch,
    Beat,
    Saved,
    SeatRows,
    select_decisions,
    shrink,
)
from lotus_guard.rules.decision import Decision

_log = Logger()

_SOON_SECONDS = 0.1
"""A seat of the last moment may be lost with the process; whoever has it joins, and is counted."""
_AGAIN_SECONDS = 5.0
"""How long to wait before a write that failed is tried again."""


@define(eq=False)
class Store:
    """Reads at the start what was learnt before, and writes down what is learnt now."""

    path: Path
    knowledge: Directory
    seats: Seats
    clock: IReactorTime
    now: Now
    epoch: Callable[[], float]
    on_failure: Callable[[str], None] = lambda _why: None
    on_written: Callable[[], None] = lambda: None
    instance: str = ""
    """Names this guard among all that may have the file open; empty for one that stays unnamed."""
    listen: str = ""
    keep_seconds: float = 7 * 86400.0
    """How long decisions are kept."""
    _pool: ConnectionPool | None = field(default=None, init=False)
    _opened: tuple[int, int] | None = field(default=None, init=False)
    """Device and inode of the file that is open."""
    _batch: Batch = field(init=False, factory=Batch)
    _rows: SeatRows = field(init=False)
    _changed: set[RoomId] = field(init=False, factory=set)
    """Rooms whose seats are to be written."""
    _writing: Deferred[None] | None = field(default=None, init=False)
    _retry: Any = field(default=None, init=False)
    _soon: Any = field(default=None, init=False)
    _is_closing: bool = field(default=False, init=False)
    _company: frozenset[int] = field(default=frozenset(), init=False)
    """The pids of other guards on this file, as far as the log has named them."""

    def __attrs_post_init__(self) -> None:
        self._rows = SeatRows(self.seats.hold / 12)

    def open(self) -> None:
        """Read the file and begin to take note of changes.

        Blocks: it is meant for the moment before anything listens. A file that is no database is
        moved aside, one that cannot be opened is done without. What is in it beyond our bounds is
        left, and deleted.
        """
        self.knowledge.on_dropped = self.dropped
        try:
            self._read()
        except OSError as error:
            self._fail(error)
        except Exception as error:
            self._fail(error)
            if _is_broken(error):
                self._move_aside()
        self._connect()
        self.knowledge.on_learnt = self.learnt
        self.knowledge.on_forgotten = self.forgotten
        self.seats.on_change = self.seats_changed
        if self._batch:
            self._shortly()

    def learnt(self, change: Change) -> None:
        """Write down a thing learnt, soon."""
        if change.livekit_room and change.place:
            self._batch.livekit_rooms[change.livekit_room] = change.place
        if change.identity and change.user:
            self._batch.identities[change.identity] = (
                change.user,
                change.livekit_room or LiveKitRoom(""),
            )
        self._begin()

    def forgotten(self, livekit_room: LiveKitRoom) -> None:
        """Delete an alias and the identities that were learnt in it, soon."""
        self._batch.livekit_rooms[livekit_room] = None
        self._begin()

    def dropped(self, livekit_room: LiveKitRoom, identities: Collection[Identity] | None) -> None:
        """Delete what there is no room for any more, soon; None for the alias itself."""
        if identities is None:
            self._batch.unbind(livekit_room)
        for identity in identities or ():
            self._batch.drop(identity, livekit_room)
        self._shortly()

    def seats_changed(self, room: RoomId) -> None:
        """Write down the seats of a room, with all other changes of the same moment."""
        self._changed.add(room)
        self._shortly()

    def decided(self, decision: Decision) -> None:
        """Write down a decision, with all others of the same moment."""
        self._batch.decided(decision)
        self._shortly()

    def beat(self) -> None:
        """Show that this guard runs on the file, and drop decisions that are too old."""
        now = self.epoch()
        self._batch.beat = Beat(
            self.instance, os.getpid(), self.listen, now, now - self.keep_seconds
        )
        self._begin()

    async def decisions(
        self, room: str | None = None, user: str | None = None, most: int = 100
    ) -> list[Decision]:
        """Read the newest decisions on a room and a user; nothing where the file has trouble."""
        if self._pool is None:
            return []
        try:
            found: list[Decision] = await self._pool.runInteraction(
                select_decisions, room, user, most
            )
        except Exception as error:
            self._fail(error)
            return []
        return found

    def _shortly(self) -> None:
        if self._soon is None:
            self._soon = self.clock.callLater(_SOON_SECONDS, self._write_shortly)

    def _write_shortly(self) -> None:
        self._soon = None
        self._begin()

    def _note_seats(self, room: RoomId) -> None:
        clock_offset = self.epoch() - self.now()
        seats = {
            person: None if until is None else until + clock_offset
            for person, until in self.seats.seated(room).items()
        }
        self._batch.seats.update(self._rows.changes(room, seats))

    def close(self) -> Deferred[None]:
        """Write what is left, then close the file."""
        for delayed in (self._retry, self._soon):
            if delayed is not None and delayed.active():
                delayed.cancel()
        self._retry = self._soon = None
        self._is_closing = True
        if self.instance:
            self._batch.gone, self._batch.beat = self.instance, None
        if self._batch or self._changed:
            self._begin()
        last: Deferred[None] = self._writing or succeed(None)

        def shut(_result: object) -> None:
            if self._pool is not None:
                self._pool.close()
                self._pool = None

        return last.addBoth(shut)

    def _read(self) -> None:
        """Take up what is in the file; all of it is read before any of it is believed."""
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=2.0)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(SCHEMA)
                self._shrink(connection)
                saved = Saved.read(connection, self.epoch() - self.now())
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            if _is_broken(error) or not self.path.is_file():
                raise
            self._fail(error)  # it cannot be written; perhaps it can be read
            saved = self._rows_read_only()
        saved.take_up(self.knowledge, self.seats, self.now())
        clock_offset = self.epoch() - self.now()
        for room, seats in saved.seats.items():
            # In the clock of the file again.
            self._rows.has(
                room, {p: u if u is None else u + clock_offset for p, u in seats.items()}
            )

    def _shrink(self, connection: sqlite3.Connection) -> None:
        try:
            shrink(connection)
        except sqlite3.OperationalError as error:
            if _is_broken(error):
                raise
            self._fail(error)  # locked, or the disk is full: it stays as long as it is

    def _rows_read_only(self) -> Saved:
        address = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(address, uri=True, timeout=2.0)
        try:
            return Saved.read(connection, self.epoch() - self.now())
        finally:
            connection.close()

    def _connect(self) -> None:
        """Open the file for writing. Each time anew: a connection keeps to the file it opened."""
        if self._pool is not None:
            self._pool.close()
        self._pool = ConnectionPool(
            "sqlite3",
            str(self.path),
            check_same_thread=False,
            cp_min=1,
            cp_max=1,
            cp_openfun=_relax,
            timeout=2.0,
        )
        self._opened = self._file_id()

    def _file_id(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _notice_removal(self) -> None:
        """Begin anew where somebody has taken the file away: writes into it would go nowhere."""
        if self._opened is not None and self._file_id() != self._opened:
            self._fail(FileNotFoundError("the file that was open is gone"))
            self._start_new_file()
            self._note_everything()

    def _begin(self) -> None:
        """Start to write, unless a write is under way: what comes meanwhile goes with the next."""
        if self._writing is None and self._retry is None and self._pool is not None:
            self._notice_removal()
            changed, self._changed = self._changed, set()
            for room in changed:
                self._note_seats(room)
            if not self._batch:
                return
            batch, self._batch = self._batch, Batch()
            self._writing = self._pool.runInteraction(batch.write)
            self._writing.addCallbacks(self._wrote, self._failed, errbackArgs=(batch,))

    def _wrote(self, others: list[int]) -> None:
        self._writing = None
        self.on_written()
        self._greet(frozenset(others))
        if not (self._batch or self._changed):
            return
        if self._is_closing:
            self._begin()
        else:
            self._shortly()

    def _failed(self, failure: Failure, batch: Batch) -> None:
        """Put what could not be written in front of what came after it, and try again later."""
        self._writing = None
        self._fail(failure.value)
        if _is_broken(failure.value):
            self._move_aside()
        later, self._batch = self._batch, batch
        self._batch.add(later)
        self._retry = self.clock.callLater(_AGAIN_SECONDS, self._again)

    def _greet(self, others: frozenset[int]) -> None:
        if others - self._company:
            _log.error(
                "Other guards run on {path} as well (pid {pids}): each writes over the other's "
                "seats. Wanted: one guard, or a LOTUS_GUARD_STATE of its own for each.",
                path=self.path,
                pids=", ".join(map(str, sorted(others))),
            )
            self._company |= others

    def _again(self) -> None:
        self._retry = None
        self._begin()

    def _fail(self, error: BaseException | None) -> None:
        self.on_failure(f"{self.path}: {type(error).__name__}: {error}")

    def _move_aside(self) -> None:
        """Rename a broken file, and begin a new one with all that is known."""
        aside = self.path.with_name(f"{self.path.name}.broken-{int(self.epoch())}")
        try:
            self.path.rename(aside)
        except OSError as error:
            self._fail(error)
            return
        _log.error("{path} was no database of ours; it is now {aside}", path=self.path, aside=aside)
        self._start_new_file()
        self._note_everything()

    def _start_new_file(self) -> None:
        try:
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            connection = sqlite3.connect(self.path, timeout=2.0)
            connection.executescript(SCHEMA)
            connection.close()
        except (OSError, sqlite3.Error) as error:
            self._fail(error)
        self._connect()

    def _note_everything(self) -> None:
        self._rows.clear()
        for livekit_room, place in self.knowledge.places():
            self._batch.livekit_rooms[livekit_room] = place
        for identity, registered in self.knowledge.users():
            self._batch.identities[identity] = registered
        for room in self.seats.rooms():
            self._note_seats(room)


def _relax(connection: sqlite3.Connection) -> None:
    """Wait for the disk at checkpoints only: a power cut costs the last moments, never the file."""
    connection.execute("PRAGMA synchronous = NORMAL")


def _is_broken(error: BaseException | None) -> bool:
    """Tell whether a file is not what we wrote, rather than out of reach or locked."""
    out_of_reach = isinstance(error, OSError | sqlite3.OperationalError)
    return not out_of_reach or "decode" in str(error) or "no such" in str(error)
