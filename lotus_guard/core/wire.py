"""Strict reading of the JSON that crosses our borders.

The wire, as lk-jwt-service speaks it (docs/facts.md, lk-jwt-service: endpoints; MSC4195):

    POST /get_token   {"room_id", "slot_id", "openid_token": {...},
                       "member": {"id", "claimed_user_id", "claimed_device_id"},
                       "delay_id"?, "delay_timeout"?, "delay_cs_api_url"?}
    POST /sfu/get     {"room", "openid_token": {...}, "device_id", ... the same delay fields}
    200               {"url": "ws...", "jwt": "header.payload.signature"} and a newline
    4xx, 5xx          {"errcode": "M_...", "error": "..."}

Upstream reads bodies with Go's encoding/json: keys match without regard to case (simple Unicode
folding: U+017F is an `s`, U+212A a `k`), the last duplicate wins, what follows the first value is
ignored, and broken UTF-8 or a lone surrogate becomes U+FFFD. Python's json agrees with none of
it. From 0.7 on it is written in Rust, whose serde takes an array of an object's values for the
object (docs/facts.md, lk-jwt-service: how it reads JSON). A body that two readers could read
differently would let a client show us one room or user and upstream another, so such a body is
refused here, as upstream refuses bad JSON: what we read must be of the very type that it has above.

What a client names is kept, so it has a bound (`lotus_guard.core.ids`). A room id that no Matrix
room can have is refused too: there is no policy to keep and nobody to meet, but what is kept of it
would push out what is kept of others.
"""

import json
import posixpath
import re
from collections.abc import Mapping
from enum import StrEnum
from functools import lru_cache
from typing import Any, Never
from urllib.parse import unquote_to_bytes

from attrs import frozen

from lotus_guard.core.ids import MOST_ID, fits, is_room_id
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.naming import ROOM_SLOT
from lotus_guard.core.objects import json_object

MAX_DEPTH = 32
"""How deep a request may be nested; upstream's own requests are two levels deep."""

_DELAY_FIELDS = ("delay_id", "delay_timeout", "delay_cs_api_url")
_OPENID_FIELDS = ("access_token", "token_type", "matrix_server_name", "expires_in")
_MEMBER_FIELDS = ("id", "claimed_user_id", "claimed_device_id")
_TOP_FIELDS = ("room", "room_id", "slot_id", "openid_token", "member", "device_id", *_DELAY_FIELDS)

_SURROGATE = re.compile("[\ud800-\udfff]")


class Endpoint(StrEnum):
    """The two paths at which lk-jwt-service hands out tokens."""

    GET_TOKEN = "/get_token"  # noqa: S105  (a path)
    LEGACY = "/sfu/get"


class Unreadable(ValueError):
    """A request body that two JSON readers could read differently, or not at all."""

    def __init__(self, errcode: str, message: str) -> None:
        super().__init__(message)
        self.errcode = errcode


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

    @property
    def is_whole(self) -> bool:
        """Whether it names what upstream issues no token without: a room, and its user."""
        return bool(self.room and (self.user or self.endpoint is Endpoint.LEGACY))


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


def endpoint_of(target: bytes) -> Endpoint | None:
    """The token endpoint that upstream could take a request target for.

    Takes more for one than upstream does (Go's ServeMux redirects `//get_token`): a body that is
    read strictly without need does no harm, one that is not read strictly would.
    """
    try:
        return Endpoint(_path_of(target).decode("ascii"))
    except ValueError:
        return None


def served_path(target: bytes) -> bytes:
    """Return the path of upstream's that it could serve a target at, in whatever spelling it is.

    A path that is none of upstream's is returned as it stands.
    """
    path = _path_of(target)
    return path if path in PATHS else target.partition(b"?")[0]


def _path_of(target: bytes) -> bytes:
    return _clean_path(target.partition(b"?")[0].partition(b"#")[0])


@lru_cache(maxsize=64)
def _clean_path(path: bytes) -> bytes:
    # Asked for several times of each request, nearly always of one of three paths.
    path = re.sub(rb"^[A-Za-z][A-Za-z0-9+.-]*://[^/]*", b"", path)
    return posixpath.normpath(b"/" + unquote_to_bytes(path).lstrip(b"/"))


