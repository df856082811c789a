"""How changes of seats stand in Redis, and what is read of them."""

import json
from math import inf

import pytest

from lotus_guard.core.model import Identity
from lotus_guard.core.seat_changes import Change, change_between
from lotus_guard.core.seat_table import Hold, Table
from lotus_guard.memory.redis_changes import (
    FAULTS,
    MORE,
    Version,
    people,
    read_reply,
    read_version,
    seated_by,
    written_change,
    written_table,
)

ANN, BOB = (Hold(1.0, 61.0, awaits={Identity(f"@{name}:s:D"): 1.0}) for name in ("ann", "bob"))
BEFORE = Table(holds={"@ann:s": ANN})


def test_versions_are_read_as_they_are_written() -> None:
    version = Version("l", 3, "w")
    assert read_version(str(version)) == version
    assert read_version(str(Version())) == Version()
    assert Version("l", 4, "x").follows(version)
    assert not version.follows(version)
    assert not Version("m", 4, "x").follows(version)


def line(seats: int, change: Change) -> str:
    return f"l:4:w {seats} {written_change(change, 0.0)}"


def test_changes_are_made_on_the_table_that_is_known_or_on_the_one_that_is_told() -> None:
    more = change_between(Table(), Table(holds={"@bob:s": BOB}))
    less = change_between(BEFORE, Table())
    reply = read_reply([0, "l:4:w", "", line(1, more)])
    assert reply.make_on(BEFORE.copy(), 0.0).holds == {"@ann:s": ANN, "@bob:s": BOB}
    reply = read_reply([0, "l:4:w", written_table(BEFORE, 0.0), line(1, more), line(MORE, less)])
    assert reply.make_on(Table(holds={"@carl:s": ANN}), 0.0).holds == {"@bob:s": BOB}
    assert reply.size == len(line(1, more)) + len(line(MORE, less))


def test_a_change_that_joins_takes_nothing_of_what_others_have_written() -> None:
    longer = Hold(9.0, 69.0, awaits={Identity("@ann:s:E"): 9.0})
    change = change_between(Table(), BEFORE)
    table = Table(holds={"@ann:s": longer})
    read_reply([1, "l:4:w", "", line(1, change)]).make_on(table, 0.0)
    assert table.holds["@ann:s"].until == 69.0
    assert set(table.holds["@ann:s"].awaits) == {"@ann:s:D", "@ann:s:E"}


@pytest.mark.parametrize("odd", ["", "x", "l:4:w 0", "l:4:w 0 {", "l:4:w x {}", "l:4:w 0 []", None])
def test_what_is_no_change_is_a_fault(odd: str | None) -> None:
    with pytest.raises(FAULTS):
        read_reply([0, "l:4:w", "", odd]).make_on(Table(), 0.0)


def test_whoever_has_a_seat_held_is_not_seated_once_more() -> None:
    again = Table(holds={"@ann:s": Hold(5.0, 65.0, awaits=ANN.awaits), "@bob:s": BOB})
    change = change_between(BEFORE, again)
    assert seated_by(change, BEFORE, 5.0) == 1
    assert seated_by(change, BEFORE, 61.0) == 2, "theirs has run out"


def test_a_change_is_one_line() -> None:
    odd = Table(holds={"@a\nb:s": ANN})
    assert "\n" not in written_change(change_between(Table(), odd), 0.0)
    assert json.loads(written_table(odd, 0.0))["holds"]


def test_a_slack_is_a_number_that_redis_can_read() -> None:
    assert [people(slack) for slack in (-1.0, 0.0, 3.0)] == [-1, 0, 3]
    assert people(inf) > 100_000
