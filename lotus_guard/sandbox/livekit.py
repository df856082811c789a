"""A small LiveKit: the RoomService over Twirp.

It answers as livekit-server 1.13.3 does; `tests/contract` asks both. A token that does not verify
gets 401 in plain text, one without the right gets it as a Twirp error.
"""

import json
from collections.abc import Callable
from typing import Any

from google.protobuf.message import Message
from klein import Klein
from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room
from twisted.web.http import datetimeToString

from lotus_guard.overload.http_limits import BoundedRequest
from lotus_guard.sandbox.livekit_state import LiveKitState, NotAllowed
from lotus_guard.sandbox.twirp import TwirpError, kind_of, read_message, write_message

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
        if request.method != b"POST" or method not in _REQUESTS or kind_of(request) is None:
            raise TwirpError(404, "bad_route", f"no handler for path {_ROUTE + method!r}")
        kind, right = _REQUESTS[method]
        wanted = read_message(request, kind())
        if not video.get(right) or (right == "roomAdmin" and video.get("room") != wanted.room):
            raise TwirpError(401, "unauthenticated", "permissions denied")
        body = write_message(request, self._methods[method](wanted))
        request.setHeader("Content-Length", str(len(body)))
        return body

    @app.route("/rtc/validate", methods=["GET"])
    def validate(self, request: BoundedRequest) -> bytes:
        """Answer whether a join with this token would do; joins nobody and makes nothing."""
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
