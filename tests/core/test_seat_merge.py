"""Tables changed apart become one: no seat is lost, nobody is unseated whom one side seats."""

from hypothesis import given

from lotus_guard.core.seat_merge import merged
from lotus_guard.core.seat_table import Hold, Table
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


def test_a_seat_kept_for_a_token_is_kept_for_one_though_the_other_side_keeps_it_for_grace() -> None:
    """Whoever hangs up frees a seat that is kept for grace alone."""
    token, grace = Hold(1.0, 61.0), Hold(5.0, 15.0, is_grace=True)
    for one, other in ((token, grace), (grace, token)):
        both = merged(Table(holds={"@a:s": one}), Table(holds={"@a:s": other}))
        assert both.holds["@a:s"] == Hold(5.0, 61.0)
    both = merged(Table(holds={"@a:s": grace}), Table(holds={"@a:s": grace}))
    assert both.holds["@a:s"].is_grace
