"""Tables changed apart become one: no seat is lost, nobody is unseated whom one side seats."""

from hypothesis import given

from lotus_guard.core.seat_merge import merged
from lotus_guard.core.seat_table import Table
from tests.core.seating import TABLES


@given(TABLES, TABLES)
def test_merging_takes_no_seat_away_and_unseats_nobody_whom_one_side_seats(
    one: Table, other: Table
) -> None:
    both = merged(one, other)
    for table in (one, other):
        for person, hold in table.holds.items():
            assert both.holds[person].until >= hold.until
        for livekit_room, look in table.looks.items():
            assert both.looks[livekit_room].at >= look.at
        assert both.unseated.keys() <= table.unseated.keys()
        assert both.unwatched >= table.unwatched
        assert both.put_out.keys() <= table.put_out.keys()
        if both.limited:
            assert table.limited
            assert both.limited[0] >= table.limited[0]


@given(TABLES, TABLES, TABLES)
def test_the_order_of_merging_does_not_matter(a: Table, b: Table, c: Table) -> None:
    assert merged(a, a) == a
    assert merged(a, b) == merged(b, a)
    assert merged(merged(a, b), c) == merged(a, merged(b, c))
    assert merged(merged(a, b), b) == merged(a, b)
