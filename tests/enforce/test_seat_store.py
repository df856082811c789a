"""The seats of a guard that shares them with nobody: a change is simply made."""

import pytest
import pytest_twisted

from lotus_guard.core.model import Identity
from lotus_guard.core.seats import Seats
from lotus_guard.enforce.seat_store import LocalSeats
from tests.core.seating import ROOM, make


@pytest_twisted.ensureDeferred
async def test_a_change_is_made_once_and_its_result_returned() -> None:
    store, done = LocalSeats(make()), list[str]()

    def admit(seats: Seats) -> bool:
        done.append("once")
        return seats.admit(ROOM, "@a:s", Identity("@a:s:D"), 1, 0.0, 0.0).admitted

    assert await store.change(ROOM, admit)
    assert done == ["once"]
    assert store.seats.taken(ROOM, 1.0) == ["@a:s"]
    assert store.is_certain(ROOM), "nobody else gives seats"
    await store.reunite()


@pytest_twisted.ensureDeferred
async def test_what_fails_fails_for_who_asked() -> None:
    store = LocalSeats(make())

    def broken(_seats: Seats) -> None:
        raise KeyError("x")

    with pytest.raises(KeyError):
        await store.change(ROOM, broken)