def read_token_request(endpoint: Endpoint, body: bytes) -> TokenRequest:
    """Read the body of a token request.

    Raises Unreadable, with the Matrix error code to answer, for a body that is not one JSON
    object which every reader reads alike.
    """
    fields = read_strictly(body)
    _refuse_other_spellings(fields, _TOP_FIELDS)
    openid, member = _object(fields, "openid_token"), _object(fields, "member")
    _refuse_other_spellings(openid, _OPENID_FIELDS)
    _refuse_other_spellings(member, _MEMBER_FIELDS)
    read = _legacy if endpoint is Endpoint.LEGACY else _get_token
    return read(fields, member)


def _legacy(fields: Mapping[str, Any], _member: Mapping[str, Any]) -> TokenRequest:
    return TokenRequest(
        endpoint=Endpoint.LEGACY,
        room=_room(fields, "room"),
        slot=ROOM_SLOT,
        user=None,
        device=_text(fields, "device_id"),
        member=None,
    )


def _get_token(fields: Mapping[str, Any], member: Mapping[str, Any]) -> TokenRequest:
    user = _text(member, "claimed_user_id")
    return TokenRequest(
        endpoint=Endpoint.GET_TOKEN,
        room=_room(fields, "room_id"),
        slot=_text(fields, "slot_id") or "",
        user=UserId(user) if user else None,
        device=_text(member, "claimed_device_id"),
        member=_text(member, "id"),
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


def read_strictly(body: bytes) -> dict[str, Any]:
    """Parse one JSON object that Go and Python read alike; raises Unreadable otherwise."""
    try:
        value = json.loads(
            body.decode("utf-8"), object_pairs_hook=_unambiguous, parse_constant=_no_constant
        )
    except Unreadable:
        raise
    except (ValueError, RecursionError):  # UnicodeDecodeError and JSONDecodeError are ValueErrors
        raise Unreadable("M_NOT_JSON", "The request body is not valid JSON.") from None
    if not isinstance(value, dict):
        raise Unreadable("M_BAD_JSON", "The request body must be a JSON object.")
    if b"\\u" in body or body.count(b"{") + body.count(b"[") > MAX_DEPTH:  # else there is neither
        _refuse_depth_and_surrogates(value, MAX_DEPTH)
    return value


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
    if body.count(old.encode()) == 1:
        return body.replace(old.encode(), new.encode())
    return json.dumps({**json.loads(body), "jwt": new}).encode()


def _unambiguous(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # casefold() unites at least all that Go's simple folding unites.
    if len({key.casefold() for key, _ in pairs}) != len(pairs):
        raise Unreadable("M_BAD_JSON", "The request body names a field twice.")
    return dict(pairs)


def _no_constant(name: str) -> Never:
    raise Unreadable("M_NOT_JSON", "The request body contains a number that JSON does not have.")


@lru_cache
def _folded(names: tuple[str, ...]) -> Mapping[str, str]:
    return {name.casefold(): name for name in names}


def _refuse_other_spellings(fields: Mapping[str, Any], names: tuple[str, ...]) -> None:
    folded = _folded(names)
    for key in fields:
        if folded.get(key.casefold(), key) != key:
            raise Unreadable("M_BAD_JSON", "The request body spells a field's name unusually.")


def _refuse_depth_and_surrogates(value: object, depth: int) -> None:
    if depth < 0:
        raise Unreadable("M_BAD_JSON", f"The request body is nested deeper than {MAX_DEPTH}.")
    if isinstance(value, str):
        if _SURROGATE.search(value):
            raise Unreadable("M_BAD_JSON", "The request body contains half a character.")
    elif isinstance(value, dict):
        for key, item in value.items():
            _refuse_depth_and_surrogates(key, depth)
            _refuse_depth_and_surrogates(item, depth - 1)
    elif isinstance(value, list):
        for item in value:
            _refuse_depth_and_surrogates(item, depth - 1)


def _object(fields: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    value = fields.get(name, {})
    if not isinstance(value, dict):
        raise Unreadable("M_BAD_JSON", f"The field `{name}` must be an object.")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str | None:
    """Read an id, None where there is none."""
    value = fields.get(name, "")
    if not isinstance(value, str):
        raise Unreadable("M_BAD_JSON", f"The field `{name}` must be a string.")
    if not fits(value):
        raise Unreadable("M_INVALID_PARAM", f"The field `{name}` is longer than {MOST_ID} bytes.")
    return value if name in fields else None


def _room(fields: Mapping[str, Any], name: str) -> RoomId | None:
    room = _text(fields, name)
    if room and not is_room_id(room):
        raise Unreadable("M_INVALID_PARAM", f"The field `{name}` is no Matrix room's id.")
    return RoomId(room) if room else None
