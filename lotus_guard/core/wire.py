"""Strict reading of the JSON that crosses our borders.

The wire, as lk-jwt-service speaks it (docs/facts.md, lk-jwt-service: endpoints; MSC4195):

    POST /get_token   {"room_id", "slot_id", "openid_token": {...},
                       "member": {"id", "claimed_user_id", "claimed_device_id"},
                       "delay_id"?, "delay_timeout"?, "delay_cs_api_url"?}
    POST /sfu/get     {"room", "openid_token": {...}, "device_id", ... the same delay fields}
    200               {"url": "ws...", "jwt": "header.payload.signature"} and a newline
    4xx, 5xx          {"errcode": "M_...", "error": "..."}

A body that two readers could read differently would let a client show us one room or user and
upstream another, so such a body is refused here, as upstream refuses bad JSON
(`lotus_guard.core.strict_json`): what we read must be of the very type that it has above.
"""

import json
import posixpath
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any
from urllib.parse import unquote_to_bytes

from attrs import frozen

from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.naming import ROOM_SLOT
from lotus_guard.core.objects import json_object
from lotus_guard.core.strict_json import (
    object_in,
    read_strictly,
    refuse_other_spellings,
    room_in,
    text_in,
)

_OPENID_FIELDS = frozenset(("access_token", "token_type", "matrix_server_name", "expires_in"))
MEMBER_FIELDS = frozenset(("id", "claimed_user_id", "claimed_device_id"))
_DELAY_FIELDS = ("delay_id", "delay_timeout", "delay_cs_api_url")
_TOP_FIELDS = frozenset(
    ("room", "room_id", "slot_id", "openid_token", "member", "device_id", *_DELAY_FIELDS)
)


class Endpoint(StrEnum):
    """Where lk-jwt-service hands out tokens: to clients, and to homeservers that ask for them."""

    GET_TOKEN = "/get_token"  # noqa: S105  (a path)
    LEGACY = "/sfu/get"
    HOMESERVER = "homeserver"
    """A homeserver asks for one of its users (`lotus_guard.core.homeserver_wire`)."""
    FEDERATION = "federation"
    """Ours hands on what another one asks for one of its users."""


@frozen
class TokenRequest:
    """What a token request says; None for whatever is missing."""

    endpoint: Endpoint
    room: RoomId | None
    slot: str
    user: UserId | None
    """`claimed_user_id`; always None at `/sfu/get`, where upstream asks the homeserver."""
    device: str | None
    member: str | None
    elsewhere: bool = False
    """Whether it asks for a token of another homeserver's service, which another secret signs."""

    @property
    def is_whole(self) -> bool:
        """Whether it names what upstream issues no token without: a room, and its user."""
        return bool(self.room and (self.user or self.endpoint is Endpoint.LEGACY))


_ENDPOINTS = {b"/get_token": Endpoint.GET_TOKEN, b"/sfu/get": Endpoint.LEGACY}
WEBHOOK = b"/sfu_webhook"
PATHS = frozenset((b"/get_token", b"/sfu/get", b"/delegate_delayed_leave", WEBHOOK, b"/healthz"))
"""All paths that upstream serves."""


def without_slashes(target: bytes) -> bytes:
    """Make `/get_token` of `//get_token`, and so for each of upstream's paths.

    So asks whose livekit_service_url, or LiveKit's webhook URL, has a base that ends in a slash.
    Upstream in Go answers it by a redirect without CORS headers, which no browser follows, and in
    Rust by 404 (docs/facts.md, lk-jwt-service: paths). No client writes a slash behind a path, so
    `/get_token/` is left to upstream.
    """
    merged = b"/" + target.lstrip(b"/")
    return merged if merged.partition(b"?")[0] in PATHS else target


def is_webhook(target: bytes) -> bool:
    """Whether a request target is where LiveKit sends its webhooks."""
    return _path_of(target) == WEBHOOK


