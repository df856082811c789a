"""What is written with a transaction: bounded, in order, and readable by the release before."""

import json
import sqlite3
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.memory import sqlite_schema as schema
from lotus_guard.memory.sqlite_batch import Batch, Beat, SeatRows
from lotus_guard.memory.sqlite_read import select_decisions
from lotus_guard.memory.sqlite_schema import ALIVE_SECONDS, SCHEMA
from lotus_guard.rules.decision import Decision, Deed
from lotus_guard.rules.rulings import not_enforced, request_refused
from tests.memory.kept import BINDING, ROOM
from tests.rulings import seat_refused


def refusal(number: int = 0, room: RoomId = ROOM) -> Decision:
    return Decision(f"id{number}", 1000.0 + number, False, seat_refused(room, "@u:s", 2, 2, []))


@pytest.fixture
def cursor() -> sqlite3.Cursor:
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    return connection.cursor()


def beat(instance: str = "me", at: float = 2000.0, oldest: float = 0.0) -> Batch:
    return Batch(beat=Beat(instance, 7, "tcp:8070", at, oldest))


def test_decisions_are_bounded_by_age(cursor: sqlite3.Cursor) -> None:
    batch = Batch()
    for number in range(10):
        batch.decisions.add(refusal(number))
    batch.write(cursor)
    beat(oldest=1004.0).write(cursor)
    assert [each.id for each in select_decisions(cursor, None, None, 3)] == ["id9", "id8", "id7"]
    assert len(select_decisions(cursor, None, None, 100)) == 6


def test_a_flood_of_one_kind_leaves_the_others(cursor: sqlite3.Cursor) -> None:
    batch = Batch()
    batch.decisions.add(refusal(0))
    flood = request_refused(400, "M_BAD_JSON", "twice")
    for n in range(50):
        batch.decisions.add(Decision(f"f{n}", 1000.0, False, flood))
    batch.write(cursor)
    Batch(beat=Beat("me", 7, "tcp:8070", 2000.0, 0.0, most=5)).write(cursor)
    found = [each.id for each in select_decisions(cursor, None, None, 100)]
    assert found == ["f49", "f48", "f47", "f46", "f45", "id0"]


def test_names_that_sqlite_does_not_take_do_not_stop_the_rest(cursor: sqlite3.Cursor) -> None:
    batch = Batch()
    batch.decisions.add(refusal(room=RoomId("!\ud800:s")))
    batch.write(cursor)
    assert len(select_decisions(cursor, None, None, 100)) == 1


KINDS_BEFORE = {"refused", "changed", "step", "fail_open"}
"""What the release before `unenforced` could read; one other kind, and it showed no decision."""


def test_an_earlier_release_that_is_put_back_can_read_what_this_one_wrote(
    cursor: sqlite3.Cursor,
) -> None:
    batch = Batch()
    batch.decisions.add(refusal(0))
    batch.decisions.add(Decision("u", 1001.0, False, not_enforced("limit", "timeout", "late")))
    batch.write(cursor)
    bodies = [json.loads(body) for (body,) in cursor.execute("SELECT body FROM decision")]
    assert {body["kind"] for body in bodies} <= KINDS_BEFORE
    newest, _ = select_decisions(cursor, None, None, 100)
    assert (newest.id, newest.ruling.deed) == ("u", Deed.UNENFORCED)


def test_guards_on_one_file_see_each_other_until_one_stops(cursor: sqlite3.Cursor) -> None:
    assert beat("one").write(cursor) == []
    assert beat("two").write(cursor) == [7]
    Batch(gone="one").write(cursor)
    assert beat("two").write(cursor) == []
    assert beat("three", at=2000.0 + ALIVE_SECONDS + 1).write(cursor) == []


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


def test_an_identity_is_dropped_only_where_it_was_learnt() -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(schema.SCHEMA)
    first, second, who = LiveKitRoom("first"), LiveKitRoom("second"), Identity("i")
    batch, later = Batch(), Batch()
    batch.identities[who] = (UserId("@u:s"), second)
    batch.drop(who, first)
    batch.write(connection.cursor())
    assert connection.execute("SELECT alias FROM identity").fetchall() == [("second",)]
    again = Batch(identities={who: (UserId("@u:s"), second)})
    later.drop(who, second)
    again.add(later)
    again.write(connection.cursor())
    assert connection.execute("SELECT alias FROM identity").fetchall() == []


def test_a_livekit_room_that_is_forgotten_takes_along_whoever_waits_to_be_written() -> None:
    """Also where a write has failed in between, and both wait together."""
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    gone, other = LiveKitRoom("gone"), LiveKitRoom("other")
    learnt, later = Batch(), Batch()
    for batch in (learnt, later):
        batch.identities[Identity("i")] = (UserId("@u:s"), gone)
        batch.identities[Identity("j")] = (UserId("@v:s"), other)
        batch.bindings[gone] = BINDING
    later.forget(gone)
    learnt.add(later)
    learnt.write(connection.cursor())
    assert connection.execute("SELECT identity FROM identity").fetchall() == [("j",)]
    assert connection.execute("SELECT alias FROM alias").fetchall() == []


def test_what_comes_later_is_added_and_wins() -> None:
    one, later = Batch(), Batch()
    one.seats[ROOM, "@u:s"], later.seats[ROOM, "@u:s"] = (None,), None
    one.beat, later.gone = Beat("me", 7, "tcp", 1.0, 0.0), "me"
    one.bindings[LiveKitRoom("a")] = BINDING
    later.unbind(LiveKitRoom("a"))
    one.add(later)
    assert one.seats == {(ROOM, "@u:s"): None}
    assert (one.beat, one.gone) == (Beat("me", 7, "tcp", 1.0, 0.0), "me")
    assert one.bindings == {}
    assert one.unbound == {"a"}
    assert one
    assert not Batch()


class Counting:
    """A cursor, and how many statements it was given."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self.cursor, self.statements = cursor, 0

    def execute(self, statement: str, values: Sequence[Any]) -> None:
        self.statements += 1
        self.cursor.execute(statement, values)

    def executemany(self, statement: str, rows: Sequence[Any]) -> None:
        assert statement.startswith("DELETE") or not rows
        self.cursor.executemany(statement, rows)


@pytest.mark.parametrize("number", [0, 1, 7, 8, 9, 63, 64, 73, 200])
def test_all_rows_of_a_table_are_written_with_few_statements(number: int) -> None:
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    learnt = {
        Identity(f"i{n}"): (UserId(f"@u{n}:s"), LiveKitRoom(f"call{n % 3}")) for n in range(number)
    }
    for _ in range(2):  # and once more in their places
        counting = Counting(connection.cursor())
        Batch(identities=dict(learnt)).write(counting)
        assert counting.statements <= number // 64 + 7 + 7
    written = connection.execute("SELECT identity, user, alias FROM identity").fetchall()
    assert {Identity(i): (UserId(user), LiveKitRoom(a)) for i, user, a in written} == learnt
    assert len(written) == number


def test_a_name_with_any_character_is_written_whole(cursor: sqlite3.Cursor) -> None:
    """Clients choose devices: one that ended at its NUL would be written as somebody else's."""
    user, call = UserId("@u:s"), LiveKitRoom("call")
    names = [Identity(f"@u:s:D{odd}") for odd in ("", "\0", "\0x", '"', "é", "\U0001f600")]
    Batch(identities=dict.fromkeys(names, (user, call))).write(cursor)
    cursor.execute("SELECT identity FROM identity")
    assert {identity for (identity,) in cursor.fetchall()} == set(names)
