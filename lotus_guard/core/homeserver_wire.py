"""Requests for tokens that a homeserver hands on (MSC4195, MSC4512).

The wire, as a homeserver writes it (docs/facts.md, lk-jwt-service: behind a homeserver):

    POST /_matrix/client/{v1 | unstable/io.element.msc4195}/rtc/livekit/get_token
    Authorization: Bearer <hs_token>
    X-Matrix-User-Identifier: @user:server
    {"url", "room_id", "slot_id", "member_id", "server_name"?}

    POST /_matrix/federation/{v1 | unstable/io.element.msc4195}/rtc/livekit/get_token
    Authorization: Bearer <hs_token>
    X-Matrix-Origin: server
    {"user_id", "url", "room_id", "slot_id", "member_id"}

    200 {"jwt": "header.payload.signature"}

At first `member_id` was an object, `member`, as in the body of `/get_token`. The two headers are
the homeserver's word; the body is the client's.
"""

from attrs import frozen

from lotus_guard.core.ids import fits
from lotus_guard.core.model import UserId
from lotus_guard.core.strict_json import (
    Unreadable,
    object_in,
    read_strictly,
    refuse_other_spellings,
    room_in,
    text_in,
)
from lotus_guard.core.wire import MEMBER_FIELDS, Endpoint, TokenRequest

USER_HEADER, ORIGIN_HEADER = b"X-Matrix-User-Identifier", b"X-Matrix-Origin"

_VERSIONS = ("v1", "unstable/io.element.msc4195")
CLIENT_PATHS, FEDERATION_PATHS = (
    tuple(f"/_matrix/{api}/{version}/rtc/livekit/get_token" for version in _VERSIONS)
    for api in ("client", "federation")
)
"""The exact paths at which tokens are handed out."""

_FIELDS = frozenset(("url", "room_id", "slot_id", "member_id", "member", "server_name", "user_id"))


@frozen
class Sender:
    """Whom a homeserver hands a request on for: one of its users, or another homeserver."""

    user: UserId | None = None
    server: str = ""
    """The homeserver: the user's own, or the other one."""


def user_sender(said: str) -> Sender:
    """Read the header that names a user; raises Unreadable."""
    local, colon, server = said.partition(":")
    if not (local.startswith("@") and colon and server and fits(said) and said.isprintable()):
        raise Unreadable("M_INVALID_PARAM", "sender_no_user")
    return Sender(UserId(said), server)


def server_sender(said: str) -> Sender:
    """Read the header that names another homeserver; raises Unreadable."""
    if not (said and fits(said) and said.isprintable()):
        raise Unreadable("M_INVALID_PARAM", "sender_no_homeserver")
    return Sender(server=said)


def read_handed_on(sender: Sender, body: bytes) -> TokenRequest:
    """Read the body of a request that a homeserver hands on.

    Raises Unreadable for a body that is not one JSON object which every reader reads alike, and for
    a user of another homeserver than the one that asks.
    """
    fields = read_strictly(body)
    refuse_other_spellings(fields, _FIELDS)
    member = object_in(fields, "member")
    refuse_other_spellings(member, MEMBER_FIELDS)
    text_in(fields, "url")
    return TokenRequest(
        endpoint=Endpoint.HOMESERVER if sender.user else Endpoint.FEDERATION,
        room=room_in(fields, "room_id"),
        slot=text_in(fields, "slot_id") or "",
        user=sender.user or _remote_user(text_in(fields, "user_id"), sender.server),
        device=text_in(member, "claimed_device_id"),
        member=text_in(fields, "member_id") or text_in(member, "id"),
        elsewhere=_elsewhere(text_in(fields, "server_name"), sender),
    )


def _remote_user(user: str | None, server: str) -> UserId | None:
    if user is None:
        return None
    if not user.startswith("@") or user.partition(":")[2] != server:
        raise Unreadable("M_INVALID_PARAM", "sender_not_theirs")
    return UserId(user)


def _elsewhere(named: str | None, sender: Sender) -> bool:
    """Whether a user asks for a token of another homeserver's service."""
    return bool(sender.user and named and named != sender.server)
