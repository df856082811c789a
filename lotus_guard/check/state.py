"""The state file and the files with secrets, read without touching them.

A running guard has the file open in WAL mode. It is opened read-only here, and as immutable where
no WAL is there: SQLite would otherwise make one, which the guard's user might then not be able to
write. The table is

    guard(instance TEXT PRIMARY KEY, pid INTEGER, listen TEXT, beat REAL)

with a row for each guard that runs, its `beat` (seconds since the epoch) renewed each minute.
"""

import os
import sqlite3
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from lotus_guard.check.finding import Finding, fault, note, ok, warning
from lotus_guard.memory.sqlite_schema import ALIVE_SECONDS
from lotus_guard.run.config import variable_names

STATE, ONE, SECRETS = "state-file", "one-guard", "secret-files"
_SECRET_FILES = (
    "LIVEKIT_KEY_FILE",
    "LIVEKIT_AS_REGISTRATION_FILE",
    "LOTUS_GUARD_AS_REGISTRATION_FILE",
)
"""The variables that name a file with a secret, besides those that end on `_FROM_FILE`."""
_MAGIC = b"SQLite format 3\0"


def check_state_file(path: Path, access: Callable[[Path, int], bool] = os.access) -> Finding:
    """Check whether the file can be written, or made."""
    shown, parent = path.absolute(), path.absolute().parent
    if path.is_dir():
        return fault(
            STATE, f"{shown} is a directory", "set LOTUS_GUARD_STATE to the path of a file"
        )
    if not parent.exists():
        seen = f"the directory {parent} does not exist"
        wanted = f"set StateDirectory= in the unit, or create {parent} for the guard's user"
        return fault(STATE, seen, wanted)
    if not parent.is_dir():
        return fault(
            STATE, f"{parent} is not a directory", "set LOTUS_GUARD_STATE to the path of a file"
        )
    try:
        return _existing(path, access)
    except OSError as error:
        return fault(STATE, f"{shown}: {error.strerror}", _owner(shown))


def _existing(path: Path, access: Callable[[Path, int], bool]) -> Finding:
    shown = path.absolute()
    if not access(shown.parent, os.W_OK | os.X_OK):  # SQLite puts its WAL beside the file
        return fault(STATE, f"this user can't write in {shown.parent}", _owner(shown.parent))
    if not path.exists():
        return ok(STATE, f"{shown} does not exist yet and can be created")
    if not path.is_file():
        return fault(STATE, f"{shown} is not a file", "set LOTUS_GUARD_STATE to the path of a file")
    if not access(path, os.R_OK | os.W_OK):
        return fault(STATE, f"this user can't write {shown}", _owner(shown))
    with path.open("rb") as file:
        head = file.read(len(_MAGIC))
    if head not in (b"", _MAGIC):
        wanted = f"set LOTUS_GUARD_STATE to another path, or move {shown} away (as the guard would)"
        return fault(STATE, f"{shown} is not an SQLite file", wanted)
    return ok(STATE, f"{shown} can be written")


def _owner(path: Path) -> str:
    return f"chown {path} to the guard's user, and run the check as that user"


def check_other_guards(path: Path, epoch: float) -> Finding:
    """Count the guards that run on this file."""
    try:
        running = _running(path, epoch)
    except (sqlite3.Error, OSError, ValueError):
        return note(ONE, "no guard is on record in the state file")
    if len(running) > 1:
        said = ", ".join(f"pid {pid} at {listen}" for pid, listen in running)
        seen = f"{len(running)} guards use {path.absolute()}: {said}"
        wanted = (
            "give each guard its own file in LOTUS_GUARD_STATE, or stop all but one (one that was "
            f"killed counts for another {ALIVE_SECONDS:.0f} s)"
        )
        return fault(ONE, seen, wanted)
    if not running:
        return note(ONE, "no guard uses the state file now")
    return ok(ONE, "one guard uses the state file")


def _running(path: Path, epoch: float) -> list[tuple[object, object]]:
    if not path.is_file():
        return []
    wal = [path.with_name(path.name + suffix).exists() for suffix in ("-wal", "-shm")]
    mode = "mode=ro" if all(wal) else "mode=ro&immutable=1"
    connection = sqlite3.connect(f"{path.absolute().as_uri()}?{mode}", uri=True, timeout=1.0)
    try:
        return list(
            connection.execute(
                "SELECT pid, listen FROM guard WHERE beat > ? ORDER BY instance LIMIT 20",
                (epoch - ALIVE_SECONDS,),
            )
        )
    finally:
        connection.close()


def check_secret_files(environment: Mapping[str, str]) -> Finding:
    """Check that not everybody on this machine can read the files with secrets."""
    files = {
        name: Path(environment[name])
        for name in variable_names()
        if environment.get(name) and (name.endswith("_FROM_FILE") or name in _SECRET_FILES)
    }
    loose = [path for path in files.values() if _is_open_to_all(path)]
    if loose:
        seen = f"everybody on this machine can read or write {', '.join(map(str, loose))}"
        return warning(SECRETS, seen, f"chmod o= {' '.join(map(str, loose))}")
    if not files:
        return note(SECRETS, "no secret comes from a file")
    return ok(SECRETS, "not everybody can read the files with secrets")


def _is_open_to_all(path: Path) -> bool:
    try:
        return bool(path.stat().st_mode & (stat.S_IROTH | stat.S_IWOTH))
    except OSError:
        return False
