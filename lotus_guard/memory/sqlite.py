"""What one guard remembers over a restart, in SQLite: LiveKit rooms, identities, seats, decisions.

Written behind: changes are collected in memory and written by a thread, one transaction at a
time, so that no answer waits for the disk. Losing the file loses no call: what is in it, LiveKit,
Synapse and upstream told us, and will tell again. So every fault of it is an outage: counted,
logged, never raised; a file that is no database is moved aside.
"""

import os
from collections.abc import Collection
from pathlib import Path
from typing import Any, Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure

from lotus_guard.core.binding import Binding
from lotus_guard.core.directory import Directory, DirectoryListener
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.seats import Seats
from lotus_guard.enforce.claims import Key
from lotus_guard.memory.sqlite_batch import Batch, Beat, SeatRows
from lotus_guard.memory.sqlite_claims import ClaimRows
from lotus_guard.memory.sqlite_file import StateFile, is_broken
from lotus_guard.memory.sqlite_read import find_decision, select_decisions
from lotus_guard.memory.store import Clocks
from lotus_guard.rules.decision import Decision

_log = Logger()

SOON_SECONDS = 0.1
"""A busy guard makes ten transactions a second. What comes between two may go with the process:
whoever has a seat of that moment joins, and is counted; the next token tells the rest again."""
AGAIN_SECONDS = 5.0
"""How long to wait before a write that failed is tried again."""


class FileListener(Protocol):
    """Told how the file does."""

    def failed(self, why: str) -> None:
        """Take note of a fault."""
        ...

    def written(self) -> None:
        """Take note that a write has succeeded."""
        ...


@frozen
class Tenant:
    """The guard that runs on the file."""

    instance: str = ""
    """Names it among all that may have the file open; empty for one that stays unnamed."""
    listen: str = ""


@frozen
class _Known:
    """What is written down, and what the file says of it already."""

    directory: Directory
    seats: Seats
    rows: SeatRows
    claims: ClaimRows

    def note_seats(self, room: RoomId, batch: Batch, clock_offset: float) -> None:
        """Add what has changed in a room; `clock_offset`: how far the epoch's clock is ahead."""
        seats = {
            person: None if until is None else until + clock_offset
            for person, until in self.seats.seated(room).items()
        }
        batch.seats.update(self.rows.changes(room, seats))

    def note_everything(self, batch: Batch, clock_offset: float) -> None:
        """Add all that is known, for an empty file."""
        self.rows.clear()
        batch.bindings.update(self.directory.bindings())
        batch.identities.update(self.directory.users())
        batch.claims.update(self.claims.all())
        for room in self.seats.rooms():
            self.note_seats(room, batch, clock_offset)


