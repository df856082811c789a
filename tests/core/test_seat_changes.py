"""A change is all that is different, and those that only hold seats may be made in any order."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import Identity, LiveKitRoom
from lotus_guard.core.seat_changes import Change, change_between, read_change, write_change
from lotus_guard.core.seat_table import Hold, Look, Table
from tests.core.seating import TABLES


def through_json(change: Change, clock_offset: float = 0.0) -> Change:
    return read_change(json.loads(json.dumps(write_change(change, clock_offset))), clock_offset)


@given(TABLES, TABLES)
def test_what_is_different_makes_the_one_table_of_the_other(before: Table, after: Table) -> None:
    change = change_between(before, after)
    assert bool(change) == (before != after)
    made = before.copy()
    through_json(change).apply(made)
    assert made == after


@given(TABLES, TABLES, TABLES)
def test_of_two_changes_that_join_it_does_not_matter_which_is_first(
    before: Table, one: Table, other: Table
) -> None:
    before.returning.clear()
    changes = []
    for table in (one, other):
        after = before.copy()
        after.holds.update(table.holds)
        for livekit_room, look in before.looks.items():
            if livekit_room in table.looks:
                at = max(look.at, table.looks[livekit_room].at)
                after.looks[livekit_room] = Look(at, look.people)
        changes.append(change_between(before, after))
        if not changes[-1].joins(before, after):
            return
    found = []
    for order in (changes, changes[::-1], [*changes, *changes]):
        made = before.copy()
        for change in order:
            through_json(change).join(made)
        assert made.holds.keys() == before.holds.keys() | one.holds.keys() | other.holds.keys()
        for person, hold in made.holds.items():
            known = before.holds.get(person)
            assert known is None or hold.until >= known.until, "nobody's seat is freed"
        found.append(made)
    assert found[0] == found[1] == found[2]


SEEN, LATER = (Look(at, frozenset({Identity("@ann:s:D")})) for at in (1.0, 2.0))
NOBODY = Look(2.0, frozenset())
ANN = Hold(1.0, 61.0, awaits={Identity("@ann:s:D"): 1.0})


@pytest.mark.parametrize(
    ("before", "after", "joins"),
    [
        (Table(), Table(holds={"@ann:s": ANN}), True),
        (Table(holds={"@ann:s": Hold(0.0, 9.0, True)}), Table(holds={"@ann:s": ANN}), True),
        (Table(holds={"@ann:s": ANN}), Table(), False),
        (Table(holds={"@ann:s": ANN}), Table(holds={"@ann:s": Hold(2.0, 62.0)}), False),
        (Table(), Table(holds={"@ann:s": ANN}, returning={"@bob:s": 9.0}), False),
        (Table(put_out={Identity("i"): 1.0}), Table(holds={"@ann:s": ANN}), False),
        (Table(), Table(holds={"@ann:s": ANN}, limited=(0.0, 1.0)), False),
        (Table(), Table({LiveKitRoom("a"): Look(1.0, frozenset())}, {"@ann:s": ANN}), False),
        (Table({LiveKitRoom("a"): SEEN}), Table({LiveKitRoom("a"): LATER}), True),
        (Table({LiveKitRoom("a"): SEEN}), Table({LiveKitRoom("a"): NOBODY}), False),
    ],
)
def test_only_what_holds_seats_and_takes_nothing_joins(
    before: Table, after: Table, joins: bool
) -> None:
    assert change_between(before, after).joins(before, after) == joins


@given(st.floats(0.0, 1e6).map(lambda at: round(at, 6)))
def test_who_is_still_there_is_not_named_again(at: float) -> None:
    people = frozenset({Identity("@ann:s:D")})
    before = Table({LiveKitRoom("a"): Look(1.0, people)})
    change = change_between(before, Table({LiveKitRoom("a"): Look(at, people)}))
    assert "ann" not in json.dumps(write_change(change, 0.0))


def test_times_are_of_the_clock_that_guards_share() -> None:
    before = Table({LiveKitRoom("a"): Look(1.0, frozenset())})
    after = Table({LiveKitRoom("a"): Look(2.0, frozenset())}, {"@ann:s": ANN}, limited=(1.0, 2.0))
    document = write_change(change_between(before, after), 100.0)
    assert document["still"] == {"a": 102.0}
    assert document["limited"] == [101.0, 102.0]
    change = read_change(document, 50.0)
    assert change.new.holds["@ann:s"].until == 111.0
    assert change.still == {"a": 52.0}


@pytest.mark.parametrize(
    "odd", [[], {"gone": 3}, {"still": {"a": "x"}}, {"gone": {"holds": 3}}, {"looks": [1]}]
)
def test_what_is_no_change_is_told_so(odd: object) -> None:
    with pytest.raises((KeyError, ValueError, TypeError, AttributeError)):
        read_change(odd, 0.0)  # type: ignore[arg-type]
