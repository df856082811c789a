"""A small LiveKit: rooms, participants and the RoomService over Twirp, without any media.

What a client does over its signalling connection (join, publish, leave) are methods of the state.
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable
from typing import Any

import jwt
from attrs import define, field
from google.protobuf import json_format
from google.protobuf.message import Message
from klein import Klein
from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room
from livekit.protocol import webhook as lk_webhook

from lotus_guard.bounded import BoundedRequest

Source = lk_models.TrackSource
LEEWAY = 60.0


class NotAllowed(Exception):
    """The SFU refuses what a client wants."""


class TwirpError(Exception):
    """A Twirp error to answer with."""

    def __init__(self, status: int, code: str, msg: str) -> None:
        super().__init__(msg)
        self.status = status
        self.body = {"code": code, "msg": msg}


@define(eq=False)
class LiveKitState:
    """What the SFU knows."""

    key: str
    secret: str = field(repr=False)
    epoch: Callable[[], float]
    new_id: Callable[[], str]
    auto_create: bool = False
    rooms: dict[str, dict[str, Any]] = field(factory=dict)
    """Room name → identity → ParticipantInfo."""
    listeners: list[Callable[[Any], None]] = field(factory=list)
    """Called with each WebhookEvent."""

    def open_token(self, token: str) -> dict[str, Any]:
        """Verify a token as the SFU does; raises NotAllowed."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self.secret,
                algorithms=["HS256"],
                issuer=self.key,
                options={"verify_exp": False, "verify_nbf": False},
            )
        except jwt.PyJWTError as error:
            raise NotAllowed(f"invalid token: {error}") from None
        now = self.epoch()
        if claims.get("exp", now) + LEEWAY < now or claims.get("nbf", now) - LEEWAY > now:
            raise NotAllowed("invalid token: expired")
        return claims

    def join(self, token: str) -> Any:
        """Let a client in; the same identity joining again replaces the first session."""
        claims = self.open_token(token)
        video = claims.get("video") or {}
        name, identity = str(video.get("room", "")), str(claims["sub"])
        if not video.get("roomJoin"):
            raise NotAllowed("permissions denied")
        if name not in self.rooms:
            if not self.auto_create:
                raise NotAllowed("requested room does not exist")
            self.rooms[name] = {}
        if identity in self.rooms[name]:
            self.leave(name, identity, lk_models.DisconnectReason.DUPLICATE_IDENTITY)
        info = lk_models.ParticipantInfo(
            sid=f"PA_{self.new_id()}",
            identity=identity,
            state=lk_models.ParticipantInfo.State.ACTIVE,
            joined_at=int(self.epoch()),
            permission=_permission(video),
        )
        self.rooms[name][identity] = info
        self._tell("participant_joined", name, info)
        return info

    def leave(
        self, name: str, identity: str, reason: Any = lk_models.DisconnectReason.CLIENT_INITIATED
    ) -> None:
        """Let a client go."""
        info = self.rooms[name].pop(identity)
        info.disconnect_reason = reason
        self._tell("participant_left", name, info)

    def publish(self, name: str, identity: str, source: Any, kind: Any) -> Any:
        """Publish a track; only the *declared* source is checked, as the real SFU does (FACTS)."""
        info = self.rooms[name][identity]
        if not _allows(info.permission, source):
            raise NotAllowed("no permission to publish")
        track = lk_models.TrackInfo(sid=f"TR_{self.new_id()}", type=kind, source=source)
        info.tracks.append(track)
        self._tell("track_published", name, info, track)
        return track

    def permit(self, name: str, identity: str, permission: Any) -> None:
        """Replace a participant's whole permission and drop the tracks that it does not cover."""
        info = self.rooms[name][identity]
        info.permission.CopyFrom(permission)
        for track in [t for t in info.tracks if not _allows(permission, t.source)]:
            info.tracks.remove(track)
            self._tell("track_unpublished", name, info, track)

    def _tell(self, event: str, name: str, info: Any, track: Any = None) -> None:
        message = lk_webhook.WebhookEvent(
            event=event,
            id=f"EV_{self.new_id()}",
            created_at=int(self.epoch()),
            room=lk_models.Room(name=name),
            participant=info,
            track=track,
        )
        for listener in self.listeners:
            listener(message)


def sign_webhook(event: Any, key: str, secret: str, epoch: float) -> tuple[bytes, str]:
    """Write an event as LiveKit posts it: the body and the `Authorization` header's value."""
    body = json_format.MessageToJson(event).encode()
    digest = b64encode(hashlib.sha256(body).digest()).decode()
    claims = {"iss": key, "nbf": int(epoch), "exp": int(epoch) + 300, "sha256": digest}
    return body, jwt.encode(claims, secret, algorithm="HS256")


def _permission(video: dict[str, Any]) -> Any:
    """Turn a token's grant into a permission; what is absent is true (FACTS, LiveKit)."""
    publish = video.get("canPublish") is not False
    data = video.get("canPublishData")
    return lk_models.ParticipantPermission(
        can_publish=publish,
        can_subscribe=video.get("canSubscribe") is not False,
        can_publish_data=publish if data is None else bool(data),
        can_publish_sources=[_source(name) for name in video.get("canPublishSources") or ()],
        can_update_metadata=bool(video.get("canUpdateOwnMetadata")),
        hidden=bool(video.get("hidden")),
    )


