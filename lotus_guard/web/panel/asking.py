"""What the panel asks: a room, and the OpenID token of whoever asks. Read strictly.

POST /panel/room
    {"room_id": "!r:s",
     "openid_token": {"access_token": "…", "matrix_server_name": "s", …}}
"""

from attrs import frozen

from lotus_guard.core.ids import fits
from lotus_guard.core.model import RoomId
from lotus_guard.core.objects import text_of
from lotus_guard.core.strict_json import Unreadable, object_in, read_strictly, room_in
from lotus_guard.neighbours.openid import OpenIdToken

MOST_BYTES = 4096
"""Of a body."""


@frozen
class Asking:
    """A question: what is going on in that room?"""

    room: RoomId
    token: OpenIdToken


def read_asking(body: bytes) -> Asking:
    """Read the body of a question; raises Unreadable."""
    if len(body) > MOST_BYTES:
        raise Unreadable("M_TOO_LARGE", f"The request body is longer than {MOST_BYTES} bytes.")
    fields = read_strictly(body)
    room, token = room_in(fields, "room_id"), object_in(fields, "openid_token")
    secret, server = text_of(token, "access_token"), text_of(token, "matrix_server_name")
    if not room or not secret or not server or not fits(server):
        raise Unreadable("M_BAD_JSON", "The request does not name both a room and a user.")
    return Asking(room, OpenIdToken(secret, server))
