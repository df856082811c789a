"""What an issued token and the request for it say: which room, and whose identity.

Whoever tells us must have evidence: a hash that matches (a proof), or a strictly read request that
upstream answered with a token (a belief).
"""

from enum import StrEnum

from attrs import frozen

from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.naming import known_identities, known_livekit_rooms, user_of_legacy
from lotus_guard.core.wire import Endpoint, TokenRequest


class Evidence(StrEnum):
    """How we know that a LiveKit room belongs to a Matrix room."""

    PROOF = "proof"
    BELIEF = "belief"


@frozen
class Binding:
    """The Matrix room and slot that a LiveKit room belongs to, and how we know."""

    room: RoomId
    slot: str
    evidence: Evidence

    def proves_slot(self, livekit_room: LiveKitRoom) -> bool:
        """Whether the LiveKit room's name proves the slot too, and not only the Matrix room."""
        return self.evidence is Evidence.PROOF and livekit_room != str(self.room)


def binding_from(livekit_room: LiveKitRoom, request: TokenRequest, believe: bool) -> Binding | None:
    """Read which room an issued token's LiveKit room belongs to off the request that it answers.

    A known derivation that matches is proof. Where none does, the request is believed only when
    `believe` says that it came in at a token endpoint, where it has been read as upstream reads
    it.
    """
    if request.room is None:
        return None
    if livekit_room in known_livekit_rooms(request.room, request.slot):
        return Binding(request.room, request.slot, Evidence.PROOF)
    return Binding(request.room, request.slot, Evidence.BELIEF) if believe else None


def user_from(identity: Identity, request: TokenRequest, believe: bool) -> UserId | None:
    """Read whose an issued token's identity is off the request that it answers.

    Upstream has checked `claimed_user_id` against the OpenID token when a token comes back, and
    has put the checked user in front of the device at `/sfu/get` (docs/facts.md, lk-jwt-service:
    identities).
    """
    if request.endpoint is Endpoint.LEGACY:
        return user_of_legacy(identity, request.device or "")
    if request.user is None:
        return None
    names = known_identities(request.user, request.device or "", request.member or "")
    return request.user if believe or identity in names else None
