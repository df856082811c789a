"""The two generations of lk-jwt-service: in Go up to 0.6, in Rust from 0.7 on.

They differ in how they read bodies (`lotus_guard.sandbox.reading`), route paths, name rooms and
people, and in what they write into a token (docs/facts.md, lk-jwt-service: tokens).
"""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from hashlib import sha256
from typing import Any

import jwt
from attrs import frozen
from twisted.web.resource import IResource

from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.naming import identity_of, livekit_room_of, plain_json
from lotus_guard.sandbox.go_http import ServeMux, go_json
from lotus_guard.sandbox.reading import Reading, read_as_go, read_as_rust
from lotus_guard.sandbox.rust_http import ExactPaths, rust_json

_GO_GRANT = {"canPublish": True, "canSubscribe": True, "canUpdateOwnMetadata": True}


@frozen
class Claims:
    """What a token says."""

    key: str
    identity: Identity
    room: LiveKitRoom
    now: int
    grant: Mapping[str, Any] | None = None
    """Instead of what the service grants everybody."""
    publishes: bool = True
    """In Rust, False for the users of other homeservers who ask by them."""


@frozen
class Generation:
    """How one generation works."""

    read: Reading
    write: Callable[[object], bytes]
    """Writes the body of an answer."""
    route: Callable[[IResource, Sequence[str]], IResource]
    """Serves these paths alone."""
    livekit_room: Callable[[RoomId, str], LiveKitRoom]
    identity: Callable[[UserId, str, str], Identity]
    """Names a participant by user, device and member."""
    sign: Callable[[Claims, str], str]


def _go_token(said: Claims, secret: str) -> str:
    grant = _GO_GRANT if said.grant is None else said.grant
    claims = {
        "iss": said.key,
        "sub": said.identity,
        "exp": said.now + 3600,
        "nbf": said.now,
        "iat": said.now,
        "identity": said.identity,
        "video": {"roomJoin": True, "room": said.room, **grant},
    }
    return jwt.api_jws.encode(go_json(claims), secret, algorithm="HS256")


def _rust_token(said: Claims, secret: str) -> str:
    """Sign a token with every field there is; an empty list of sources restricts nothing."""
    before = ("roomCreate", "roomList", "roomRecord", "roomAdmin")
    after = ("canUpdateOwnMetadata", "ingressAdmin", "hidden", "recorder")
    video = {
        **dict.fromkeys(before, False),
        "roomJoin": True,
        "room": said.room,
        "destinationRoom": "",
        "canPublish": said.publishes,
        "canSubscribe": True,
        "canPublishData": True,
        "canPublishSources": [],
        **dict.fromkeys(after, False),
        **(said.grant or {}),
    }
    claims = {
        "exp": said.now + 3600,
        "iss": said.key,
        "nbf": said.now,
        "sub": said.identity,
        "name": "",
        "video": video,
        "sip": {"admin": False, "call": False},
        "sha256": "",
        "metadata": "",
        "attributes": {},
        "roomConfig": None,
    }
    return jwt.api_jws.encode(rust_json(claims), secret, algorithm="HS256", sort_headers=False)


def _plain_hash(*strings: str) -> str:
    return b64encode(sha256(plain_json(strings)).digest()).decode("ascii").rstrip("=")


def _rust_room(room: RoomId, slot: str) -> LiveKitRoom:
    return LiveKitRoom(_plain_hash(room, slot))


def _rust_identity(user: UserId, device: str, member: str) -> Identity:
    return Identity(_plain_hash(user, device, member))


def _go_body(value: object) -> bytes:
    return go_json(value) + b"\n"


GO = Generation(read_as_go, _go_body, ServeMux, livekit_room_of, identity_of, _go_token)
RUST = Generation(read_as_rust, rust_json, ExactPaths, _rust_room, _rust_identity, _rust_token)
GENERATIONS: Mapping[str, Generation] = {"go": GO, "rust": RUST}
