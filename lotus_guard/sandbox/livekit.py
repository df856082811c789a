"""A small LiveKit: rooms, participants and the RoomService over Twirp, without any media.

What a client does over its signalling connection (join, publish, leave) are methods of the state.
It answers as livekit-server 1.13.3 does; `tests/contract` asks both. In its JSON, zero values are
written; a token that does not verify gets 401 in plain text, one without the right gets it as a
Twirp error.
"""

import hashlib
import json
from base64 import b64encode
from collections.abc import Callable, Sequence
from typing import Any

import jwt
import treq
from attrs import define, field
from google.protobuf import json_format
from google.protobuf.message import DecodeError, Message
from klein import Klein
from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room
from livekit.protocol import webhook as lk_webhook
from twisted.web.http import datetimeToString
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent

from lotus_guard.core.token import KeyPair, mint
from lotus_guard.neighbours.http import BytesBody
from lotus_guard.overload.http_limits import BoundedRequest

Source = lk_models.TrackSource
LEEWAY = 60.0
WEBHOOK_TYPE = "application/webhook+json"
_MIMES: dict[Any, str] = {
    lk_models.TrackType.AUDIO: "audio/opus",
    lk_models.TrackType.VIDEO: "video/VP8",
    lk_models.TrackType.DATA: "",
}
_EMPTY_SECONDS, _DEPARTURE_SECONDS = 300, 20


class NotAllowed(Exception):
    """The SFU refuses what a client wants."""


class TwirpError(Exception):
    """A Twirp error to answer with."""

    def __init__(self, status: int, code: str, msg: str) -> None:
        super().__init__(msg)
        self.status = status
        self.body: dict[str, Any] = {"code": code, "msg": msg}


