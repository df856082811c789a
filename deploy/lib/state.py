"""A copy of the guard's state, taken and put back while a guard may have the file open.

Taken by SQLite's backup API: a plain copy would miss what is in the WAL, or catch it half-written.
"""

import os
import sqlite3
from contextlib import closing, suppress
from pathlib import Path

from deploy.lib.host import Exit, Trouble

_WAIT_SECONDS = 10.0


def _open(path: Path, mode: str) -> sqlite3.Connection:
    uri = f"{path.absolute().as_uri()}?mode={mode}"
    return sqlite3.connect(uri, uri=True, timeout=_WAIT_SECONDS)


def copy(source: Path, target: Path) -> bool:
    """Copy a state file over another; tells whether there was one.

    A file that is no database is left behind: the guard itself moves such a one aside. Raises
    Trouble where the copy cannot be written.
    """
    if not source.is_file():
        return False
    try:
        # Not read-only: SQLite must be able to look into the WAL of a guard that was killed.
        with closing(_open(source, "rw")) as old, closing(_open(target, "rwc")) as new:
            old.backup(new)
    except sqlite3.OperationalError as error:
        raise Trouble(f"{source} cannot be copied to {target}: {error}", Exit.NOT_NOW) from None
    except sqlite3.DatabaseError:
        return False
    target.chmod(source.stat().st_mode & 0o777)
    return True


def put_back(kept: Path, path: Path) -> None:
    """Put a copy in the place of a state file; the guard has it from its next start on.

    The directory belongs to the guard, and what a guard was made to leave there (a link to a file
    of root's) must not be followed: so a new file takes the place of the name, and belongs to whom
    the directory belongs to. Its WAL goes first, for it is not the new file's.
    """
    beside = f".{path.name}.new"
    directory = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in (beside, *(f"{path.name}-{rest}" for rest in ("wal", "shm", "journal"))):
            with suppress(FileNotFoundError):
                os.unlink(name, dir_fd=directory)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        with open(os.open(beside, flags, 0o600, dir_fd=directory), "wb") as file:
            owner = os.fstat(directory)
            os.fchown(file.fileno(), owner.st_uid, owner.st_gid)
            os.fchmod(file.fileno(), kept.stat().st_mode & 0o777)
            file.write(kept.read_bytes())
            file.flush()
            os.fsync(file.fileno())
        os.rename(beside, path.name, src_dir_fd=directory, dst_dir_fd=directory)
        os.fsync(directory)
    finally:
        os.close(directory)


def schema(path: Path) -> list[object]:
    """Return what another release could stumble over: tables, indexes and the user's version."""
    if not path.is_file():
        return []
    try:
        with closing(_open(path, "rw")) as connection:
            rows = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
            return [*rows, *connection.execute("PRAGMA user_version").fetchall()]
    except sqlite3.DatabaseError:
        return []