def is_homeservers(target: bytes) -> bool:
    """Whether a request target is one that only a homeserver may ask for, in any spelling."""
    return _path_of(target).startswith(b"/_matrix/")


def endpoint_of(target: bytes) -> Endpoint | None:
    """The token endpoint that upstream could take a request target for.

    Takes more for one than upstream does (Go's ServeMux redirects `//get_token`): a body that is
    read strictly without need does no harm, one that is not read strictly would.
    """
    return _ENDPOINTS.get(_path_of(target))


def served_path(target: bytes) -> bytes:
    """Return the path of upstream's that it could serve a target at, in whatever spelling it is.

    A path that is none of upstream's is returned as it stands.
    """
    path = _path_of(target)
    return path if path in PATHS else target.partition(b"?")[0]


@lru_cache(maxsize=64)
def _path_of(target: bytes) -> bytes:
    # Asked for several times of each request, nearly always of one of three targets.
    path = target.partition(b"?")[0].partition(b"#")[0]
    path = re.sub(rb"^[A-Za-z][A-Za-z0-9+.-]*://[^/]*", b"", path)
    return posixpath.normpath(b"/" + unquote_to_bytes(path).lstrip(b"/"))


def read_token_request(endpoint: Endpoint, body: bytes) -> TokenRequest:
    """Read the body of a token request.

    Raises Unreadable, with the Matrix error code to answer, for a body that is not one JSON
    object which every reader reads alike.
    """
    fields = read_strictly(body)
    refuse_other_spellings(fields, _TOP_FIELDS)
    openid, member = object_in(fields, "openid_token"), object_in(fields, "member")
    refuse_other_spellings(openid, _OPENID_FIELDS)
    refuse_other_spellings(member, MEMBER_FIELDS)
    read = _legacy if endpoint is Endpoint.LEGACY else _get_token
    return read(fields, member)


def _legacy(fields: Mapping[str, Any], _member: Mapping[str, Any]) -> TokenRequest:
    return TokenRequest(
        endpoint=Endpoint.LEGACY,
        room=room_in(fields, "room"),
        slot=ROOM_SLOT,
        user=None,
        device=text_in(fields, "device_id"),
        member=None,
    )


def _get_token(fields: Mapping[str, Any], member: Mapping[str, Any]) -> TokenRequest:
    user = text_in(member, "claimed_user_id")
    return TokenRequest(
        endpoint=Endpoint.GET_TOKEN,
        room=room_in(fields, "room_id"),
        slot=text_in(fields, "slot_id") or "",
        user=UserId(user) if user else None,
        device=text_in(member, "claimed_device_id"),
        member=text_in(member, "id"),
    )


def read_any(body: bytes) -> TokenRequest | None:
    """Read the body of a request to a path that we do not know, for which a token came back.

    What it says is only ever used where a hash in the answer proves it. None where it names no
    room. Raises Unreadable for all that is not one JSON object which every reader reads alike,
    but for no body at all, which says nothing.
    """
    if not body:
        return None
    endpoint = Endpoint.GET_TOKEN if "room_id" in read_strictly(body) else Endpoint.LEGACY
    request = read_token_request(endpoint, body)
    return request if request.room else None


def read_answer(body: bytes) -> str | None:
    """Take the LiveKit token out of upstream's answer; None where there is none.

    Upstream is trusted to write plain JSON, so this reading is lenient.
    """
    if b'"jwt"' not in body:
        return None
    jwt = (json_object(body) or {}).get("jwt")
    return jwt if isinstance(jwt, str) and jwt else None


def replace_token(body: bytes, old: str, new: str) -> bytes:
    """Put another token into upstream's answer and leave every other byte as it was."""
    encoded = old.encode()
    before, found, after = body.partition(encoded)
    if found and encoded not in after:
        return before + new.encode() + after
    return json.dumps({**json.loads(body), "jwt": new}).encode()
