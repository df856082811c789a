"""LiveKit's RoomService over Twirp.

The wire (docs/facts.md, LiveKit: API; livekit_room.proto):

    POST {api}/twirp/livekit.RoomService/{Method}
    Authorization: Bearer <HS256 JWT: iss = API key, video = {"roomAdmin": true, "room": name}>
    Content-Type: application/protobuf           both ways

protobuf rather than JSON, because only protobuf carries fields that we do not know through a
read and a write. An unknown room has no participants: an empty list, not a 404.

Participants write much of what LiveKit answers about them, some of it without a bound. So every
answer has a bound in bytes, and what comes back from a change is not read at all.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from attrs import define
from google.protobuf.message import DecodeError, Message
from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room

from lotus_guard.core.model import Attendance, Grant, Identity, LiveKitRoom, Participant
from lotus_guard.core.objects import json_object
from lotus_guard.enforce.ports import NO_LIVEKIT_ROOM, Allowance, Now, Outage, Oversized, Reason
from lotus_guard.enforce.roll_call import LOUD, MOST_BYTES
from lotus_guard.neighbours.bearer import Asking
from lotus_guard.neighbours.http import Http, HttpAnswer
from lotus_guard.neighbours.livekit_list import read_list
from lotus_guard.neighbours.livekit_participant import permission_with, read_participant
from lotus_guard.neighbours.signing import Signer

MOST_RECORD = 1024 * 1024
"""Of one participant in a list that can be read: metadata may have 512 KiB, attributes 64 KiB."""
_GLIMPSE = 64 * 1024
"""Of a list that is too long, so much is read: it tells who some of those are that are there."""
_MOST_ROOMS = 32 * 1024 * 1024
_EMPTY_METADATA = "{}"
"""LiveKit takes no empty string for a change, and some clients read JSON."""
_MOST_SAID = 4096
"""Of the answer to a change, which is not looked at."""


class _Gone(Outage):
    """LiveKit says that the participant is not there: an answer, and a client's to bring about."""


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

    async def attendance(
        self, livekit_room: LiveKitRoom, allowance: Allowance | None = None
    ) -> Attendance:
        """List the people in a LiveKit room; agents, recorders and egress are left out.

        A list that is longer than the allowance is read as far as it goes: it is not whole.
        """
        begun = self.now()
        request = lk_room.ListParticipantsRequest(room=livekit_room)
        try:
            body = await self._call(
                "ListParticipants",
                _admin(livekit_room),
                request,
                allowance or Allowance(MOST_BYTES),
            )
        except Oversized as oversized:
            return await self._beginning(begun, oversized.begins)
        with _decoding("ListParticipants"):
            people, loud = await read_list(body, MOST_RECORD, self.http.clock, read_participant)
        return Attendance(begun, people, loud)

    async def _beginning(self, begun: float, body: bytes) -> Attendance:
        try:
            people, loud = await read_list(body, LOUD, self.http.clock, read_participant)
        except DecodeError:  # that it is too long is certain all the same
            people, loud = (), ()
        return Attendance(begun, people, loud, is_whole=False)

    async def participant(
        self, livekit_room: LiveKitRoom, identity: Identity, allowance: Allowance
    ) -> Participant | None:
        """Ask for one participant; None where there is none of that identity."""
        request = lk_room.RoomParticipantIdentity(room=livekit_room, identity=identity)
        try:
            body = await self._call("GetParticipant", _admin(livekit_room), request, allowance)
        except _Gone:
            return None
        with _decoding("GetParticipant"):
            return read_participant(lk_models.ParticipantInfo.FromString(body))

    async def existing(
        self, livekit_rooms: Sequence[LiveKitRoom] = ()
    ) -> Mapping[LiveKitRoom, int]:
        """Find which of these LiveKit rooms exist, or of all, and how many people are in each."""
        request = lk_room.ListRoomsRequest(names=list(livekit_rooms))
        body = await self._call("ListRooms", {"roomList": True}, request, Allowance(_MOST_ROOMS))
        with _decoding("ListRooms"):
            answer = lk_room.ListRoomsResponse.FromString(body)
        return {LiveKitRoom(room.name): room.num_participants for room in answer.rooms}

    async def ping(self) -> None:
        """Ask who is in a room that nobody can have made; raises Outage if LiveKit does not say."""
        await self.attendance(NO_LIVEKIT_ROOM)

    async def permit(
        self, livekit_room: LiveKitRoom, participant: Participant, grant: Grant
    ) -> None:
        """Replace what a participant may publish and send everything else back as it was read."""
        await self._change(
            "UpdateParticipant",
            livekit_room,
            lk_room.UpdateParticipantRequest(
                room=livekit_room,
                identity=participant.identity,
                permission=permission_with(participant, grant),
            ),
        )

    async def curb(self, livekit_room: LiveKitRoom, identity: Identity) -> None:
        """Take from a participant, unread, all that they can fill a room's list with.

        Their tracks and data tracks go, their metadata is emptied, and they may write no more of
        it. What they may beyond that we do not know, for nobody reads it: no token of
        lk-jwt-service is without `canSubscribe`, or has what is left out here (docs/facts.md,
        lk-jwt-service: tokens).
        """
        await self._change(
            "UpdateParticipant",
            livekit_room,
            lk_room.UpdateParticipantRequest(
                room=livekit_room,
                identity=identity,
                metadata=_EMPTY_METADATA,
                permission=lk_models.ParticipantPermission(can_subscribe=True),
            ),
        )

    async def remove(
        self, livekit_room: LiveKitRoom, participant: Participant, revoked: int
    ) -> None:
        """Put a participant out of the room; refuse their tokens with an `nbf` before `revoked`.

        `revoke_token_ts` (livekit_room.proto) is in seconds as `nbf` is. Not sent, it would be in a
        minute, and refuse a seat given within it. Servers that do not know it ignore it
        (docs/facts.md, LiveKit: joining and leaving).
        """
        await self._change(
            "RemoveParticipant",
            livekit_room,
            lk_room.RoomParticipantIdentity(
                room=livekit_room, identity=participant.identity, revoke_token_ts=revoked
            ),
        )

    async def _change(self, method: str, livekit_room: LiveKitRoom, request: Message) -> None:
        """Have something done; LiveKit answers with the whole participant, of whatever length."""
        with suppress(Oversized):
            await self._call(method, _admin(livekit_room), request, Allowance(_MOST_SAID))

    async def _call(
        self, method: str, grant: Mapping[str, Any], request: Message, allowance: Allowance
    ) -> bytes:
        self.on_call(method)
        try:
            found = await self._exchange(method, grant, request, allowance)
        except Outage as outage:
            self.on_end(None if isinstance(outage, _Gone) else outage)
            raise
        self.on_end(None)
        return found

    async def _exchange(
        self, method: str, grant: Mapping[str, Any], request: Message, allowance: Allowance
    ) -> bytes:
        body = request.SerializeToString()
        answer = await self.signer.asked(
            self.seconds,
            lambda signing, epoch, seconds: self._post(
                method, signing.token(grant, epoch), body, allowance, seconds
            ),
        )
        if answer.status == 404 and _twirp_code(answer) == "not_found":
            raise _Gone(Reason.NOT_FOUND, f"LiveKit knows no such participant: {method}")
        if answer.status != 200:
            raise Outage(_reason_of(answer.status), f"LiveKit answered {answer.status} to {method}")
        return answer.body

    def _post(
        self, method: str, token: bytes, body: bytes, allowance: Allowance, seconds: float
    ) -> Asking[HttpAnswer]:
        return self.http.exchange(
            b"POST",
            f"{self.api}/twirp/livekit.RoomService/{method}".encode("ascii"),
            {
                b"Content-Type": b"application/protobuf",
                b"Authorization": b"Bearer " + token,
            },
            body,
            seconds=seconds,
            most=allowance,
            glimpse=_GLIMPSE if method == "ListParticipants" else 0,
        )

    def epoch(self) -> float:
        """The seconds since 1970 by LiveKit's clock."""
        return self.signer.clock.epoch()


def _admin(livekit_room: LiveKitRoom) -> Mapping[str, Any]:
    return {"roomAdmin": True, "room": livekit_room}


@contextmanager
def _decoding(method: str) -> Iterator[None]:
    try:
        yield
    except DecodeError:
        raise Outage(Reason.GARBAGE, f"LiveKit's answer to {method} can't be read") from None


def _twirp_code(answer: HttpAnswer) -> object:
    return (json_object(answer.body) or {}).get("code")


def _reason_of(status: int) -> Reason:
    if status in (401, 403):
        return Reason.UNAUTHORIZED
    if status == 404:
        return Reason.NOT_FOUND
    return Reason.SERVER_ERROR if status >= 500 else Reason.GARBAGE
