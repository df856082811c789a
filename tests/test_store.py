"""The state file: whatever is wrong with it, the guard starts, goes on and keeps what it can."""

import os
import sqlite3
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater

from lotus_guard.core.directory import Directory, Grounds, Place
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.seats import Seats
from lotus_guard.memory import sqlite_schema as tables
from lotus_guard.memory.sqlite import Store
from lotus_guard.memory.sqlite_schema import SeatRows
from tests.world import reactor

ROOM = RoomId("!r:s")
PLACE = Place(ROOM, "slot", Grounds.PROOF)


class Memory:
    """A store and what it keeps."""

    def __init__(self, path: Path) -> None:
        self.failures: list[str] = []
        self.knowledge = Directory()
        self.seats = Seats(60.0, 10.0, self.knowledge)
        self.store = Store(
            path,
            self.knowledge,
            self.seats,
            reactor,
            time.monotonic,
            time.time,
            self.failures.append,
        )
        self.store.open()

    def learn(self, number: int) -> None:
        livekit_room = LiveKitRoom(f"alias{number}")
        self.knowledge.learn_room(livekit_room, PLACE)
        self.knowledge.learn_identity(Identity(f"i{number}"), UserId("@u:s"), livekit_room)
        self.seats.keep(ROOM, f"@u{number}:s", Identity(f"i{number}"), time.monotonic())

    def close(self) -> Deferred[None]:
        return self.store.close()


def known(path: Path) -> int:
    with sqlite3.connect(path) as connection:
        return int(connection.execute("SELECT count(*) FROM alias").fetchone()[0])


def rows(path: Path) -> dict[str, float | None]:
    with sqlite3.connect(path) as connection:
        return dict(connection.execute("SELECT person, until FROM seat").fetchall())


async def settled() -> None:
    await deferLater(reactor, 0.15, lambda: None)


@pytest_twisted.ensureDeferred
async def test_what_is_learnt_is_there_after_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "new" / "state.sqlite"
    one = Memory(path)
    one.learn(1)
    await one.close()
    two = Memory(path)
    assert two.knowledge.place_of(LiveKitRoom("alias1")) == PLACE
    assert two.knowledge.user_of(Identity("i1")) == "@u:s"
    assert list(two.seats.seated(ROOM)) == ["@u1:s"]
    two.knowledge.forget({LiveKitRoom("alias1")})
    await two.close()
    three = Memory(path)
    assert three.knowledge.place_of(LiveKitRoom("alias1")) is None
    assert three.knowledge.user_of(Identity("i1")) is None
    await three.close()
    assert one.failures == two.failures == three.failures == []


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
    one = Memory(path)
    one.learn(1)
    await one.close()
    with sqlite3.connect(path) as connection:
        connection.executescript(SPOILS[spoil])
    connection.close()
    two = Memory(path)
    assert two.failures
    assert list(tmp_path.glob("state.sqlite.broken-*"))
    two.learn(2)
    await two.close()
    three = Memory(path)
    assert three.failures == []
    assert three.knowledge.place_of(LiveKitRoom("alias2")) == PLACE
    await three.close()


