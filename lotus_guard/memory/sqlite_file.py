"""The state file on the disk: read at the start, written by a thread, replaced where it is broken.

Each connection keeps to the file that it opened, so where somebody takes that away, or it turns out
to be no database of ours, a new one is begun. Every fault is told, and none is raised.
"""

import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from attrs import define, field
from twisted.enterprise.adbapi import ConnectionPool
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger

from lotus_guard.memory.sqlite_read import Saved
from lotus_guard.memory.sqlite_schema import SCHEMA, shrink

_log = Logger()

T = TypeVar("T")

BUSY_SECONDS = 2.0
"""How long somebody else may have the file locked."""


@define(eq=False)
class StateFile:
    """One SQLite file."""

    path: Path
    epoch: Callable[[], float]
    on_failure: Callable[[str], None]
    """Told of each fault."""
    _pool: ConnectionPool | None = field(default=None, init=False)
    _opened: tuple[int, int] | None = field(default=None, init=False)
    """Device and inode of the file that is open."""

    @property
    def is_open(self) -> bool:
        """Whether something can be written."""
        return self._pool is not None

    def read(self) -> tuple[Saved, bool]:
        """Read all that is in the file; returns it, and whether the file is none of ours.

        Blocks. What is in it beyond our bounds is deleted. Where it cannot be read, there is
        nothing in it.
        """
        try:
            return self._read(), False
        except OSError as error:
            self.fail(error)
        except Exception as error:
            self.fail(error)
            return Saved(), is_broken(error)
        return Saved(), False

    def _read(self) -> Saved:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
            try:
                connection.execute("PRAGMA journal_mode = WAL")
                connection.executescript(SCHEMA)
                self._shrink(connection)
                return Saved.read(connection)
            finally:
                connection.close()
        except sqlite3.OperationalError as error:
            if is_broken(error) or not self.path.is_file():
                raise
            self.fail(error)  # it cannot be written; perhaps it can be read
            return self.read_only()

    def read_only(self) -> Saved:
        """Read a file that cannot be written; raises what SQLite raises."""
        address = f"{self.path.absolute().as_uri()}?mode=ro&immutable=1"
        connection = sqlite3.connect(address, uri=True, timeout=BUSY_SECONDS)
        try:
            return Saved.read(connection)
        finally:
            connection.close()

    def _shrink(self, connection: sqlite3.Connection) -> None:
        try:
            shrink(connection)
        except sqlite3.OperationalError as error:
            if is_broken(error):
                raise
            self.fail(error)  # locked, or the disk is full: it stays as long as it is

    def connect(self) -> None:
        """Open the file for writing, each time anew."""
        self.close()
        self._pool = ConnectionPool(
            "sqlite3",
            str(self.path),
            check_same_thread=False,
            cp_min=1,
            cp_max=1,
            cp_openfun=_wait_less,
            timeout=BUSY_SECONDS,
        )
        self._opened = self._id()

    def run(self, work: Callable[..., T], *arguments: Any) -> Deferred[T]:
        """Run one transaction in the thread: `work` gets a cursor and these arguments."""
        if self._pool is None:
            return fail(FileNotFoundError("the file is not open"))
        done: Deferred[T] = self._pool.runInteraction(work, *arguments)
        return done

    async def ask(self, work: Callable[..., T], *arguments: Any) -> T | None:
        """Run one that reads; gives None where the file is not open, or has trouble."""
        if not self.is_open:
            return None
        try:
            return await self.run(work, *arguments)
        except Exception as error:
            self.fail(error)
            return None

    def close(self) -> None:
        """Close the file."""
        if self._pool is not None:
            self._pool.close()
            self._pool = None

    def was_taken_away(self) -> bool:
        """Whether somebody has moved or deleted the file: writes into it would go nowhere."""
        return self._opened is not None and self._id() != self._opened

    def _id(self) -> tuple[int, int] | None:
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def move_aside(self) -> bool:
        """Rename a file that is none of ours and begin a new one; returns whether that was done."""
        aside = self.path.with_name(f"{self.path.name}.broken-{int(self.epoch())}")
        try:
            self.path.rename(aside)
        except OSError as error:
            self.fail(error)
            return False
        _log.error(
            "{path} can't be used as a database: moved it to {aside}, starting a new one",
            path=self.path,
            aside=aside,
        )
        self.start_anew()
        return True

    def start_anew(self) -> None:
        """Begin an empty file where there is none any more."""
        try:
            for suffix in ("-wal", "-shm"):
                self.path.with_name(self.path.name + suffix).unlink(missing_ok=True)
            connection = sqlite3.connect(self.path, timeout=BUSY_SECONDS)
            connection.executescript(SCHEMA)
            connection.close()
        except (OSError, sqlite3.Error) as error:
            self.fail(error)
        self.connect()

    def fail(self, error: BaseException) -> None:
        """Log a fault."""
        self.on_failure(f"{self.path}: {type(error).__name__}: {error}")


def is_broken(error: BaseException) -> bool:
    """Whether a file is not what we wrote, rather than out of reach or locked."""
    out_of_reach = isinstance(error, OSError | sqlite3.OperationalError)
    return not out_of_reach or "decode" in str(error) or "no such" in str(error)


def _wait_less(connection: sqlite3.Connection) -> None:
    """Wait for the disk at checkpoints only: a power cut costs the last moments, never the file."""
    connection.execute("PRAGMA synchronous = NORMAL")
