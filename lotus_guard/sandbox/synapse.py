"""A small Synapse: accounts, rooms with state, OpenID tokens; the endpoints that the stack uses."""

import json
from collections.abc import Callable
from typing import Any

from attrs import define, field
from klein import Klein

from lotus_guard.bounded import BoundedRequest

Event = dict[str, Any]


@define
class Account:
    """A user of the sandbox's homeserver."""

    user_id: str
    access_token: str
    admin: bool = False


@define
class SynapseState:
    """What the homeserver knows."""

    accounts: dict[str, Account] = field(factory=dict)
    """By access token."""
    openid: dict[str, str] = field(factory=dict)
    """OpenID token → user id."""
    rooms: dict[str, dict[tuple[str, str], Event]] = field(factory=dict)
    ignores_type: bool = False
    """Older releases send a room's whole state whatever `type` asks for (FACTS, Synapse)."""

    def add_account(self, user_id: str, access_token: str, admin: bool = False) -> Account:
        """Make an account."""
        account = Account(user_id, access_token, admin)
        self.accounts[access_token] = account
        return account

    def add_room(self, room_id: str, creator: str) -> None:
        """Make a room."""
        self.rooms[room_id] = {}
        self.set_state(room_id, "m.room.create", {}, sender=creator)

    def set_state(
        self,
        room_id: str,
        event_type: str,
        content: dict[str, Any],
        key: str = "",
        sender: str = "",
    ) -> None:
        """Set a state event."""
        self.rooms[room_id][event_type, key] = {
            "type": event_type,
            "state_key": key,
            "content": content,
            "sender": sender,
            "room_id": room_id,
        }


class Refused(Exception):
    """A Matrix error to answer with."""

    def __init__(self, status: int, errcode: str, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"errcode": errcode, "error": error}


class SynapseApp:
    """The homeserver's routes."""

    app = Klein()

    def __init__(self, state: SynapseState, new_id: Callable[[], str]) -> None:
        self.state = state
        self._new_id = new_id

    @app.handle_errors(Refused)  # type: ignore[arg-type]  # Klein types plain functions only
    def refused(self, request: BoundedRequest, failure: Any) -> bytes:
        """Answer a Matrix error."""
        return _json(request, failure.value.body, failure.value.status)

    @app.route("/_synapse/admin/v1/rooms", methods=["GET"])
    def rooms(self, request: BoundedRequest) -> bytes:
        """List rooms."""
        self._admin(request)
        start, limit = int(_query(request, b"from", "0")), int(_query(request, b"limit", "100"))
        found = [{"room_id": room_id} for room_id in self.state.rooms]
        page: dict[str, Any] = {"rooms": found[start : start + limit], "total_rooms": len(found)}
        if start + limit < len(found):
            page["next_batch"] = start + limit
        return _json(request, page)

    @app.route("/_synapse/admin/v1/rooms/<room_id>/state", methods=["GET"])
    def state_of(self, request: BoundedRequest, room_id: str) -> bytes:
        """Give a room's state events, of one type or all."""
        self._admin(request)
        events = list(self._room(room_id).values())
        wanted = _query(request, b"type", "")
        if wanted and not self.state.ignores_type:
            events = [event for event in events if event["type"] == wanted]
        return _json(request, {"state": events})

    @app.route("/_matrix/client/v3/account/whoami", methods=["GET"])
    def whoami(self, request: BoundedRequest) -> bytes:
        """Tell whose token it is."""
        return _json(request, {"user_id": self._account(request).user_id})

    @app.route(
        "/_matrix/client/v3/rooms/<room_id>/state/<event_type>",
        methods=["PUT"],
        defaults={"key": ""},
    )
    @app.route("/_matrix/client/v3/rooms/<room_id>/state/<event_type>/<key>", methods=["PUT"])
    def put_state(self, request: BoundedRequest, room_id: str, event_type: str, key: str) -> bytes:
        """Set a state event."""
        account = self._account(request)
        self._room(room_id)
        content = json.loads(request.content.read())
        self.state.set_state(room_id, event_type, content, key, account.user_id)
        return _json(request, {"event_id": f"${self._new_id()}"})

    @app.route("/_matrix/federation/v1/openid/userinfo", methods=["GET"])
    def userinfo(self, request: BoundedRequest) -> bytes:
        """Tell whose OpenID token it is."""
        user_id = self.state.openid.get(_query(request, b"access_token", ""))
        if user_id is None:
            raise Refused(401, "M_UNKNOWN_TOKEN", "Access Token unknown or expired")
        return _json(request, {"sub": user_id})

    @app.route("/", branch=True)
    def unknown(self, request: BoundedRequest) -> bytes:
        """Answer what there is not."""
        raise Refused(404, "M_UNRECOGNIZED", "Unrecognized request")

    def _account(self, request: BoundedRequest) -> Account:
        token = (request.getHeader("Authorization") or "").removeprefix("Bearer ")
        if not token:
            raise Refused(401, "M_MISSING_TOKEN", "Missing access token")
        account = self.state.accounts.get(token)
        if account is None:
            raise Refused(401, "M_UNKNOWN_TOKEN", "Invalid access token passed.")
        return account

    def _admin(self, request: BoundedRequest) -> None:
        if not self._account(request).admin:
            raise Refused(403, "M_FORBIDDEN", "You are not a server admin")

    def _room(self, room_id: str) -> dict[tuple[str, str], Event]:
        room = self.state.rooms.get(room_id)
        if room is None:
            raise Refused(404, "M_NOT_FOUND", "Room not found")
        return room


def _query(request: BoundedRequest, name: bytes, default: str) -> str:
    values = request.args.get(name, [default.encode()])
    return str(values[0].decode())


def _json(request: BoundedRequest, value: object, status: int = 200) -> bytes:
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"application/json")
    return json.dumps(value).encode()
