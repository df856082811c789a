"""LiveKit's RoomService over Twirp.

The wire (FACTS.md, LiveKit; livekit_room.proto):

    POST {api}/twirp/livekit.RoomService/{Method}
    Authorization: Bearer <HS256 JWT: iss = API key, video = {"roomAdmin": true, "room": alias}>
    Content-Type: application/protobuf           both ways

protobuf rather than JSON, because only protobuf carries fields that we do not know through a
read and a write. An unknown room has no participants: an empty list, not a 404.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define
from google.protobuf.message import DecodeError, Message
from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room

from lotus_guard.adapters.http import Http, HttpAnswer
from lotus_guard.adapters.signing import Signer, Signing
from lotus_guard.core.model import (
    Alias,
    Attendance,
    Grant,
    Identity,
    Kind,
    Participant,
    Track,
)
from lotus_guard.ports import NO_LIVEKIT_ROOM, Now, Outage, Reason

M = TypeVar("M", bound=Message)

_MOST_BYTES = 32 * 1024 * 1024

_KINDS = {lk_models.TrackType.AUDIO: Kind.AUDIO, lk_models.TrackType.VIDEO: Kind.VIDEO}

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


@define(eq=False)
class LiveKit:
    """The calls that the guard makes to LiveKit. Each raises Outage when it fails."""

    http: Http
    api: str
    """Base address such as `http://127.0.0.1:7880`, without a trailing slash."""
    signer: Signer
    now: Now
    seconds: float
    """The deadline of one call."""
    on_call: Callable[[str], None] = lambda _method: None
    """Told of each call, for metrics."""
    on_end: Callable[[Outage | None], None] = lambda _outage: None
    """Told how each call ended."""

    async def attendance(self, alias: Alias) -> Attendance:
        """List the people in a LiveKit room; agents, recorders and egress are left out."""
        begun = self.now()
        answer = await self._call(
            "ListParticipants",
            {"roomAdmin": True, "room": alias},
            lk_room.ListParticipantsRequest(room=alias),
            lk_room.ListParticipantsResponse,
        )
        return Attendance(begun, tuple(_read(p) for p in answer.participants if is_person(p)))

    async def existing(self, aliases: Sequence[Alias] = ()) -> Mapping[Alias, int]:
        """Tell which of these LiveKit rooms there are, or of all, and how many are in each."""
        answer = await self._call(
            "ListRooms",
            {"roomList": True},
            lk_room.ListRoomsRequest(names=list(aliases)),
            lk_room.ListRoomsResponse,
        )
        return {Alias(room.name): room.num_participants for room in answer.rooms}

    async def ping(self) -> None:
        """See whether LiveKit answers, by a question no client can have a hand in; raises Outage.

        lk-jwt-service's aliases are 43 characters long: none is called so.
        """
        await self.existing([NO_LIVEKIT_ROOM])

    async def permit(self, alias: Alias, participant: Participant, grant: Grant) -> None:
        """Replace what a participant may publish and send everything else back as it was read.

        UpdateParticipant replaces the whole permission, and what is left out becomes false
        (FACTS); a copy of the message that was read keeps fields that we do not know, too.
        """
        permission = lk_models.ParticipantPermission()
        permission.CopyFrom(participant.permission)
        permission.can_publish = grant.can_publish
        del permission.can_publish_sources[:]
        permission.can_publish_sources.extend(map(_source_number, grant.sources))
        await self._call(
            "UpdateParticipant",
            {"roomAdmin": True, "room": alias},
            lk_room.UpdateParticipantRequest(
                room=alias, identity=participant.identity, permission=permission
            ),
            lk_models.ParticipantInfo,
        )

    async def remove(self, alias: Alias, participant: Participant, revoked: int) -> None:
        """Put a participant out of the room; refuse their tokens with an `nbf` before `revoked`.

        `revoke_token_ts` (livekit_room.proto) is in seconds as `nbf` is. Not sent, it would be in a
        minute, and refuse a seat given within it. Servers that do not know it ignore it.
        """
        await self._call(
            "RemoveParticipant",
            {"roomAdmin": True, "room": alias},
            lk_room.RoomParticipantIdentity(
                room=alias, identity=participant.identity, revoke_token_ts=revoked
            ),
            lk_room.RemoveParticipantResponse,
        )

    async def _call(
        self, method: str, grant: Mapping[str, Any], request: Message, kind: type[M]
    ) -> M:
        self.on_call(method)
        try:
            found = await self._exchange(method, grant, request, kind)
        except Outage as outage:
            self.on_end(outage)
            raise
        self.on_end(None)
        return found

    async def _exchange(
        self, method: str, grant: Mapping[str, Any], request: Message, kind: type[M]
    ) -> M:
        body = request.SerializeToString()

        async def ask(signing: Signing, seconds: float) -> HttpAnswer:
            token = signing.token(grant, self.signer.clock.ours())
            return await self._post(method, token, body, seconds)

        answer = await self.signer.asked(self.seconds, ask)
        if answer.status != 200:
            raise Outage(_reason_of(answer.status), f"LiveKit answered {answer.status} to {method}")
        try:
            return kind.FromString(answer.body)
        except DecodeError:
            raise Outage(
                Reason.GARBAGE, f"LiveKit's answer to {method} is no {kind.__name__}"
            ) from None

    async def _post(self, method: str, token: bytes, body: bytes, seconds: float) -> HttpAnswer:
        return await self.http.exchange(
            b"POST",
            f"{self.api}/twirp/livekit.RoomService/{method}".encode("ascii"),
            {
                b"Content-Type": b"application/protobuf",
                b"Authorization": b"Bearer " + token,
            },
            body,
            seconds=seconds,
            most=_MOST_BYTES,
        )

    def epoch(self) -> float:
        """Give the seconds since 1970 by LiveKit's clock."""
        return self.signer.clock.epoch()


def _read(info: Any) -> Participant:
    permission = info.permission
    sources = tuple(_source_name(number) for number in permission.can_publish_sources)
    return Participant(
        Identity(info.identity),
        info.sid,
        Grant(permission.can_publish, sources),
        tuple(
            Track(_KINDS.get(track.type, Kind.DATA), _source_name(track.source))
            for track in info.tracks
        ),
        permission,
    )


def _source_name(number: int) -> str:
    """Name a track source as tokens do; a number that we do not know keeps its digits."""
    value = lk_models.TrackSource.DESCRIPTOR.values_by_number.get(number)
    return value.name.lower() if value else str(number)


def _source_number(name: str) -> Any:
    return int(name) if name.isdigit() else lk_models.TrackSource.Value(name.upper())


def _reason_of(status: int) -> Reason:
    if status in (401, 403):
        return Reason.UNAUTHORIZED
    if status == 404:
        return Reason.NOT_FOUND
    return Reason.SERVER_ERROR if status >= 500 else Reason.GARBAGE
