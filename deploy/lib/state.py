"""A copy of the guard's state, taken and put back while a guard may have the file open.

By SQLite's backup API: a plain copy would miss what is in the WAL, or catch it half-written.
"""

import sqlite3
from contextlib import closing
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


def schema(path: Path) -> list[object]:
    """Give what another release could stumble over: tables, indexes and the user's version."""
    if not path.is_file():
        return []
    try:
        with closing(_open(path, "rw")) as connection:
            rows = connection.execute("SELECT sql FROM sqlite_master ORDER BY name").fetchall()
            return [*rows, *connection.execute("PRAGMA user_version").fetchall()]
    except sqlite3.DatabaseError:
        return []