def _source(name: str) -> Any:
    # Names in a token count in lower case only; any other is UNKNOWN.
    return Source.Value(name.upper()) if name.islower() else Source.UNKNOWN


def _allows(permission: Any, source: Any) -> bool:
    sources = permission.can_publish_sources
    return bool(permission.can_publish and (not sources or source in sources))


class LiveKitApp:
    """The RoomService's routes."""

    app = Klein()

    def __init__(self, state: LiveKitState) -> None:
        self.state = state

    @app.handle_errors(TwirpError)  # type: ignore[arg-type]  # Klein types plain functions only
    def failed(self, request: BoundedRequest, failure: Any) -> bytes:
        """Answer a Twirp error."""
        request.setResponseCode(failure.value.status)
        request.setHeader(b"Content-Type", b"application/json")
        return json.dumps(failure.value.body).encode()

    @app.route("/twirp/livekit.RoomService/CreateRoom", methods=["POST"])
    def create_room(self, request: BoundedRequest) -> bytes:
        """Make a room, unless there is one."""
        wanted = _read(request, lk_room.CreateRoomRequest())
        self._authorise(request, "roomCreate")
        self.state.rooms.setdefault(wanted.name, {})
        return _write(request, self._room(wanted.name))

    @app.route("/twirp/livekit.RoomService/ListRooms", methods=["POST"])
    def list_rooms(self, request: BoundedRequest) -> bytes:
        """List rooms, all or by name."""
        wanted = _read(request, lk_room.ListRoomsRequest())
        self._authorise(request, "roomList")
        names = [n for n in self.state.rooms if not wanted.names or n in wanted.names]
        return _write(request, lk_room.ListRoomsResponse(rooms=[self._room(n) for n in names]))

    @app.route("/twirp/livekit.RoomService/ListParticipants", methods=["POST"])
    def list_participants(self, request: BoundedRequest) -> bytes:
        """List a room's participants; none for a room that there is not."""
        wanted = _read(request, lk_room.ListParticipantsRequest())
        self._authorise(request, "roomAdmin", wanted.room)
        found = self.state.rooms.get(wanted.room, {}).values()
        return _write(request, lk_room.ListParticipantsResponse(participants=list(found)))

    @app.route("/twirp/livekit.RoomService/UpdateParticipant", methods=["POST"])
    def update_participant(self, request: BoundedRequest) -> bytes:
        """Replace a participant's permission."""
        wanted = _read(request, lk_room.UpdateParticipantRequest())
        self._authorise(request, "roomAdmin", wanted.room)
        info = self._participant(wanted.room, wanted.identity)
        self.state.permit(wanted.room, wanted.identity, wanted.permission)
        return _write(request, info)

    @app.route("/twirp/livekit.RoomService/RemoveParticipant", methods=["POST"])
    def remove_participant(self, request: BoundedRequest) -> bytes:
        """Put a participant out."""
        wanted = _read(request, lk_room.RoomParticipantIdentity())
        self._authorise(request, "roomAdmin", wanted.room)
        self._participant(wanted.room, wanted.identity)
        reason = lk_models.DisconnectReason.PARTICIPANT_REMOVED
        self.state.leave(wanted.room, wanted.identity, reason)
        return _write(request, lk_room.RemoveParticipantResponse())

    @app.route("/sandbox/join", methods=["POST"])
    def join(self, request: BoundedRequest) -> bytes:
        """Join with the token in the body: what a client does over WebSocket, for curl."""
        try:
            info = self.state.join(request.content.read().decode().strip())
        except NotAllowed as why:
            raise TwirpError(401, "unauthenticated", str(why)) from None
        return f"{info.identity} joined\n".encode()

    def _authorise(self, request: BoundedRequest, right: str, room: str | None = None) -> None:
        header = request.getHeader("Authorization") or ""
        try:
            video = self.state.open_token(header.removeprefix("Bearer ")).get("video") or {}
        except NotAllowed as why:
            raise TwirpError(401, "unauthenticated", str(why)) from None
        if not video.get(right) or (room is not None and video.get("room") != room):
            raise TwirpError(401, "unauthenticated", "permissions denied")

    def _room(self, name: str) -> Any:
        people = self.state.rooms[name]
        return lk_models.Room(name=name, sid=f"RM_{name}", num_participants=len(people))

    def _participant(self, room: str, identity: str) -> Any:
        info = self.state.rooms.get(room, {}).get(identity)
        if info is None:
            raise TwirpError(404, "not_found", "participant does not exist")
        return info


def _is_json(request: BoundedRequest) -> bool:
    return (request.getHeader("Content-Type") or "").startswith("application/json")


def _read(request: BoundedRequest, message: Any) -> Any:
    body = request.content.read()
    if _is_json(request):
        return json_format.Parse(body, message, ignore_unknown_fields=True)
    message.ParseFromString(body)
    return message


def _write(request: BoundedRequest, message: Message) -> bytes:
    if _is_json(request):
        request.setHeader(b"Content-Type", b"application/json")
        return json_format.MessageToJson(message, preserving_proto_field_name=True).encode()
    request.setHeader(b"Content-Type", b"application/protobuf")
    return message.SerializeToString()
