"""A small homeserver: the endpoints that the stack uses.

It answers as Synapse 1.163 does, or as its temper says; `tests/contract` asks real ones as well.
"""

import json
from typing import Any

from klein import Klein
from twisted.internet.defer import Deferred
from werkzeug.exceptions import MethodNotAllowed, NotFound

from lotus_guard.overload.http_limits import BoundedRequest
from lotus_guard.sandbox.acting import acting_user
from lotus_guard.sandbox.matrix_error import MatrixError
from lotus_guard.sandbox.room_view import event_seen, hidden
from lotus_guard.sandbox.synapse_proxy import hand_on
from lotus_guard.sandbox.synapse_state import Account, Event, SynapseState

_CORS = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "GET, HEAD, POST, PUT, DELETE, OPTIONS",
    "Access-Control-Allow-Headers": "X-Requested-With, Content-Type, Authorization, Date",
}
_STATE = "/_matrix/client/v3/rooms/<room_id>/state/<event_type>"


class SynapseApp:
    """The homeserver's routes."""

    app = Klein()

    def __init__(self, state: SynapseState) -> None:
        self.state = state

    @app.handle_errors(MatrixError)  # type: ignore[arg-type]  # Klein types plain functions only
    def refused(self, request: BoundedRequest, failure: Any) -> bytes:
        """Answer a Matrix error."""
        return _json(request, failure.value.body, failure.value.status)

    @app.handle_errors(NotFound, MethodNotAllowed)  # type: ignore[arg-type]
    def unrecognized(self, request: BoundedRequest, failure: Any) -> bytes:
        """Answer a path that there is not, or a method that it does not have; let browsers ask."""
        if request.method == b"OPTIONS":
            return _json(request, {})
        body = {"errcode": "M_UNRECOGNIZED", "error": "Unrecognized request"}
        return _json(request, body, failure.value.code)

    @app.route("/_synapse/admin/v1/server_version", methods=["GET"])
    def server_version(self, request: BoundedRequest) -> bytes:
        """The version, for anybody."""
        self._has("server_version")
        return _json(request, {"server_version": self.state.version})

    @app.route("/_synapse/admin/v1/rooms", methods=["GET"])
    def rooms(self, request: BoundedRequest) -> bytes:
        """List rooms."""
        self._admin(request, "rooms")
        self.state.note("rooms")
        start, limit = _integer(request, b"from", "0"), _integer(request, b"limit", "100")
        found = [
            {
                "room_id": room_id,
                "joined_members": len(self.state.members(room_id)),
                "state_events": len(state),
            }
            for room_id, state in self.state.rooms.items()
        ]
        page: dict[str, Any] = {
            "offset": start,
            "rooms": found[start : start + limit],
            "total_rooms": len(found),
        }
        if start + limit < len(found):
            page["next_batch"] = start + limit
        if start > 0:
            page["prev_batch"] = max(0, start - limit)
        return _json(request, page)

    @app.route("/_synapse/admin/v1/rooms/<room_id>/state", methods=["GET"])
    def state_of(self, request: BoundedRequest, room_id: str) -> bytes | Deferred[bytes]:
        """A room's state events, of one type or all."""
        self._admin(request, "state")
        wanted = _query(request, b"type", "")
        self.state.note(wanted)
        if wanted and wanted == self.state.hangs_for:
            return Deferred()
        events = list(self._room(room_id).values())
        if wanted and not self.state.ignores_type:
            events = [event for event in events if event["type"] == wanted]
        return _json(request, {"state": events})

    @app.route("/_synapse/admin/v1/rooms/<room_id>/members", methods=["GET"])
    def members_of(self, request: BoundedRequest, room_id: str) -> bytes:
        """List a room's members."""
        self._admin(request, "members")
        self._room(room_id)
        members = self.state.members(room_id)
        return _json(request, {"members": members, "total": len(members)})

    @app.route("/_synapse/admin/v1/users/<user_id>/joined_rooms", methods=["GET"])
    def joined_rooms(self, request: BoundedRequest, user_id: str) -> bytes:
        """List the rooms that a user is in; of a user whom it does not know, none."""
        self._admin(request, "joined_rooms")
        rooms = self.state.joined_rooms(user_id)
        return _json(request, {"joined_rooms": rooms, "total": len(rooms)})

    @app.route("/_matrix/client/versions", methods=["GET"])
    def versions(self, request: BoundedRequest) -> bytes:
        """List the versions of the specification."""
        return _json(request, {"versions": ["v1.1", "v1.11"], "unstable_features": {}})

    @app.route("/_matrix/client/v3/account/whoami", methods=["GET"])
    def whoami(self, request: BoundedRequest) -> bytes | Deferred[bytes]:
        """Whose token it is."""
        if self.state.whoami_hangs:
            return Deferred()
        return _json(request, {"user_id": self._account(request).user_id, "is_guest": False})

    @app.route(f"{_STATE}/", strict_slashes=False, methods=["GET", "PUT"], defaults={"key": ""})
    @app.route(f"{_STATE}/<key>", methods=["GET", "PUT"])
    def room_state(self, request: BoundedRequest, room_id: str, event_type: str, key: str) -> bytes:
        """Set a state event, or read the content of one, or with `format=event` all of it."""
        user_id = self._account(request).user_id
        if request.method != b"PUT":
            event = event_seen(self.state, room_id, user_id, (event_type, key))
            is_whole = _query(request, b"format", "content") == "event"
            return _json(request, event if is_whole else event["content"])
        if self.state.membership(room_id, user_id) != "join":
            raise hidden(self.state, room_id, user_id)
        self._check_levels(room_id, event_type, user_id)
        self._check_pace(request)
        self.state.set_state(room_id, event_type, _content(request), key, user_id)
        return _json(request, {"event_id": self.state.rooms[room_id][event_type, key]["event_id"]})

    @app.route("/_matrix/client/v3/user/<user_id>/openid/request_token", methods=["POST"])
    def request_openid(self, request: BoundedRequest, user_id: str) -> bytes:
        """Issue an OpenID token; here it never runs out."""
        if self._account(request).user_id != user_id:
            raise MatrixError(403, "M_FORBIDDEN", "Cannot request tokens for other users.")
        token = f"openid-{self.state.new_id()}"
        self.state.openid[token] = user_id
        answer = {
            "access_token": token,
            "token_type": "Bearer",
            "matrix_server_name": user_id.partition(":")[2],
            "expires_in": 3600,
        }
        return _json(request, answer)

    @app.route("/_matrix/federation/v1/openid/userinfo", methods=["GET"])
    def userinfo(self, request: BoundedRequest) -> bytes:
        """Whose OpenID token it is."""
        token = _query(request, b"access_token", "")
        if not token:
            raise MatrixError(401, "M_MISSING_TOKEN", "Access Token required")
        user_id = self.state.openid.get(token)
        if user_id is None:
            raise MatrixError(401, "M_UNKNOWN_TOKEN", "Access Token unknown or expired")
        return _json(request, {"sub": user_id})

    @app.route("/_matrix/client/v3/directory/room/<alias>", methods=["GET"])
    def directory(self, request: BoundedRequest, alias: str) -> bytes:
        """Which room an alias is, for anybody."""
        if not alias.startswith("#") or ":" not in alias:
            raise MatrixError(400, "M_INVALID_PARAM", "Room alias invalid")
        room_id = self.state.aliases.get(alias)
        if room_id is None:
            raise MatrixError(404, "M_NOT_FOUND", f"Room alias {alias} not found")
        return _json(request, {"room_id": room_id, "servers": [alias.partition(":")[2]]})

    @app.route("/_matrix/client/unstable/org.matrix.msc4143/rtc/transports", methods=["GET"])
    def transports(self, request: BoundedRequest) -> bytes:
        """Where calls are (MSC4143)."""
        self._account(request)
        return _json(request, {"rtc_transports": self.state.transports})

    @app.route("/_matrix/client/<version>/rtc/livekit/<path:_rest>", methods=["POST"])
    @app.route("/_matrix/client/unstable/<version>/rtc/livekit/<path:_rest>", methods=["POST"])
    async def livekit(self, request: BoundedRequest, version: str, _rest: str) -> bytes:
        """Hand a request for a token on."""
        account = self._account(request)
        if self.state.proxy is None:
            raise MatrixError(404, "M_UNRECOGNIZED", "Unrecognized request")
        return await hand_on(self.state.proxy, account, request)

    @app.route(
        "/_matrix/client/unstable/io.element.msc4502/rooms/<room_id>/is_joined", methods=["GET"]
    )
    def is_joined(self, request: BoundedRequest, room_id: str) -> bytes:
        """Whether a user, or a server, is in a room; for an application service (MSC4502)."""
        proxy = self.state.proxy
        if proxy is None or request.getHeader("Authorization") != f"Bearer {proxy.as_token}":
            raise MatrixError(403, "M_FORBIDDEN", "Not an application service with that scope")
        there = self.state.members(room_id) if room_id in self.state.rooms else []
        server = _query(request, b"server_name", "")
        servers = {user.partition(":")[2] for user in there}
        joined = server in servers if server else _query(request, b"mxid", "") in there
        return _json(request, {"joined": joined})

    def _check_levels(self, room_id: str, event_type: str, user_id: str) -> None:
        has, needed = self.state.levels(room_id, event_type, user_id)
        if has < needed:
            text = (
                "You don't have permission to post that to the room. "
                f"user_level ({has}) < send_level ({needed})"
            )
            raise MatrixError(403, "M_FORBIDDEN", text)

    def _check_pace(self, request: BoundedRequest) -> None:
        if self.state.waits:
            wait = self.state.waits.pop(0)
            request.setHeader("Retry-After", str(-(-wait // 1000)))
            refused = MatrixError(429, "M_LIMIT_EXCEEDED", "Too Many Requests")
            refused.body["retry_after_ms"] = wait
            raise refused

    def _account(self, request: BoundedRequest) -> Account:
        token = (request.getHeader("Authorization") or "").removeprefix("Bearer ")
        if not token:
            raise MatrixError(401, "M_MISSING_TOKEN", "Missing access token")
        account = self.state.accounts.get(token) or self._acting(request, token)
        if account is None:
            refused = MatrixError(401, "M_UNKNOWN_TOKEN", "Invalid access token passed.")
            refused.body["soft_logout"] = False
            raise refused
        return account

    def _acting(self, request: BoundedRequest, token: str) -> Account | None:
        """As whom an application service asks, if it is one that asks."""
        named = _query(request, b"user_id", "") if b"user_id" in request.args else None
        accounts = frozenset(each.user_id for each in self.state.accounts.values())
        for service in self.state.services:
            if service.as_token == token:
                user_id = acting_user(service, named, self.state.temper, accounts)
                return Account(user_id, token)
        return None

    def _has(self, admin_path: str) -> None:
        if admin_path not in self.state.temper.admin_paths:
            raise MatrixError(404, "M_UNRECOGNIZED", "Unrecognized request")

    def _admin(self, request: BoundedRequest, path: str) -> None:
        self._has(path)
        if not self._account(request).admin:
            raise MatrixError(403, "M_FORBIDDEN", "You are not a server admin")

    def _room(self, room_id: str) -> dict[tuple[str, str], Event]:
        if self.state.is_postgresql and "\x00" in room_id:
            raise MatrixError(500, "M_UNKNOWN", "Internal server error")
        room = self.state.rooms.get(room_id)
        if room is None:
            raise MatrixError(*self.state.temper.refusals.unknown_room, "Room not found")
        return room


def _query(request: BoundedRequest, name: bytes, default: str) -> str:
    values = request.args.get(name, [default.encode()])
    return str(values[0].decode())


def _integer(request: BoundedRequest, name: bytes, default: str) -> int:
    try:
        return int(_query(request, name, default))
    except ValueError:
        text = f"Query parameter {name.decode()} must be an integer"
        raise MatrixError(400, "M_INVALID_PARAM", text) from None


def _content(request: BoundedRequest) -> dict[str, Any]:
    try:
        content = json.loads(request.content.read())
    except ValueError:
        raise MatrixError(400, "M_NOT_JSON", "Content not JSON.") from None
    if not isinstance(content, dict):
        raise MatrixError(400, "M_BAD_JSON", "Content must be a JSON object.")
    return content


def _json(request: BoundedRequest, value: object, status: int = 200) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"application/json")
    for name, allowed in _CORS.items():
        request.setHeader(name, allowed)
    return json.dumps(value).encode()
