"""The state file, the guards that run on it, and files with secrets."""

import shutil
import sqlite3
import time
from functools import partial
from pathlib import Path

import pytest

from lotus_guard.check.finding import Level
from lotus_guard.check.state import check_other_guards, check_secret_files, check_state_file
from tests.check.breaks import Break, F, W, each_is_found
from tests.check.checked_stack import CheckedStack


def state_is_a_directory(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_STATE"] = str(stack.directory)


def state_has_no_directory(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_STATE"] = str(stack.directory / "no" / "state.sqlite")


def state_lies_under_a_file(stack: CheckedStack) -> None:
    (stack.directory / "file").write_text("")
    stack.environment["LOTUS_GUARD_STATE"] = str(stack.directory / "file" / "state.sqlite")


def state_is_no_database(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_STATE"] = str(stack.directory / "notes")
    (stack.directory / "notes").write_text("milk, bread, and more than sixteen bytes")


def two_guards(stack: CheckedStack) -> None:
    stack.beat("two", time.time() - 140.0)


def secrets_are_for_all(stack: CheckedStack) -> None:
    Path(stack.environment["LIVEKIT_SECRET_FROM_FILE"]).chmod(0o644)


BREAKS: list[tuple[Break, str, Level, str]] = [
    (state_is_a_directory, "state-file", F, "is a directory"),
    (state_has_no_directory, "state-file", F, "does not exist"),
    (state_lies_under_a_file, "state-file", F, "is not a directory"),
    (state_is_no_database, "state-file", F, "not an SQLite file"),
    (two_guards, "one-guard", F, "2 guards"),
    (secrets_are_for_all, "secret-files", W, "chmod o="),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)


def allows(refused: Path, path: Path, _mode: int) -> bool:
    return path != refused


def test_a_file_that_this_user_cannot_write(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    sqlite3.connect(path).close()
    for refused in (path, tmp_path):
        found = check_state_file(path, partial(allows, refused))
        assert found.level is Level.FAULT
        assert "this user can't write" in found.seen
        assert "chown" in found.wanted
    assert check_state_file(path).level is Level.OK
    assert check_state_file(tmp_path / "new").level is Level.OK


def database(path: Path, *beats: float) -> sqlite3.Connection:
    """A file as a running guard has it open: in WAL mode, with what was written still in there."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute(
        "CREATE TABLE guard (instance TEXT PRIMARY KEY, pid INTEGER, listen TEXT, beat REAL)"
    )
    rows = [(str(n), n, "tcp:8070", beat) for n, beat in enumerate(beats)]
    connection.executemany("INSERT INTO guard VALUES (?, ?, ?, ?)", rows)
    connection.commit()
    return connection


@pytest.mark.parametrize(
    ("beats", "level"),
    [
        ((), Level.NOTE),
        ((900.0,), Level.OK),
        ((900.0, 849.0), Level.OK),
        ((900.0, 851.0), Level.FAULT),
        ((800.0,), Level.NOTE),
    ],
)
@pytest.mark.parametrize("is_open", [True, False])
def test_guards_are_counted_by_their_beats_and_nothing_is_touched(
    tmp_path: Path, beats: tuple[float, ...], level: Level, is_open: bool
) -> None:
    path = tmp_path / "state.sqlite"
    guard = database(path, *beats)
    if not is_open:
        guard.close()
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir() if not p.name.endswith("-shm")}
    names = sorted(p.name for p in tmp_path.iterdir())
    assert check_other_guards(path, 1000.0).level is level
    assert sorted(p.name for p in tmp_path.iterdir()) == names
    assert all((tmp_path / name).read_bytes() == data for name, data in before.items())
    if is_open:
        guard.execute("INSERT INTO guard VALUES ('x', 1, 'y', 0)")
        guard.commit()


def test_what_a_killed_guard_has_left_stays_as_it_is(tmp_path: Path) -> None:
    """A database opened for writing would take the WAL in, as whoever runs the check."""
    (tmp_path / "left").mkdir()
    guard = database(tmp_path / "state.sqlite", 900.0)
    left = [shutil.copy(path, tmp_path / "left") for path in tmp_path.glob("state.sqlite*")]
    guard.close()
    before = {Path(path): Path(path).read_bytes() for path in left}
    assert len(before) == 3
    found = check_other_guards(tmp_path / "left" / "state.sqlite", 1000.0)
    assert found.level is Level.OK, "what is in the WAL only is seen"
    after = {path: path.read_bytes() for path in (tmp_path / "left").iterdir()}
    changed = {path.name for path in before if before[path] != after.get(path)}
    assert changed <= {"state.sqlite-shm"}


def test_a_lock_does_not_hold_it_up(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    guard = database(path, 900.0)
    guard.execute("BEGIN EXCLUSIVE")
    begun = time.monotonic()
    assert check_other_guards(path, 1000.0).level is Level.OK
    assert time.monotonic() - begun < 2.0


@pytest.mark.parametrize("content", [None, b"", b"no database at all, but long enough for one"])
def test_a_file_without_guards_is_fine(tmp_path: Path, content: bytes | None) -> None:
    path = tmp_path / "state.sqlite"
    if content is not None:
        path.write_bytes(content)
    assert check_other_guards(path, 1000.0).level is Level.NOTE
    assert path.exists() is (content is not None)


def test_secret_files(tmp_path: Path) -> None:
    path = tmp_path / "key"
    path.write_text("x")
    for mode, level in ((0o600, Level.OK), (0o640, Level.OK), (0o644, Level.WARNING)):
        path.chmod(mode)
        for name in (
            "LIVEKIT_KEY_FILE",
            "LIVEKIT_AS_REGISTRATION_FILE",
            "LOTUS_GUARD_AS_REGISTRATION_FILE",
        ):
            assert check_secret_files({name: str(path)}).level is level
    assert check_secret_files({"LIVEKIT_KEY": "x"}).level is Level.NOTE
