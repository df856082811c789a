"""A state file and what a guard keeps in it, for the tests of it."""

import sqlite3
import time
from pathlib import Path

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Bounds, Directory
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.seats import Seats
from lotus_guard.memory.sqlite import SqliteStore, Tenant
from lotus_guard.run.clocks import clocks_of
from tests.world import reactor

ROOM = RoomId("!r:s")
BINDING = Binding(ROOM, "slot", Evidence.PROOF)


@define
class Kept:
    """A store and what it keeps."""

    path: Path
    bounds: Bounds = field(factory=Bounds)
    tenant: Tenant = field(factory=Tenant)
    failures: list[str] = field(factory=list)
    writes: int = 0
    store: SqliteStore = field(init=False)
    directory: Directory = field(init=False)
    seats: Seats = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.store = SqliteStore(self.path, clocks_of(reactor), self, self.tenant)
        self.directory = Directory(listener=self.store, bounds=self.bounds)
        self.seats = Seats(60.0, 10.0, self.directory, self.store.seats_changed)
        self.store.open(self.directory, self.seats)

    def failed(self, why: str) -> None:
        self.failures.append(why)

    def written(self) -> None:
        self.writes += 1

    def learn(self, number: int) -> None:
        livekit_room = LiveKitRoom(f"alias{number}")
        self.directory.learn_room(livekit_room, BINDING)
        self.directory.learn_identity(Identity(f"i{number}"), UserId("@u:s"), livekit_room)
        self.seats.keep(ROOM, f"@u{number}:s", Identity(f"i{number}"), time.monotonic())

    def close(self) -> Deferred[None]:
        return self.store.close()


def known(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return int(connection.execute("SELECT count(*) FROM alias").fetchone()[0])


def rows(path: Path) -> dict[str, float | None]:
    with sqlite3.connect(path) as connection:
        return dict(connection.execute("SELECT person, until FROM seat").fetchall())


async def settled(kept: Kept) -> None:
    """Wait until nothing is about to be written, however slow the machine is."""
    while kept.store._soon is not None or kept.store._writing is not None:
        await deferLater(reactor, 0.01)
