"""A decision is kept as JSON, and shows users only as far as they may be shown."""

import json
from typing import Any

import pytest
from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.model import (
    RoomId,
)
from lotus_guard.rules.decision import Decision, Deed, Ruling, from_json, masked
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


def test_a_decision_is_written_as_its_module_shows_it() -> None:
    ruling = seat_refused(ROOM, "@u:s", 2, 2, ["@a:s", "@b:s"])
    decision = Decision("k3v9t2xq", 1790000000.1234, True, ruling)
    told = json.loads(json.dumps(decision.as_json()))
    assert told == {
        "id": "k3v9t2xq",
        "at": 1790000000.123,
        "kind": "refused",
        "rule": "limit",
        "observed": True,
        "room": "!r:s",
        "user": "@u:s",
        "verdict": "refused",
        "why": "2 in the call or about to join, 2 allowed, this user not among them",
        "inputs": {"max_users": 2, "taken": 2, "is_seated": False},
        "people": ["@a:s", "@b:s"],
    }
    assert from_json(told) == evolve(decision, at=1790000000.123)
    del told["people"]  # as the first releases wrote it
    assert from_json(told).ruling.people == ()


@pytest.mark.parametrize(
    "wrong", [{"kind": "unheard of"}, {"at": "late"}, {"inputs": 3}, {"id": ...}, {"room": ...}]
)
def test_what_is_no_decision_is_told_from_one(wrong: dict[str, Any]) -> None:
    told = Decision("id", 0.0, False, seat_refused(ROOM, "@u:s", 2, 2)).as_json()
    broken = {**told, **wrong}
    with pytest.raises((KeyError, ValueError, TypeError)):
        from_json({name: value for name, value in broken.items() if value is not ...})


def test_a_mask_shows_users_as_it_makes_them_and_leaves_out_whom_it_does_not() -> None:
    ruling = seat_refused(ROOM, "@u:s", 2, 2, ["@a:s", "@b:s"])
    shown = masked(ruling, lambda person: None if person == "@a:s" else person.upper())
    assert (shown.user, shown.people) == ("@U:S", ("@B:S",))
    nobody = Ruling(Deed.REFUSED, "request", "refused", "why")
    assert masked(nobody, lambda _person: "x") == nobody