@define(eq=False)
class SqliteStore(DirectoryListener):
    """Reads at the start what was learnt before, and writes down what is learnt now."""

    path: Path
    clocks: Clocks
    listener: FileListener
    tenant: Tenant = Tenant()
    keep_seconds: float = 7 * 86400.0
    """How long decisions are kept."""
    claims: ClaimRows = field(init=False)
    _file: StateFile = field(init=False)
    _known: _Known | None = field(default=None, init=False)
    """None until it is open."""
    _batch: Batch = field(init=False, factory=Batch)
    _changed: set[RoomId] = field(init=False, factory=set)
    """Rooms whose seats are to be written."""
    _is_reading: bool = field(default=False, init=False)
    """What is learnt at this moment comes from the file."""
    _writing: Deferred[Any] | None = field(default=None, init=False)
    _retry: Any = field(default=None, init=False)
    _soon: Any = field(default=None, init=False)
    _is_closing: bool = field(default=False, init=False)
    _company: frozenset[int] = field(default=frozenset(), init=False)
    """The pids of other guards on this file, as far as the log has named them."""

    def __attrs_post_init__(self) -> None:
        self._file = StateFile(self.path, self.clocks.epoch, self.listener.failed)
        self.claims = ClaimRows(self._keep_claim)

    @property
    def instance(self) -> str:
        """Names this guard among all that may have the file open."""
        return self.tenant.instance

    @property
    def learns(self) -> DirectoryListener:
        """What the directory tells."""
        return self

    def open(self, directory: Directory, seats: Seats) -> None:
        """Read the file and begin to take note of changes.

        Blocks: it is meant for the moment before anything listens. A file that is no database is
        moved aside, one that cannot be opened is done without. What is in it beyond our bounds is
        left, and deleted.
        """
        self._known = _Known(directory, seats, SeatRows(seats.hold / 12), self.claims)
        saved, is_none_of_ours = self._file.read()
        self._is_reading = True
        saved.take_up(directory, seats, self.clocks.now(), self.clocks.epoch())
        self._is_reading = False
        self.claims.take_up(saved.claims, self.clocks.epoch())
        for room, held in saved.seats.items():
            self._known.rows.has(room, held)
        if is_none_of_ours and self._file.move_aside():
            self._note_everything()
        self._file.connect()
        if self._batch:
            self._shortly()

    # What is to be written.

    def learnt_room(self, livekit_room: LiveKitRoom, binding: Binding) -> None:
        """Write down where a LiveKit room belongs, soon."""
        if not self._is_reading:
            self._batch.bindings[livekit_room] = binding
            self._shortly()

    def learnt_identity(self, livekit_room: LiveKitRoom, identity: Identity, user: UserId) -> None:
        """Write down whose an identity is, soon."""
        if not self._is_reading:
            self._batch.identities[identity] = (user, livekit_room)
            self._shortly()

    def forgotten(self, livekit_room: LiveKitRoom) -> None:
        """Delete a LiveKit room and the identities that were learnt in it, soon."""
        self._batch.forget(livekit_room)
        self._shortly()

    def dropped_room(self, livekit_room: LiveKitRoom) -> None:
        """Delete a LiveKit room that there is no room for any more, soon."""
        self._batch.unbind(livekit_room)
        self._shortly()

    def dropped_identities(
        self, livekit_room: LiveKitRoom, identities: Collection[Identity]
    ) -> None:
        """Delete identities that there is no room for any more, soon."""
        for identity in identities:
            self._batch.drop(identity, livekit_room)
        self._shortly()

    def seats_changed(self, room: RoomId) -> None:
        """Write down the seats of a room, with all other changes of the same moment."""
        self._changed.add(room)
        self._shortly()

    def _keep_claim(self, key: Key, body: str | None) -> None:
        self._batch.claims[key] = body
        self._shortly()

    def decided(self, decision: Decision) -> None:
        """Write down a decision, with all others of the same moment."""
        self._batch.decisions.add(decision)
        self._shortly()

    def beat(self) -> None:
        """Show that this guard runs on the file, and drop decisions that are too old."""
        now, tenant = self.clocks.epoch(), self.tenant
        oldest = now - self.keep_seconds
        self._batch.beat = Beat(tenant.instance, os.getpid(), tenant.listen, now, oldest)
        self._begin()

    async def decisions(
        self, room: str | None = None, user: str | None = None, most: int = 100
    ) -> list[Decision]:
        """Read the newest decisions on a room and a user; nothing where the file has trouble."""
        return await self._file.ask(select_decisions, room, user, most) or []

    async def decision(self, reference: str) -> Decision | None:
        """Find the decision with this id; None where there is none, or the file has trouble."""
        return await self._file.ask(find_decision, reference)

    def close(self) -> Deferred[None]:
        """Write what is left, then close the file."""
        for delayed in (self._retry, self._soon):
            if delayed is not None and delayed.active():
                delayed.cancel()
        self._retry = self._soon = None
        self._is_closing = True
        if self.tenant.instance:
            self._batch.gone, self._batch.beat = self.tenant.instance, None
        if self._batch or self._changed:
            self._begin()
        last: Deferred[Any] = self._writing or succeed(None)
        return last.addBoth(lambda _: self._file.close())

    # Writing.

    def _shortly(self) -> None:
        if self._soon is None:
            self._soon = self.clocks.reactor.callLater(SOON_SECONDS, self._write_shortly)

    def _write_shortly(self) -> None:
        self._soon = None
        self._begin()

    def _again(self) -> None:
        self._retry = None
        self._begin()

    def _begin(self) -> None:
        """Start to write, unless a write is under way: what comes meanwhile goes with the next."""
        if self._writing is not None or self._retry is not None or not self._file.is_open:
            return
        if self._file.was_taken_away():
            self._file.fail(FileNotFoundError("the file that was open is gone"))
            self._file.start_anew()
            self._note_everything()
        changed, self._changed = self._changed, set()
        for room in changed:
            self._note_seats(room)
        if not self._batch:
            return
        batch, self._batch = self._batch, Batch()
        self._writing = self._file.run(batch.write)
        self._writing.addCallbacks(self._wrote, self._failed, errbackArgs=(batch,))

    def _clock_offset(self) -> float:
        return self.clocks.epoch() - self.clocks.now()

    def _note_seats(self, room: RoomId) -> None:
        if self._known is not None:
            self._known.note_seats(room, self._batch, self._clock_offset())

    def _note_everything(self) -> None:
        if self._known is not None:
            self._known.note_everything(self._batch, self._clock_offset())

    def _wrote(self, others: list[int]) -> None:
        self._writing = None
        self.listener.written()
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
        error = failure.value or RuntimeError("it failed without a reason")
        self._file.fail(error)
        if is_broken(error) and self._file.move_aside():
            self._note_everything()
        later, self._batch = self._batch, batch
        self._batch.add(later)
        self._retry = self.clocks.reactor.callLater(AGAIN_SECONDS, self._again)

    def _greet(self, others: frozenset[int]) -> None:
        if others - self._company:
            _log.error(
                "Other guards use {path} too (pid {pids}): they overwrite each other's seats. "
                "Fix: run one guard, or give each its own LOTUS_GUARD_STATE.",
                path=self.path,
                pids=", ".join(map(str, sorted(others))),
            )
            self._company |= others
