"""What a user sees of a room's state."""

import pytest

from lotus_guard.sandbox.matrix_error import MatrixError
from lotus_guard.sandbox.room_view import event_seen, hidden
from lotus_guard.sandbox.synapse_state import SynapseState
from lotus_guard.sandbox.temper import DENDRITE, SYNAPSE, TEMPERS, TUWUNEL, Temper

ROOM, USER = "!r:s", "@user:s"
POLICY = ("m.policy", "")


def make(temper: Temper) -> SynapseState:
    state = SynapseState(lambda: "1", temper)
    state.add_room(ROOM, "@admin:s")
    return state


def status_of(state: SynapseState, kind: tuple[str, str] = POLICY, room: str = ROOM) -> int:
    with pytest.raises(MatrixError) as caught:
        event_seen(state, room, USER, kind)
    return caught.value.status


@pytest.mark.parametrize("temper", TEMPERS.values(), ids=lambda temper: temper.name)
def test_a_member_sees_what_is_there_now(temper: Temper) -> None:
    state = make(temper)
    state.join(ROOM, USER)
    assert status_of(state) == 404
    state.set_state(ROOM, "m.policy", {"a": 1})
    assert event_seen(state, ROOM, USER, POLICY)["content"] == {"a": 1}


@pytest.mark.parametrize(("temper", "status"), [(SYNAPSE, 403), (TUWUNEL, 404)])
def test_a_stranger_is_not_told_whether_there_is_such_a_room(temper: Temper, status: int) -> None:
    assert status_of(make(temper)) == status_of(make(temper), room="!no:s") == status
    assert hidden(make(temper), ROOM, USER).status == status


def test_who_has_left_sees_what_was_there_then() -> None:
    state = make(SYNAPSE)
    state.join(ROOM, USER)
    state.set_state(ROOM, "m.policy", {"a": 1})
    state.set_membership(ROOM, USER, "leave")
    state.set_state(ROOM, "m.policy", {"a": 2})
    assert event_seen(state, ROOM, USER, POLICY)["content"] == {"a": 1}
    assert event_seen(state, ROOM, USER, ("m.room.member", USER))["content"] == {
        "membership": "leave"
    }
    state.set_membership(ROOM, USER, "ban")
    assert status_of(state) == 403


def test_dendrite_shows_who_has_left_another_event_than_asked_for() -> None:
    state = make(DENDRITE)
    state.join(ROOM, USER)
    state.set_membership(ROOM, USER, "leave")
    assert "room_version" in event_seen(state, ROOM, USER, POLICY)["content"]
    member = event_seen(state, ROOM, USER, ("m.room.member", "@nobody:s"))["content"]
    assert member == {"membership": "leave"}