@pytest_twisted.ensureDeferred
async def test_a_file_that_breaks_while_we_run_is_moved_aside_once_and_all_is_kept(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state.sqlite"
    one = Memory(path)
    one.learn(1)
    await settled()
    for suffix in ("", "-wal", "-shm"):
        part = tmp_path / f"state.sqlite{suffix}"
        if part.exists():
            part.write_bytes(os.urandom(part.stat().st_size))
    for number in (2, 3, 4):
        one.learn(number)
        await settled()
    one.store._again()
    await settled()
    await one.close()
    assert len(list(tmp_path.glob("state.sqlite.broken-*"))) == 1
    assert known(path) == 4


@pytest_twisted.ensureDeferred
async def test_a_file_that_is_taken_away_is_made_anew(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    one = Memory(path)
    one.learn(1)
    await settled()
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
    one = Memory(path)
    one.learn(1)
    await one.close()
    saved = Memory.__new__(Memory)
    saved.knowledge = Directory()
    saved.seats = Seats(60.0, 10.0, saved.knowledge)
    store = Store(
        path, saved.knowledge, saved.seats, reactor, time.monotonic, time.time, lambda _why: None
    )
    # As root nothing is read-only, so the reading is asked for by itself.
    store._rows_read_only().take_up(saved.knowledge, saved.seats, time.monotonic())
    assert saved.knowledge.place_of(LiveKitRoom("alias1")) == PLACE


@pytest_twisted.ensureDeferred
async def test_a_locked_file_is_an_outage_and_written_later(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    one = Memory(path)
    lock = sqlite3.connect(path, isolation_level=None)
    lock.execute("BEGIN EXCLUSIVE")
    one.learn(1)
    await deferLater(reactor, 2.5, lambda: None)
    assert any("locked" in failure for failure in one.failures)
    lock.execute("ROLLBACK")
    lock.close()
    await one.close()
    assert known(path) == 1


@pytest_twisted.ensureDeferred
async def test_only_the_seats_that_change_are_written(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    memory = Memory(path)
    memory.learn(1)
    memory.learn(2)
    await settled()
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE seat SET until = 7.0 WHERE person = '@u1:s'")
    memory.learn(3)
    await settled()
    assert rows(path)["@u1:s"] == 7.0, "a row that has not changed was written"
    assert sorted(rows(path)) == ["@u1:s", "@u2:s", "@u3:s"]
    await memory.close()


@given(
    st.lists(
        st.dictionaries(
            st.sampled_from("abc"), st.one_of(st.none(), st.floats(0.0, 100.0)), max_size=3
        ),
        max_size=6,
    )
)
def test_the_rows_written_say_what_the_seats_are(states: list[dict[str, float | None]]) -> None:
    rows, file = SeatRows(5.0), dict[str, float | None]()
    for seats in states:
        changes = rows.changes(ROOM, seats)
        for (room, person), row in changes.items():
            assert room == ROOM
            if row is None:
                del file[person]
            else:
                file[person] = row[0]
        assert file.keys() == seats.keys()
        for person, until in seats.items():
            said = file[person]
            assert said is until is None or abs((said or 0.0) - (until or 0.0)) < 5.0
            assert (said is None) is (until is None)
        assert rows.changes(ROOM, seats) == {}


@pytest_twisted.ensureDeferred
async def test_a_seat_given_up_after_a_restart_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    one = Memory(path)
    one.learn(1)
    await one.close()
    two = Memory(path)
    two.seats.sweep(time.monotonic() + 61.0)
    await two.close()
    assert rows(path) == {}


@pytest_twisted.ensureDeferred
async def test_what_falls_out_of_the_bounds_leaves_the_file(tmp_path: Path) -> None:
    path = tmp_path / "state.sqlite"
    one = Memory(path)
    one.knowledge._places._most = one.knowledge._users._most = 3
    for number in range(8):
        one.learn(number)
        await settled()
    await one.close()
    with sqlite3.connect(path) as connection:
        kept = {a for (a,) in connection.execute("SELECT alias FROM alias")}
        whose = {i for (i,) in connection.execute("SELECT identity FROM identity")}
    assert kept == {"alias5", "alias6", "alias7"}
    assert whose == {"i5", "i6", "i7"}


@pytest_twisted.ensureDeferred
async def test_a_file_from_before_the_bounds_is_read_within_them_and_shrinks(
    tmp_path: Path,
) -> None:
    path = tmp_path / "state.sqlite"
    one = Memory(path)
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
    two = Memory(path)
    assert two.failures == []
    assert [livekit_room for livekit_room, _ in two.knowledge.places()] == ["alias1"]
    assert [identity for identity, _ in two.knowledge.users()] == ["i1"]
    assert two.seats.rooms() == [ROOM]
    await two.close()
    assert sum(each.stat().st_size for each in tmp_path.iterdir()) < 1_000_000


@pytest_twisted.ensureDeferred
async def test_more_rows_than_there_is_room_for_are_read_newest_first_and_deleted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "state.sqlite"
    one = Memory(path)
    for number in range(20):
        one.learn(number)
    await one.close()
    monkeypatch.setitem(tables._KEPT, "alias", tables._kept("alias", 5, alias=512))
    two = Memory(path)
    assert [livekit_room for livekit_room, _ in two.knowledge.places()] == [
        f"alias{n}" for n in range(15, 20)
    ]
    await two.close()
    assert known(path) == 5


def test_an_identity_is_dropped_only_where_it_was_learnt() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(tables.SCHEMA)
    first, second, who = LiveKitRoom("first"), LiveKitRoom("second"), Identity("i")
    batch, later = tables.Batch(), tables.Batch()
    batch.identities[who] = (UserId("@u:s"), second)
    batch.drop(who, first)
    batch.write(connection.cursor())
    assert connection.execute("SELECT alias FROM identity").fetchall() == [("second",)]
    again = tables.Batch(identities={who: (UserId("@u:s"), second)})
    later.drop(who, second)
    again.add(later)
    again.write(connection.cursor())
    assert connection.execute("SELECT alias FROM identity").fetchall() == []
