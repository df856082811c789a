"""What Matrix's identifiers may look like, and how long what clients choose may be.

Matrix bounds room ids and user ids by 255 bytes (specification, appendices, "Identifier grammar").
Slots, devices and members have no bound there; clients' own are a few dozen bytes long, so the same
one holds for them. A legacy identity is a user id, a colon and a device id.
"""

import re

MOST_ID = 255
"""Bytes, as UTF-8, of each id that a client names."""
MOST_NAME = 2 * MOST_ID + 2
"""Bytes of a LiveKit room's name and of an identity: what upstream makes of such ids."""

_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f]")
_USUAL_ROOM = re.compile(f"![\x20-\x7e]{{1,{MOST_ID - 1}}}")
"""Nearly all ids of rooms, known by one look."""


def fits(text: str, most: int = MOST_ID) -> bool:
    """Whether a text is that short, in bytes; half a character has no bytes at all."""
    if len(text) > most:
        return False
    if text.isascii():
        return True
    try:
        return len(text.encode("utf-8")) <= most
    except UnicodeEncodeError:
        return False


def is_room_id(room: str) -> bool:
    """Whether a homeserver could know a room by this id.

    One that it could not is never asked for: what a database makes of such an id says nothing of
    whether the homeserver is well (NUL is a 500 on PostgreSQL; docs/facts.md, Synapse: admin API).
    """
    if _USUAL_ROOM.fullmatch(room):
        return True
    return room.startswith("!") and len(room) > 1 and fits(room) and not _CONTROL.search(room)


def is_user_id(user: str) -> bool:
    """Whether somebody could be known by this id: `@`, a name, a colon, a server."""
    local, _, server = user.partition(":")
    is_whole = len(local) > 1 and local.startswith("@") and bool(server)
    return is_whole and fits(user) and not _CONTROL.search(user)
