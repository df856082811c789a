"""What a user of the sandbox's homeserver sees of a room's state.

Whoever is in it sees all; others what its temper lets them (docs/facts.md, Any homeserver: who may
ask what about a room).
"""

from lotus_guard.core.membership import MEMBER
from lotus_guard.core.power import CREATE
from lotus_guard.sandbox.matrix_error import MatrixError
from lotus_guard.sandbox.synapse_state import Event, RoomState, SynapseState


def event_seen(state: SynapseState, room_id: str, user_id: str, kind: tuple[str, str]) -> Event:
    """The state event of this type and key, as a user reads it.

    Raises MatrixError where they may not look, or where there is no such event.
    """
    room = state.rooms.get(room_id, {})
    membership = state.membership(room_id, user_id)
    if membership == "join":
        return _there(room.get(kind))
    frozen = state.frozen.get((room_id, user_id))
    if membership in state.temper.frozen_at and frozen is not None:
        return _from_outside(state, frozen, user_id, kind)
    if _is_world_readable(room):
        return _as_a_stranger(state, room_id, user_id, kind)
    raise hidden(state, room_id, user_id)


def hidden(state: SynapseState, room_id: str, user_id: str) -> MatrixError:
    """The refusal of a user who may not look."""
    return MatrixError(*state.temper.refusals.hidden, f"User {user_id} not in room {room_id}")


def _there(event: Event | None) -> Event:
    if event is None:
        raise MatrixError(404, "M_NOT_FOUND", "Event not found.")
    return event


def _from_outside(
    state: SynapseState, frozen: RoomState, user_id: str, kind: tuple[str, str]
) -> Event:
    """Read the room as it was; Dendrite shows another event where there was none."""
    if kind in frozen or not state.temper.has_dendrites_ways:
        return _there(frozen.get(kind))
    instead = (MEMBER, user_id) if kind[0] == MEMBER else (CREATE, "")
    return _there(frozen.get(instead))


def _as_a_stranger(state: SynapseState, room_id: str, user_id: str, kind: tuple[str, str]) -> Event:
    event = _there(state.rooms[room_id].get(kind))
    if state.temper.has_dendrites_ways and kind[0] != MEMBER:
        raise hidden(state, room_id, user_id)
    return event


def _is_world_readable(room: RoomState) -> bool:
    event = room.get(("m.room.history_visibility", ""))
    return bool(event and event["content"].get("history_visibility") == "world_readable")
