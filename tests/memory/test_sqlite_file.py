"""The state file on the disk: whatever is wrong with it, the guard goes on."""

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import LiveKitRoom
from lotus_guard.core.seats import Seats
from lotus_guard.memory.sqlite_file import StateFile, is_broken
from lotus_guard.memory.sqlite_read import Saved
from tests.memory.kept import BINDING, Kept, known, rows, settled

SPOILS: dict[str, Any] = {
    "an unknown word": "UPDATE alias SET grounds = 'weird'",
    "text for a number": "UPDATE seat SET until = 'soon'",
    "another version's table": "DROP TABLE alias; CREATE TABLE alias (alias TEXT, room TEXT)",
    "no such text": "UPDATE alias SET room = CAST(x'ff' AS TEXT)",
}


@pytest.mark.parametrize("spoil", SPOILS)
@pytest_twisted.ensureDeferred
async def test_a_file_with_something_wrong_in_it_is_moved_aside(tmp_path: Path, spoil: str) -> None:
    path = tmp_path / "state.sqlite"
    one = Kept(path)
    one.learn(1)
    await one.close()
    with sqlite3.connect(path) as connection:
        connection.executescript(SPOILS[spoil])
    connection.close()
    two = Kept(path)
    assert two.failures
    assert list(tmp_path.glob("state.sqlite.broken-*"))
    two.learn(2)
    await two.close()
    three = Kept(path)
    assert three.failures == []
    assert three.directory.binding_of(LiveKitRoom("alias2")) == BINDING
    await three.close()


@pytest_twisted.ensureDeferred
async def test_a_file_that_breaks_while_we_run_is_moved_aside_once_and_all_is_kept(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state.sqlite"
    one = Kept(path)
    one.learn(1)
    await settled(one)
    for suffix in ("", "-wal", "-shm"):
        part = tmp_path / f"state.sqlite{suffix}"
        if part.exists():
            part.write_bytes(os.urandom(part.stat().st_size))
    for number in (2, 3, 4):
        one.learn(number)
        await settled(one)
    one.store._again()
    await settled(one)
    await one.close()
    assert len(list(tmp_path.glob("state.sqlite.broken-*"))) == 1
    assert known(path) == 4


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_taken_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    one = Kept(path)
    one.learn(1)
    await settled(one)
    for part in tmp_path.glob("state.sqlite*"):
        part.unlink()
    one.learn(2)
    await one.close()
    assert known(path) == 2
    assert sorted(rows(path)) == ["@u1:s", "@u2:s"]
    assert "gone" in one.failures[0]


@pytest_twisted.ensureDeferred
async def test_a_file_that_can_only_be_read_is_read(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    one = Kept(path)
    one.learn(1)
    await one.close()
    directory, now = Directory(), time.monotonic()
    # As root nothing is read-only, so the reading is asked for by itself.
    saved = StateFile(path, time.time, lambda _why: None).read_only()
    saved.take_up(directory, Seats(60.0, 10.0, directory), now, time.time())
    assert directory.binding_of(LiveKitRoom("alias1")) == BINDING


@pytest_twisted.ensureDeferred
async def test_a_locked_file_is_an_outage_and_written_later(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    one = Kept(path)
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    one.learn(1)
    await settled(one)
    assert any("locked" in failure for failure in one.failures)
    lock.execute("ROLLBACK")
    lock.close()
    await one.close()
    assert known(path) == 1


@pytest.mark.parametrize(
    ("error", "broken"),
    [
        (sqlite3.DatabaseError("file is not a database"), True),
        (sqlite3.OperationalError("Could not decode to UTF-8 column"), True),
        (sqlite3.OperationalError("no such column: grounds"), True),
        (ValueError("weird"), True),
        (sqlite3.OperationalError("database is locked"), False),
        (sqlite3.OperationalError("unable to open database file"), False),
        (PermissionError(13, "no"), False),
    ],
)
def test_what_is_broken_and_what_is_out_of_reach(error: Exception, broken: bool) -> None:
    assert is_broken(error) is broken


@pytest_twisted.ensureDeferred
async def test_what_cannot_be_opened_is_told_and_done_without(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a directory")
    told: list[str] = []
    file = StateFile(tmp_path / "file" / "state.sqlite", time.time, told.append)
    saved, is_none_of_ours = file.read()
    assert (saved, is_none_of_ours) == (Saved(), False)
    assert len(told) == 1
    assert not file.is_open
    with pytest.raises(FileNotFoundError):
        await file.run(lambda _cursor: None)
