"""Decisions that wait to be written: oldest first, and a flood of one kind within bounds."""

import sqlite3

import pytest

from lotus_guard.core.model import RoomId
from lotus_guard.memory.sqlite_batch import Batch
from lotus_guard.memory.sqlite_read import select_decisions
from lotus_guard.memory.sqlite_schema import SCHEMA
from lotus_guard.memory.waiting_decisions import MOST_WAITING, WaitingDecisions
from lotus_guard.rules.decision import Decision
from lotus_guard.rules.rulings import request_refused
from tests.memory.kept import ROOM
from tests.rulings import seat_refused


def refusal(number: int = 0, room: RoomId = ROOM) -> Decision:
    return Decision(f"id{number}", 1000.0 + number, False, seat_refused(room, "@u:s", 2, 2, []))


@pytest.fixture
def cursor() -> sqlite3.Cursor:
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    return connection.cursor()


def test_a_flood_waits_for_the_disk_within_bounds(cursor: sqlite3.Cursor) -> None:
    batch = Batch()
    batch.decisions.add(refusal(0))
    flood = request_refused(400, "M_BAD_JSON", "twice")
    for n in range(1000):
        batch.decisions.add(Decision(f"f{n}", 1000.0, False, flood))
    batch.write(cursor)
    found = [each.id for each in select_decisions(cursor, None, None, 5000)]
    assert len(found) == 1 + MOST_WAITING
    assert found[0] == "f999"
    assert "id0" in found


def test_they_are_written_oldest_first_whatever_they_are_about() -> None:
    waiting = WaitingDecisions()
    assert not waiting
    flood = request_refused(400, "M_BAD_JSON", "twice")
    waiting.add(refusal(3))
    waiting.add(Decision("f", 1001.0, False, flood))
    waiting.add(refusal(2))
    assert waiting
    assert [each.id for each in waiting.in_order()] == ["f", "id2", "id3"]
