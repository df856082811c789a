"""What of the tables is kept: within bounds, the newest, and the space is given back."""

import sqlite3
from pathlib import Path

import pytest
import pytest_twisted

from lotus_guard.memory import sqlite_schema as schema
from tests.memory.kept import ROOM, Kept, known


@pytest_twisted.ensureDeferred
async def test_a_file_from_before_the_bounds_is_read_within_them_and_shrinks(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state.sqlite"
    one = Kept(path)
    one.learn(1)
    await one.close()
    long = "x" * 30_000
    with sqlite3.connect(path) as connection:
        for number in range(200):
            room, who = f"!{number}{long}", f"{number}{long}{long}"
            connection.execute("INSERT INTO alias VALUES (?, ?, 'm', 'belief')", (room, room))
            connection.execute("INSERT INTO identity VALUES (?, '@u:s', ?)", (who, room))
            connection.execute("INSERT INTO seat VALUES (?, ?, NULL)", (room, who))
            row = (number, "refused", "limit", room, who, long)
            connection.execute(
                "INSERT INTO decision (at, kind, rule, room, user, body) VALUES (?, ?, ?, ?, ?, ?)",
                row,
            )
    connection.close()
    assert path.stat().st_size > 30_000_000
    two = Kept(path)
    assert two.failures == []
    assert [livekit_room for livekit_room, _ in two.directory.bindings()] == ["alias1"]
    assert [identity for identity, _ in two.directory.users()] == ["i1"]
    assert two.seats.rooms() == [ROOM]
    await two.close()
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) < 1_000_000


@pytest_twisted.ensureDeferred
async def test_more_rows_than_there_is_room_for_are_read_newest_first_and_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.sqlite"
    one = Kept(path)
    for number in range(20):
        one.learn(number)
    await one.close()
    monkeypatch.setitem(schema.KEPT, "alias", schema.newest_that_fit("alias", 5, alias=512))
    two = Kept(path)
    assert [livekit_room for livekit_room, _ in two.directory.bindings()] == [
        f"alias{n}" for n in range(15, 20)
    ]
    await two.close()
    assert known(path) == 5