@define(eq=False, slots=False)
class LiveKitState:
    """What the SFU knows."""

    key: str
    secret: str = field(repr=False)
    epoch: Callable[[], float]
    new_id: Callable[[], str]
    auto_create: bool = False
    rooms: dict[str, dict[str, Any]] = field(factory=dict)
    """Room name → identity → ParticipantInfo."""
    infos: dict[str, Any] = field(factory=dict)
    """Room name → Room, as far as it was made by `create`."""
    revoked: dict[tuple[str, str], int] = field(factory=dict)
    """Before when a token of somebody who was removed must not have been valid; like LiveKit 1.13
    it lets them in all the same."""
    changes: int = 0
    """How often anything changed: tells a test that nothing did."""
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
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.PyJWTError as error:
            raise NotAllowed(f"invalid token: {error}") from None
        now = self.epoch()
        if claims.get("exp", now) + LEEWAY < now or claims.get("nbf", now) - LEEWAY > now:
            raise NotAllowed("invalid token: expired")
        return claims

    def create(self, name: str, empty: int = 0, departure: int = 0) -> Any:
        """Make a room, unless there is one; gives its Room message."""
        if name not in self.rooms:
            self.rooms[name] = {}
            now = self.epoch()
            self.infos[name] = lk_models.Room(
                name=name,
                sid=f"RM_{self.new_id()}",
                empty_timeout=empty or _EMPTY_SECONDS,
                departure_timeout=departure or _DEPARTURE_SECONDS,
                creation_time=int(now),
                creation_time_ms=int(now * 1000),
            )
            self._tell("room_started", name)
        return self.room(name)

    def room(self, name: str) -> Any:
        """Give the Room message of a room that there is."""
        info = self.infos.setdefault(name, lk_models.Room(name=name, sid=f"RM_{name}"))
        people = self.rooms[name].values()
        info.num_participants = len(people)
        info.num_publishers = sum(1 for person in people if person.is_publisher)
        return info

    def delete(self, name: str) -> None:
        """End a room and put everybody out."""
        for identity in list(self.rooms[name]):
            self.leave(name, identity, lk_models.DisconnectReason.ROOM_DELETED)
        self._tell("room_finished", name)
        del self.rooms[name]
        self.infos.pop(name, None)

    def join(self, token: str) -> Any:
        """Let a client in; the same identity joining again replaces the first session."""
        claims = self.open_token(token)
        video = claims.get("video") or {}
        name, identity = str(video.get("room", "")), str(claims.get("sub", ""))
        if not video.get("roomJoin"):
            raise NotAllowed("permissions denied")
        if not identity:
            raise NotAllowed("identity cannot be empty")
        if name not in self.rooms:
            if not self.auto_create:
                raise NotAllowed("requested room does not exist")
            self.create(name)
        if identity in self.rooms[name]:
            self.leave(name, identity, lk_models.DisconnectReason.DUPLICATE_IDENTITY)
        now = self.epoch()
        info = lk_models.ParticipantInfo(
            sid=f"PA_{self.new_id()}",
            identity=identity,
            name=str(claims.get("name", "")),
            kind=_kind(claims.get("kind")),
            state=lk_models.ParticipantInfo.State.ACTIVE,
            joined_at=int(now),
            joined_at_ms=int(now * 1000),
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
        info.state = lk_models.ParticipantInfo.State.DISCONNECTED
        info.disconnect_reason = reason
        self._tell("participant_left", name, info)

    def publish(
        self, name: str, identity: str, source: Any, kind: Any, mime: str = "", title: str = ""
    ) -> Any:
        """Publish a track; only the *declared* source is checked, as the real SFU does.

        See docs/facts.md, LiveKit: sources. `mime` is what the media are, where they are not of the
        declared `kind`.
        """
        info = self.rooms[name][identity]
        if not _allows(info.permission, source):
            raise NotAllowed("no permission to publish")
        mime = mime or _MIMES[kind]
        track = lk_models.TrackInfo(
            sid=f"TR_{self.new_id()}",
            type=kind,
            source=source,
            name=title,
            mime_type=mime,
            codecs=[lk_models.SimulcastCodecInfo(mime_type=mime)],
        )
        info.tracks.append(track)
        info.is_publisher = True
        self._tell("track_published", name, info, track)
        return track

    def unpublish(self, name: str, identity: str, sid: str) -> None:
        """Take a track back."""
        info = self.rooms[name][identity]
        track = next(track for track in info.tracks if track.sid == sid)
        info.tracks.remove(track)
        self._tell("track_unpublished", name, info, track)

    def permit(self, name: str, identity: str, permission: Any) -> None:
        """Replace a participant's whole permission and drop the tracks that it does not cover."""
        info = self.rooms[name][identity]
        if info.permission != permission:  # another order of the same sources is a change, too
            info.version += 1
            self.changes += 1
        info.permission.CopyFrom(permission)
        for track in [t for t in info.tracks if not _allows(permission, t.source)]:
            self.unpublish(name, identity, track.sid)

    def _tell(self, event: str, name: str, info: Any = None, track: Any = None) -> None:
        self.changes += 1
        message = lk_webhook.WebhookEvent(
            event=event,
            id=f"EV_{self.new_id()}",
            created_at=int(self.epoch()),
            room=self.room(name),
            participant=info,
            track=track,
        )
        for listener in self.listeners:
            listener(message)


def sign_webhook(event: Any, key: str, secret: str, epoch: float) -> tuple[bytes, str]:
    """Write an event as LiveKit posts it: the body and the `Authorization` header's value.

    Its content type is WEBHOOK_TYPE.
    """
    body = json_format.MessageToJson(event).encode()
    digest = b64encode(hashlib.sha256(body).digest()).decode()
    now = int(epoch)
    return body, mint(KeyPair(key, secret), nbf=now, exp=now + 300, sha256=digest)


def webhook_poster(
    agent: IAgent, urls: Sequence[str], key: str, secret: str, epoch: Callable[[], float]
) -> Callable[[Any], None]:
    """Make a listener that posts each event to these addresses, and does not care what comes."""

    def post(event: Any) -> None:
        body, token = sign_webhook(event, key, secret, epoch())
        headers = Headers({"Authorization": [token], "Content-Type": [WEBHOOK_TYPE]})
        for url in urls:
            sent = agent.request(b"POST", url.encode("ascii"), headers, BytesBody(body))
            sent.addCallback(treq.content).addErrback(lambda _failure: None)

    return post


def _permission(video: dict[str, Any]) -> Any:
    """Turn a token's grant into a permission; what is absent is true.

    See docs/facts.md, LiveKit: permissions.
    """
    publish = video.get("canPublish") is not False
    data = video.get("canPublishData")
    return lk_models.ParticipantPermission(
        can_publish=publish,
        can_subscribe=video.get("canSubscribe") is not False,
        can_publish_data=publish if data is None else bool(data),
        can_publish_sources=[_source(name) for name in video.get("canPublishSources") or ()],
        can_update_metadata=bool(video.get("canUpdateOwnMetadata")),
        hidden=bool(video.get("hidden")),
        recorder=bool(video.get("recorder")),
        agent=bool(video.get("agent")),
    )


def _source(name: str) -> Any:
    # Names in a token count in lower case only; any other is UNKNOWN.
    names = {n.lower(): number for n, number in Source.items()}
    return names.get(name, Source.UNKNOWN)


def _kind(name: object) -> Any:
    # The claim is `agent`, `egress` and the like; absent or not known is an ordinary participant.
    kinds: dict[str, Any] = dict(lk_models.ParticipantInfo.Kind.items())
    return kinds.get(str(name or "standard").upper(), lk_models.ParticipantInfo.Kind.STANDARD)


def _allows(permission: Any, source: Any) -> bool:
    sources = permission.can_publish_sources
    return bool(permission.can_publish and (not sources or source in sources))


_ROUTE = "/twirp/livekit.RoomService/"
_REQUESTS: dict[str, tuple[Any, str]] = {
    "CreateRoom": (lk_room.CreateRoomRequest, "roomCreate"),
    "DeleteRoom": (lk_room.DeleteRoomRequest, "roomCreate"),
    "ListRooms": (lk_room.ListRoomsRequest, "roomList"),
    "ListParticipants": (lk_room.ListParticipantsRequest, "roomAdmin"),
    "GetParticipant": (lk_room.RoomParticipantIdentity, "roomAdmin"),
    "RemoveParticipant": (lk_room.RoomParticipantIdentity, "roomAdmin"),
    "UpdateParticipant": (lk_room.UpdateParticipantRequest, "roomAdmin"),
}
"""Each method's request and the right that it takes; roomAdmin counts for one room only."""


class LiveKitApp:
    """The RoomService's routes, and two for curl that stand in for a client's WebSocket."""

    app = Klein()

    def __init__(self, state: LiveKitState) -> None:
        self.state = state
        self._methods: dict[str, Callable[[Any], Message]] = {
            "CreateRoom": self._create_room,
            "DeleteRoom": self._delete_room,
            "ListRooms": self._list_rooms,
            "ListParticipants": self._list_participants,
            "GetParticipant": self._participant,
            "RemoveParticipant": self._remove_participant,
            "UpdateParticipant": self._update_participant,
        }

    @app.handle_errors(TwirpError)  # type: ignore[arg-type]  # Klein types plain functions only
    def failed(self, request: BoundedRequest, failure: Any) -> bytes:
        """Answer a Twirp error."""
        request.setResponseCode(failure.value.status)
        request.setHeader(b"Content-Type", b"application/json")
        return json.dumps(failure.value.body, separators=(",", ":")).encode()

    @app.handle_errors(NotAllowed)  # type: ignore[arg-type]
    def not_allowed(self, request: BoundedRequest, failure: Any) -> bytes:
        """Answer a token that does not verify: this comes before Twirp, in plain text."""
        request.setResponseCode(401)
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        return str(failure.value).encode()

    @app.route(_ROUTE + "<method>")
    def call(self, request: BoundedRequest, method: str) -> bytes:
        """Serve a Twirp call, its checks in LiveKit's order: token, route, body, right."""
        video = self._video(request)
        if request.method != b"POST" or method not in _REQUESTS or _kind_of(request) is None:
            raise TwirpError(404, "bad_route", f"no handler for path {_ROUTE + method!r}")
        kind, right = _REQUESTS[method]
        wanted = _read(request, kind())
        if not video.get(right) or (right == "roomAdmin" and video.get("room") != wanted.room):
            raise TwirpError(401, "unauthenticated", "permissions denied")
        body = _write(request, self._methods[method](wanted))
        request.setHeader("Content-Length", str(len(body)))
        return body

    @app.route("/rtc/validate", methods=["GET"])
    def validate(self, request: BoundedRequest) -> bytes:
        """Tell whether a join with this token would do; joins nobody and makes nothing."""
        request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
        claims = self._claims(request)
        video = claims.get("video") or {}
        if not video.get("roomJoin"):
            raise NotAllowed("no permissions to access the room")
        if not claims.get("sub"):
            request.setResponseCode(400)
            return b"identity cannot be empty"
        if video.get("room") not in self.state.rooms and not self.state.auto_create:
            request.setResponseCode(404)
            return b"requested room does not exist"
        return b"success"

    @app.route("/sandbox/join", methods=["POST"])
    def join(self, request: BoundedRequest) -> bytes:
        """Join with the token in the body: what a client does over WebSocket, for curl."""
        info = self.state.join(_token_in(request))
        return f"{info.identity} joined\n".encode()

    @app.route("/sandbox/leave", methods=["POST"])
    def leave(self, request: BoundedRequest) -> bytes:
        """Let whom the token in the body names leave."""
        claims = self.state.open_token(_token_in(request))
        name, identity = claims["video"]["room"], claims["sub"]
        self._participant(lk_room.RoomParticipantIdentity(room=name, identity=identity))
        self.state.leave(name, identity)
        return f"{identity} left\n".encode()

    def _video(self, request: BoundedRequest) -> dict[str, Any]:
        return self._claims(request).get("video") or {}

    def _claims(self, request: BoundedRequest) -> dict[str, Any]:
        # By the clock that the token is looked at by, and with a refusal too.
        request.setHeader("Date", datetimeToString(int(self.state.epoch())))
        header = request.getHeader("Authorization")
        if not header:
            return {}
        if not header.startswith("Bearer "):
            raise NotAllowed("invalid authorization header")
        return self.state.open_token(header.removeprefix("Bearer "))

    def _create_room(self, wanted: Any) -> Any:
        return self.state.create(wanted.name, wanted.empty_timeout, wanted.departure_timeout)

    def _delete_room(self, wanted: Any) -> Any:
        if wanted.room not in self.state.rooms:
            raise TwirpError(404, "not_found", "requested room does not exist")
        self.state.delete(wanted.room)
        return lk_room.DeleteRoomResponse()

    def _list_rooms(self, wanted: Any) -> Any:
        names = [n for n in self.state.rooms if not wanted.names or n in wanted.names]
        return lk_room.ListRoomsResponse(rooms=[self.state.room(name) for name in names])

    def _list_participants(self, wanted: Any) -> Any:
        # An unknown room has no participants; it is no error (docs/facts.md, LiveKit: API).
        found = self.state.rooms.get(wanted.room, {}).values()
        return lk_room.ListParticipantsResponse(participants=list(found))

    def _update_participant(self, wanted: Any) -> Any:
        info = self._participant(wanted)
        if wanted.metadata:
            info.metadata = wanted.metadata
        if wanted.name:
            info.name = wanted.name
        if wanted.HasField("permission"):
            self.state.permit(wanted.room, wanted.identity, wanted.permission)
        return info

    def _remove_participant(self, wanted: Any) -> Any:
        self._participant(wanted)
        self.state.revoked[wanted.room, wanted.identity] = wanted.revoke_token_ts
        reason = lk_models.DisconnectReason.PARTICIPANT_REMOVED
        self.state.leave(wanted.room, wanted.identity, reason)
        return lk_room.RemoveParticipantResponse()

    def _participant(self, wanted: Any) -> Any:
        info = self.state.rooms.get(wanted.room, {}).get(wanted.identity)
        if info is None:
            raise TwirpError(404, "not_found", "participant does not exist")
        return info


def _token_in(request: BoundedRequest) -> str:
    """Take a bare token, or the answer of a token endpoint as it came."""
    body = request.content.read().decode("utf-8", "replace").strip()
    try:
        fields = json.loads(body)
        return str(fields.get("jwt") or fields.get("token") or "")
    except (ValueError, AttributeError):
        return body


def _kind_of(request: BoundedRequest) -> str | None:
    kind = str(request.getHeader("Content-Type") or "").partition(";")[0].strip().lower()
    return kind if kind in ("application/json", "application/protobuf") else None


def _read(request: BoundedRequest, message: Any) -> Any:
    body = request.content.read()
    try:
        if _kind_of(request) == "application/json":
            return json_format.Parse(body, message, ignore_unknown_fields=True)
        message.ParseFromString(body)
    except (json_format.ParseError, DecodeError, UnicodeDecodeError):
        raise TwirpError(400, "malformed", "the request could not be decoded") from None
    return message


def _write(request: BoundedRequest, message: Message) -> bytes:
    kind = _kind_of(request) or ""
    request.setHeader("Content-Type", kind)
    if kind == "application/protobuf":
        return message.SerializeToString()
    fields = json_format.MessageToDict(
        message, preserving_proto_field_name=True, always_print_fields_with_no_presence=True
    )
    return json.dumps(fields, separators=(",", ":"), ensure_ascii=False).encode()
