"""A room's seats as JSON: they come back as they were written, whichever release wrote them."""

import json

from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import Identity
from lotus_guard.core.seat_table import Hold, Table
from lotus_guard.core.seats_json import read_table, write_table
from tests.core.seating import TABLES


@given(TABLES, st.floats(-1e6, 1.8e9))
def test_a_table_comes_back_as_it_was_written(table: Table, offset: float) -> None:
    offset = round(offset, 3)
    document = json.loads(json.dumps(write_table(table, offset)))
    assert read_table(document, offset) == table


def test_a_guard_of_another_release_loses_no_seat_by_what_it_does_not_write() -> None:
    """Two releases side by side on one Redis: each reads what the other wrote."""
    token = {Identity("@a:s:D"): 1.0}
    table = Table(holds={"@a:s": Hold(1.0, 61.0, awaits=token, firm={})})
    document = write_table(table, 0.0)
    # As the release before `firm` unpacks it: four fields, and nothing else that it asks for.
    assert document["holds"] == {"@a:s": [1.0, 61.0, False, token]}
    del document["firm"], document["put_out"]
    found = read_table(document, 0.0)
    assert found.holds["@a:s"].firm == token, "the doubt is for the people"
    assert found.put_out == {}
