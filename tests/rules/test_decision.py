"""A decision is kept as JSON, and shows users only as far as they may be shown."""

import json

from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import (
    RoomId,
)
from lotus_guard.rules.decision import Decision, Deed, masked
from tests.rulings import seat_refused

texts = st.text(max_size=20)
ROOM, USER = RoomId("!r:s"), "@u:s"


@given(st.lists(texts, max_size=80), texts)
def test_a_mask_leaves_no_user(people: list[str], user: str) -> None:
    ruling = seat_refused(ROOM, f"@{user}", 2, 2, [f"@{each}" for each in people])
    shown = masked(ruling, lambda _person: None)
    assert "@" not in json.dumps(Decision("i", 0.0, False, shown).as_json())
    assert len(ruling.people) <= 50
    assert ruling.deed is Deed.REFUSED
