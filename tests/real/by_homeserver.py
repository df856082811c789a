"""How clients ask for a token whose homeserver hands the request on."""

from typing import Any

from lotus_guard.core.homeserver_wire import CLIENT_PATHS
from lotus_guard.core.naming import ROOM_SLOT
from tests.real.homeserver import User
from tests.real.processes import Answer
from tests.real.stack import Stack


def fields_of(stack: Stack, room: str, **more: Any) -> dict[str, Any]:
    """What a client says of the token that it wants."""
    return {
        "url": stack.livekit.url,
        "room_id": room,
        "slot_id": ROOM_SLOT,
        "member_id": "m1",
        **more,
    }


def ask(stack: Stack, user: User, room: str, path: str = CLIENT_PATHS[1], **more: Any) -> Answer:
    """Ask as a client does whose homeserver hands it on."""
    return stack.synapse.call("POST", path, user.access_token, fields_of(stack, room, **more))


def members(stack: Stack, room: str, count: int) -> list[User]:
    """Make users who are in a room."""
    users = stack.users(count)
    for user in users:
        stack.synapse.join(user, room)
    return users
