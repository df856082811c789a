"""LiveKit's webhooks, read as hints: they only wake a look, LiveKit's own answer is what counts.

The wire (docs/facts.md, LiveKit: webhooks; livekit_webhook.proto):

    POST /sfu_webhook
    Content-Type: application/webhook+json
    Authorization: <HS256 JWT, no "Bearer": iss = API key, sha256 = base64(SHA-256 of the body)>
    {"event": "participant_left", "id": "EV_...", "room": {"name": ..., ...},
     "participant": {"identity", "sid", "disconnectReason", ...}, ...}

They come in order for each room and URL, but late ones, doubles (the same id) and none at all are
all usual. Bodies hold a `turnPassword`, so nothing of a body is ever logged; they also hold the
participant's metadata and the track's name, so they are as long as a client makes them.

The secret has signed the clients' own tokens too. What makes a token a webhook's is its `sha256`,
which no client's has: lk-jwt-service writes none, or an empty one (docs/facts.md, lk-jwt-service:
tokens).
"""

import json
from base64 import b64encode
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from typing import Any

import jwt
from attrs import frozen

from lotus_guard.core.model import Identity, LiveKitRoom
from lotus_guard.core.objects import json_object, part_of, text_of
from lotus_guard.core.token import KeyPair, mint

MOST_WEBHOOK = 8 * 1024 * 1024
"""Bytes of a webhook; upstream's own bound. LiveKit's metadata may have 512 KiB, a track's name has
no bound at all."""


class EventKind(StrEnum):
    """The events that are worth a look."""

    JOINED = "participant_joined"
    LEFT = "participant_left"
    ABORTED = "participant_connection_aborted"
    PUBLISHED = "track_published"
    FINISHED = "room_finished"


@frozen
class Event:
    """A verified webhook."""

    id: str
    kind: EventKind
    livekit_room: LiveKitRoom
    identity: Identity
    sid: str
    on_purpose: bool
    """Whether the participant hung up themselves."""


class Forged(ValueError):
    """A webhook that our secret did not sign, or not with this body."""


_OPTIONS: Any = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "sub", "jti")}
_HUNG_UP = ("CLIENT_INITIATED", 1)
"""How LiveKit says that somebody left on purpose: the enum's name or number, as JSON has it."""


def announced(authorization: str, key: str, secret: str) -> str:
    """Verify a webhook's token and give the hash of the body that it was made for.

    It is there before the body is, so that a long body is taken from LiveKit alone. Raises Forged.
    The times in the token are not checked: a repeated event does no more than cost a look, and
    clocks differ.
    """
    try:
        claims = jwt.decode(
            authorization, secret, algorithms=["HS256"], issuer=key, options=_OPTIONS
        )
    except jwt.PyJWTError as error:
        raise Forged(type(error).__name__) from None
    digest = claims.get("sha256")
    if not isinstance(digest, str) or not digest:
        raise Forged("its token is not a webhook's")
    return digest


def is_announced(authorization: str, key: str, secret: str) -> bool:
    """Whether a token is a webhook's."""
    try:
        announced(authorization, key, secret)
    except Forged:
        return False
    return True


def read_event(body: bytes, authorization: str, key: str, secret: str) -> Event | None:
    """Verify and read a webhook; None for one that is not worth a look. Raises Forged."""
    said = announced(authorization, key, secret).encode("utf-8", "replace")
    if not compare_digest(said, _digest(body)):
        raise Forged("its body is not the one that was signed")
    fields = json_object(body) or {}
    room, participant = (part_of(fields, name) for name in ("room", "participant"))
    try:
        kind = EventKind(text_of(fields, "event"))
    except ValueError:
        return None
    reason = participant.get("disconnectReason", participant.get("disconnect_reason"))
    return Event(
        text_of(fields, "id"),
        kind,
        LiveKitRoom(text_of(room, "name")),
        Identity(text_of(participant, "identity")),
        text_of(participant, "sid"),
        reason in _HUNG_UP,
    )


def write_event(event: Event, key: str, secret: str) -> tuple[bytes, str]:
    """Write a webhook of our own that says no more than an event; gives body and Authorization.

    For the other guards, who verify it like LiveKit's: what is told them is short, whatever a
    client has put into the participant, and has nothing in it that is secret.
    """
    participant = {"identity": event.identity, "sid": event.sid}
    if event.on_purpose:
        participant["disconnectReason"] = "CLIENT_INITIATED"
    fields = {
        "event": event.kind.value,
        "id": event.id,
        "room": {"name": event.livekit_room},
        "participant": participant,
    }
    body = json.dumps(fields).encode("ascii")
    return body, mint(KeyPair(key, secret), sha256=_digest(body).decode("ascii"))


def _digest(body: bytes) -> bytes:
    return b64encode(sha256(body).digest())
