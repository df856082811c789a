"""The authorization service behind a homeserver, as an application service (MSC4195).

As lk-jwt-service from 0.8 on, with the order in which it checks: the homeserver's token, who asks,
the body, the address of the SFU, whether they are in the room.
"""

import hmac
import json
from collections.abc import Mapping
from typing import Any

from klein import Klein

from lotus_guard.core.homeserver_wire import (
    CLIENT_PATHS,
    FEDERATION_PATHS,
    ORIGIN_HEADER,
    USER_HEADER,
)
from lotus_guard.core.model import UserId
from lotus_guard.core.naming import plain_identity_of
from lotus_guard.overload.http_limits import BoundedRequest
from lotus_guard.sandbox.authorization_state import AppService, AuthorizationState
from lotus_guard.sandbox.matrix_error import MatrixError
from lotus_guard.sandbox.reading import CLIENTS, SERVERS, Shape, read_as_rust


class BehindApp:
    """The service's routes for homeservers."""

    app = Klein()

    def __init__(self, state: AuthorizationState, service: AppService) -> None:
        self.state = state
        self.service = service

    @app.handle_errors(MatrixError)  # type: ignore[arg-type]  # Klein types plain functions only
    def refused(self, request: BoundedRequest, failure: Any) -> bytes:
        """Answer an error."""
        return self._answer(request, failure.value.body, failure.value.status)

    @app.route(CLIENT_PATHS[0], methods=["POST"])
    @app.route(CLIENT_PATHS[1], methods=["POST"])
    async def client(self, request: BoundedRequest) -> bytes:
        """Issue a token to a user of the homeserver."""
        user = self._asks(request, USER_HEADER)
        if not user.startswith("@") or ":" not in user:
            raise MatrixError(400, "M_INVALID_PARAM", "The user id is malformed")
        fields = self._fields(request, CLIENTS)
        server, ask = fields.pop("server_name", ""), self.service.ask_server
        if ask is not None and server not in ("", self.service.server):
            for who in (user, server):
                await self._must_be_joined(fields.get("room_id", ""), who)
            return self._relay(request, *await ask(server, {"user_id": user, **fields}))
        return await self._issue(request, user, fields)

    @app.route(FEDERATION_PATHS[0], methods=["POST"])
    @app.route(FEDERATION_PATHS[1], methods=["POST"])
    async def federation(self, request: BoundedRequest) -> bytes:
        """Issue a token to a user of another homeserver."""
        origin = self._asks(request, ORIGIN_HEADER)
        fields = self._fields(request, SERVERS)
        user = fields.get("user_id", "")
        if user.partition(":")[2] != origin:
            raise MatrixError(400, "M_INVALID_PARAM", "The user is none of that server")
        return await self._issue(request, user, fields)

    async def _issue(self, request: BoundedRequest, user: str, fields: Mapping[str, Any]) -> bytes:
        if fields.get("url") != self.state.issuer.livekit_url:
            raise MatrixError(400, "M_INVALID_PARAM", "The SFU is another one")
        room, slot, member = (fields.get(name, "") for name in ("room_id", "slot_id", "member_id"))
        if not (room and slot and member):
            raise MatrixError(400, "M_BAD_JSON", "A field is missing")
        await self._must_be_joined(room, user)
        identity = plain_identity_of(UserId(user), member)
        answer = await self.state.issue(user.partition(":")[2], room, slot, identity)
        return self._answer(request, {"jwt": answer["jwt"]})

    async def _must_be_joined(self, room: str, who: str) -> None:
        if not await self.service.is_joined(room, who):
            raise MatrixError(403, "M_FORBIDDEN", f"{who} is not a member of the room")

    def _relay(self, request: BoundedRequest, status: int, found: Any) -> bytes:
        """Answer what another homeserver's service said, in upstream's few words."""
        if status == 200:
            return self._answer(request, {"jwt": found["jwt"]})
        errcode = str(found.get("errcode")) if isinstance(found, dict) else ""
        if (status, errcode) in ((403, "M_FORBIDDEN"), (400, "M_INVALID_PARAM")):
            raise MatrixError(status, errcode, "The destination homeserver has refused")
        raise MatrixError(502, "M_UNKNOWN", "Unable to reach the specified homeserver")

    def _asks(self, request: BoundedRequest, header: bytes) -> str:
        """Who asks: the first of several, as upstream takes it; raises MatrixError."""
        token = (request.getHeader("Authorization") or "").removeprefix("Bearer ")
        if not token:
            raise MatrixError(401, "M_MISSING_TOKEN", "The homeserver token is missing")
        if not hmac.compare_digest(token.encode(), self.service.hs_token.encode()):
            raise MatrixError(401, "M_UNKNOWN_TOKEN", "The homeserver token is unknown")
        said = request.requestHeaders.getRawHeaders(header, [])
        if not said:
            raise MatrixError(401, "M_UNAUTHORIZED", "Nobody asks")
        return str(said[0].decode("utf-8", "replace"))

    def _fields(self, request: BoundedRequest, shape: Shape) -> dict[str, Any]:
        try:
            return read_as_rust(request.content.read(), shape)
        except (ValueError, RecursionError):
            raise MatrixError(400, "M_NOT_JSON", "Error reading request") from None

    def _answer(self, request: BoundedRequest, value: object, status: int = 200) -> bytes:
        body = json.dumps(value, separators=(",", ":")).encode()
        request.setResponseCode(status)
        request.setHeader(b"Content-Type", b"application/json")
        request.setHeader(b"Content-Length", str(len(body)).encode("ascii"))
        return body
