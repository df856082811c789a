"""LiveKit's webhooks, read as hints: they only wake a look, LiveKit's own answer is what counts.

The wire (FACTS.md, LiveKit and lk-jwt-service; livekit_webhook.proto):

    POST /sfu_webhook
    Content-Type: application/webhook+json
    Authorization: <HS256 JWT, no "Bearer": iss = API key, sha256 = base64(SHA-256 of the body)>
    {"event": "participant_left", "id": "EV_...", "room": {"name": alias, ...},
     "participant": {"identity", "sid", "disconnectReason", ...}, ...}

They come in order for each room and URL, but late ones, doubles (the same id) and none at all are
all usual. Bodies hold a `turnPassword`, so nothing of a body is ever logged.
"""

from base64 import b64encode
from enum import StrEnum
from hashlib import sha256
from hmac import compare_digest
from typing import Any

import jwt
from attrs import frozen
from google.protobuf import json_format
from livekit.protocol import models as lk_models
from livekit.protocol import webhook as lk_webhook

from lotus_guard.core.model import Alias, Identity


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
    alias: Alias
    identity: Identity
    sid: str
    on_purpose: bool
    """Whether the participant hung up himself."""


class Forged(ValueError):
    """A webhook that our secret did not sign, or not with this body."""


_OPTIONS: Any = {f"verify_{claim}": False for claim in ("exp", "nbf", "iat", "aud", "sub", "jti")}


def read_event(body: bytes, authorization: str, key: str, secret: str) -> Event | None:
    """Verify and read a webhook; None for one that is not worth a look.

    Raises Forged. The times in the token are not checked: a repeated event does no more than
    cost a look, and clocks differ.
    """
    try:
        claims = jwt.decode(
            authorization, secret, algorithms=["HS256"], issuer=key, options=_OPTIONS
        )
    except jwt.PyJWTError as error:
        raise Forged(type(error).__name__) from None
    if not compare_digest(str(claims.get("sha256")).encode(), b64encode(sha256(body).digest())):
        raise Forged("the body is not the one that was signed")
    event = lk_webhook.WebhookEvent()
    try:
        json_format.Parse(body, event, ignore_unknown_fields=True)
        kind = EventKind(event.event)
    except (json_format.ParseError, ValueError):
        return None
    return Event(
        event.id,
        kind,
        Alias(event.room.name),
        Identity(event.participant.identity),
        event.participant.sid,
        event.participant.disconnect_reason == lk_models.DisconnectReason.CLIENT_INITIATED,
    )
