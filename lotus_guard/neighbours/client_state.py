"""Matrix' client API as an application service asks it for a room's state, as one of the users.

The wire (docs/facts.md, Any homeserver: who may ask what about a room):

GET {homeserver}/_matrix/client/v3/rooms/{room}/state/{type}/{key}?user_id={user}
Authorization: Bearer <the application service's as_token>
200 {…}                               the event's content, or with `&format=event` all of it
403 or 404 {"errcode": "M_…", …}      no such event, or the user may not look, or we as that user
401 {"errcode": "M_…", …}             a bad token; on Dendrite also a user who cannot be acted as
"""

from collections.abc import Mapping
from typing import Any

from attrs import frozen

from lotus_guard.core.membership import Membership, membership_of
from lotus_guard.core.objects import json_object, text_of
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.bearer import unlike_matrix
from lotus_guard.neighbours.http import HttpAnswer
from lotus_guard.neighbours.synapse_admin import quoted

_REFUSALS = (400, 401, 403, 404)


@frozen
class Piece:
    """A state event that is wanted."""

    type: str
    key: str = ""
    is_whole: bool = False
    """Whether all of it is wanted, with who sent it: else its content alone."""


def state_as_path(room: str, piece: Piece, user: str) -> str:
    """The path of a room's state event, read as a user."""
    path = f"/_matrix/client/v3/rooms/{quoted(room)}/state/{quoted(piece.type)}/{quoted(piece.key)}"
    return f"{path}?user_id={quoted(user)}" + ("&format=event" if piece.is_whole else "")


@frozen
class Seen:
    """What came of reading a state event: what was wanted of it, or a refusal in Matrix' words."""

    status: int
    errcode: str = ""
    content: Mapping[str, Any] | None = None
    """Or all of the event, where that was wanted. None where it was refused."""

    @property
    def is_none(self) -> bool:
        """Whether there is no such event, if whoever read may look at all."""
        return self.status == 404 and self.errcode == "M_NOT_FOUND"


def read_state(answer: HttpAnswer) -> Seen:
    """Read an answer; raises Outage for one that is none of a homeserver's."""
    fields = json_object(answer.body)
    if fields is None:
        raise unlike_matrix(answer)
    if answer.status == 200:
        return Seen(200, content=fields)
    if is_refusal(answer):
        return Seen(answer.status, text_of(fields, "errcode"))
    raise unlike_matrix(answer)


def is_refusal(answer: HttpAnswer) -> bool:
    """Whether a homeserver that knows the question says no to it, in Matrix' own words."""
    errcode = text_of(json_object(answer.body) or {}, "errcode")
    known = errcode.startswith("M_") and errcode != "M_UNRECOGNIZED"
    return answer.status in _REFUSALS and known


def said_by(content: Mapping[str, Any]) -> Membership:
    """The membership that a member event says; raises Outage for what is none of Matrix's."""
    found = membership_of(content.get("membership"))
    if found is Membership.UNHEARD:
        raise Outage(Reason.GARBAGE, "the homeserver sent a member event without a membership")
    return found
