"""What is read from the state file: what was learnt, and decisions newest first."""

import sqlite3

import pytest
from attrs import evolve

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Seats
from lotus_guard.memory.sqlite_batch import Batch
from lotus_guard.memory.sqlite_read import Saved, find_decision, select_decisions
from lotus_guard.memory.sqlite_schema import SCHEMA
from lotus_guard.rules.decision import Decision
from tests.memory.kept import ROOM
from tests.rulings import seat_refused


def refusal(number: int = 0, room: RoomId = ROOM) -> Decision:
    return Decision(f"id{number}", 1000.0 + number, False, seat_refused(room, "@u:s", 2, 2, []))


@pytest.fixture
def cursor() -> sqlite3.Cursor:
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    return connection.cursor()


def test_what_a_later_release_wrote_is_left_out_and_hides_nothing(cursor: sqlite3.Cursor) -> None:
    batch = Batch()
    batch.decisions.add(refusal(0))
    batch.write(cursor)
    for kind, body in (("new", "{}"), ("refused", "{}"), ("refused", "[")):
        row = (1.0, kind, "limit", None, None, body)
        cursor.execute(
            "INSERT INTO decision (at, kind, rule, room, user, body) VALUES (?, ?, ?, ?, ?, ?)", row
        )
    assert [each.id for each in select_decisions(cursor, None, None, 100)] == ["id0"]


def test_decisions_on_a_room_and_a_user_newest_first(cursor: sqlite3.Cursor) -> None:
    batch, other = Batch(), RoomId("!other:s")
    for number in range(4):
        batch.decisions.add(refusal(number, ROOM if number % 2 else other))
    batch.write(cursor)

    def found(room: str | None, user: str | None, most: int = 9) -> list[str]:
        return [each.id for each in select_decisions(cursor, room, user, most)]

    assert found(None, None) == ["id3", "id2", "id1", "id0"]
    assert found(None, None, 2) == ["id3", "id2"]
    assert found(ROOM, None) == ["id3", "id1"]
    assert found(ROOM, "@u:s") == ["id3", "id1"]
    assert found(ROOM, "@v:s") == []


def test_seats_are_moved_from_the_epochs_clock_to_ours(cursor: sqlite3.Cursor) -> None:
    cursor.execute("INSERT INTO seat VALUES ('!r:s', '@held:s', 1060.0), ('!r:s', '@was:s', NULL)")
    saved, directory = Saved.read(cursor.connection), Directory()
    assert saved.seats == {ROOM: {"@held:s": 1060.0, "@was:s": None}}
    seats = Seats(60.0, 10.0, directory)
    saved.take_up(directory, seats, now=7.0, epoch=1007.0)
    assert seats.seated(ROOM) == {"@held:s": 60.0, "@was:s": 17.0}


def test_a_decision_is_found_by_its_id(cursor: sqlite3.Cursor) -> None:
    batch = Batch()
    for number in range(12):
        batch.decisions.add(refusal(number))
    quoting = seat_refused(RoomId('!"id": "id3":s'), "@u:s", 2, 2, [])
    batch.decisions.add(Decision("other", 2000.0, False, quoting))
    batch.write(cursor)
    found = find_decision(cursor, "id3")
    assert found == refusal(3)
    for reference in ("id", "id33", "other ", "", "\ud800", '"'):
        assert find_decision(cursor, reference) is None, reference


def test_one_that_names_another_in_its_inputs_is_not_taken_for_it(cursor: sqlite3.Cursor) -> None:
    batch = Batch()
    batch.decisions.add(refusal(3))
    ruling = evolve(seat_refused(ROOM, "@u:s", 2, 2, []), inputs={"id": "id3"})
    batch.decisions.add(Decision("later", 2000.0, False, ruling))
    batch.write(cursor)
    assert find_decision(cursor, "id3") == refusal(3)
