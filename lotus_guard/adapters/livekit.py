"""LiveKit's RoomService over Twirp.

The wire (FACTS.md, LiveKit; livekit_room.proto):

    POST {api}/twirp/livekit.RoomService/{Method}
    Authorization: Bearer <HS256 JWT: iss = API key, video = {"roomAdmin": true, "room": alias}>
    Content-Type: application/protobuf           both ways

protobuf rather than JSON, because only protobuf carries fields that we do not know through a
read and a write. An unknown room has no participants: an empty list, not a 404.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import jwt
from attrs import define
from google.protobuf.message import DecodeError, Message
from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room

from lotus_guard.adapters.http import Http
from lotus_guard.core.model import Alias, Identity
from lotus_guard.core.seats import Look
from lotus_guard.ports import Now, Outage, Reason

M = TypeVar("M", bound=Message)

_TOKEN_LIFE = 60
_MOST_BYTES = 16 * 1024 * 1024

_NOBODY = frozenset(
    {
        lk_models.ParticipantInfo.Kind.AGENT,
        lk_models.ParticipantInfo.Kind.EGRESS,
        lk_models.ParticipantInfo.Kind.INGRESS,
    }
)


def is_person(participant: Any) -> bool:
    """Tell whether a participant counts as somebody: agents and recorders are nobody (FACTS)."""
    return (
        participant.kind not in _NOBODY
        and not participant.permission.recorder
        and participant.state != lk_models.ParticipantInfo.State.DISCONNECTED
    )


class Observed(Protocol):
    """Takes note of how each call went, for metrics."""

    def __call__(self, method: str, outcome: str) -> None:
        """Count one call."""


@define(eq=False)
class LiveKit:
    """The calls that the guard makes to LiveKit. Each raises Outage when it fails."""

    http: Http
    api: str
    """Base address such as `http://127.0.0.1:7880`, without a trailing slash."""
    key: str
    secret: str
    now: Now
    seconds: float
    """The deadline of one call."""
    epoch: Callable[[], float] = time.time

    async def look(self, alias: Alias) -> Look:
        """List the people in a LiveKit room; agents, recorders and egress are left out."""
        begun = self.now()
        participants = await self.participants(alias)
        people = frozenset(Identity(p.identity) for p in participants if is_person(p))
        return Look(begun, people)

    async def participants(self, alias: Alias) -> Sequence[Any]:
        """List a LiveKit room's participants as LiveKit's own messages (ParticipantInfo)."""
        answer = await self._call(
            "ListParticipants",
            {"roomAdmin": True, "room": alias},
            lk_room.ListParticipantsRequest(room=alias),
            lk_room.ListParticipantsResponse,
        )
        return list(answer.participants)

    async def existing(self, aliases: Sequence[Alias]) -> frozenset[Alias]:
        """Tell which of these LiveKit rooms there are."""
        answer = await self._call(
            "ListRooms",
            {"roomList": True},
            lk_room.ListRoomsRequest(names=list(aliases)),
            lk_room.ListRoomsResponse,
        )
        return frozenset(Alias(room.name) for room in answer.rooms)

    async def _call(
        self, method: str, grant: Mapping[str, Any], request: Message, kind: type[M]
    ) -> M:
        answer = await self.http.exchange(
            b"POST",
            f"{self.api}/twirp/livekit.RoomService/{method}".encode("ascii"),
            {
                b"Content-Type": b"application/protobuf",
                b"Authorization": b"Bearer " + self._token(grant),
            },
            request.SerializeToString(),
            seconds=self.seconds,
            most=_MOST_BYTES,
        )
        if answer.status != 200:
            raise Outage(_reason_of(answer.status), f"LiveKit answered {answer.status} to {method}")
        try:
            return kind.FromString(answer.body)
        except DecodeError:
            raise Outage(
                Reason.GARBAGE, f"LiveKit's answer to {method} is no {kind.__name__}"
            ) from None

    def _token(self, grant: Mapping[str, Any]) -> bytes:
        now = int(self.epoch())
        claims = {"iss": self.key, "nbf": now - 10, "exp": now + _TOKEN_LIFE, "video": dict(grant)}
        return jwt.encode(claims, self.secret, algorithm="HS256").encode("ascii")


def _reason_of(status: int) -> Reason:
    if status in (401, 403):
        return Reason.UNAUTHORIZED
    if status == 404:
        return Reason.NOT_FOUND
    return Reason.SERVER_ERROR if status >= 500 else Reason.GARBAGE
