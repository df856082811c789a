"""The authorization service behind a homeserver, as an application service (MSC4195).

As lk-jwt-service from 0.8 on, with the order in which it checks: the homeserver's token, the body,
who asks, the address of the SFU, whether they are in the room. For another homeserver the address
comes last. `tests/contract` asks a real one for the same.

What it does not do: act on a delayed leave, or look whether there is one.
"""

import hmac
from collections.abc import Mapping
from typing import Any

from klein import Klein
from twisted.web.resource import IResource

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
from lotus_guard.sandbox.cors import is_post, let_browsers_read
from lotus_guard.sandbox.generation import RUST
from lotus_guard.sandbox.matrix_error import MatrixError
from lotus_guard.sandbox.reading import CLIENTS, DELEGATION, SERVERS, Shape
from lotus_guard.sandbox.rust_http import ExactPaths

# 0.8 has the unstable paths alone, a later version the stable ones too. Here both are served, as
# the guard takes both.
DELEGATE_PATHS = tuple(path.replace("get_token", "delegate_delayed_leave") for path in CLIENT_PATHS)
PING_PATH = "/_matrix/app/v1/ping"
PATHS = (*CLIENT_PATHS, *FEDERATION_PATHS, *DELEGATE_PATHS, PING_PATH)
_OTHER_SFU = "The request `url` does not match this service's LiveKit URL"


RELAYED = ((403, "M_FORBIDDEN"), (400, "M_INVALID_PARAM"))
"""What another homeserver may refuse in its own name; everything else becomes 502."""


class BehindApp:
    """The service's routes for homeservers."""

    app = Klein()

    def __init__(self, state: AuthorizationState, service: AppService) -> None:
        self.state = state
        self.service = service

    def resource(self) -> IResource:
        """Make the resource to serve."""
        exact: IResource = ExactPaths(self.app.resource(), PATHS)
        return exact

    @app.handle_errors(MatrixError)  # type: ignore[arg-type]  # Klein types plain functions only
    def refused(self, request: BoundedRequest, failure: Any) -> bytes:
        """Answer an error."""
        return _answer(request, failure.value.body, failure.value.status)

    @app.route(PING_PATH)
    def ping(self, request: BoundedRequest) -> bytes:
        """Answer the homeserver that it is there."""
        self._check_token(request)
        return _answer(request, {})

    @app.route(CLIENT_PATHS[0])
    @app.route(CLIENT_PATHS[1])
    async def client(self, request: BoundedRequest) -> bytes:
        """Issue a token to a user of the homeserver."""
        let_browsers_read(request)
        if not is_post(request):
            return b""
        fields = self._fields(request, CLIENTS)
        user = _asks(request, USER_HEADER, "Missing request authorization")
        elsewhere = fields.pop("server_name", "") or self.service.server
        if elsewhere != self.service.server:
            return await self._of(request, elsewhere, user, fields)
        self._check_url(fields)
        _check_user(user)
        await self._check_member(fields["room_id"], user)
        return await self._issue(request, user, fields)

    @app.route(FEDERATION_PATHS[0])
    @app.route(FEDERATION_PATHS[1])
    async def federation(self, request: BoundedRequest) -> bytes:
        """Issue a token to a user of another homeserver, with which they may only listen."""
        if not is_post(request):
            return b""
        fields = self._fields(request, SERVERS)
        origin = _asks(request, ORIGIN_HEADER, "Missing request origin")
        user, room = fields["user_id"], fields["room_id"]
        _check_user(user)
        if user.partition(":")[2] != origin:
            refused = "The user_id does not belong to the origin server"
            raise MatrixError(403, "M_FORBIDDEN", refused)
        if not await self._is_joined(room, self.service.server):
            raise MatrixError(403, "M_FORBIDDEN", "This server is not joined to the room")
        await self._check_member(room, user)
        self._check_url(fields)
        return await self._issue(request, user, fields, publishes=False)

    @app.route(DELEGATE_PATHS[0])
    @app.route(DELEGATE_PATHS[1])
    def delegate(self, request: BoundedRequest) -> bytes:
        """Take over a delayed leave: check the request, and do nothing."""
        let_browsers_read(request)
        if not is_post(request):
            return b""
        fields = self._fields(request, DELEGATION)
        _asks(request, USER_HEADER, "Missing request authorization")
        self._check_url(fields)
        return _answer(request, {})

    def _check_token(self, request: BoundedRequest) -> None:
        said = (request.requestHeaders.getRawHeaders(b"Authorization") or [b""])[0]
        kind, _, token = said.partition(b" ")
        if kind != b"Bearer" or not token:
            raise MatrixError(401, "M_MISSING_TOKEN", "Missing homeserver access token")
        if not hmac.compare_digest(token, self.service.hs_token.encode()):
            raise MatrixError(401, "M_UNKNOWN_TOKEN", "Unrecognised homeserver access token")

    def _fields(self, request: BoundedRequest, shape: Shape) -> dict[str, Any]:
        """Read a body of a homeserver that has proved itself; raises MatrixError."""
        self._check_token(request)
        try:
            fields = RUST.read(request.content.read(), shape)
        except (ValueError, RecursionError):
            raise MatrixError(400, "M_NOT_JSON", "Error reading request") from None
        later = ("member_id", "delay_id")
        first = [name for name in shape if name not in (*later, "server_name")]
        for names in (first, *([name] for name in later if name in shape)):
            if not all(fields.get(name) for name in names):
                raise MatrixError(400, "M_BAD_JSON", f"The request body is missing {_or(names)}")
        return fields

    def _check_url(self, fields: Mapping[str, Any]) -> None:
        if fields["url"] != self.state.issuer.livekit_url:
            raise MatrixError(400, "M_INVALID_PARAM", _OTHER_SFU)

    async def _check_member(self, room: str, user: str) -> None:
        if not await self._is_joined(room, user):
            raise MatrixError(403, "M_FORBIDDEN", "The requesting user is not a member of the room")

    async def _is_joined(self, room: str, who: str) -> bool:
        try:
            return await self.service.is_joined(room, who)
        except Exception:
            raise MatrixError(502, "M_UNKNOWN", "Unable to verify room membership") from None

    async def _of(
        self, request: BoundedRequest, server: str, user: str, fields: Mapping[str, Any]
    ) -> bytes:
        """Answer what another homeserver's service says, which checks the rest."""
        await self._check_member(fields["room_id"], user)
        if not await self._is_joined(fields["room_id"], server):
            raise MatrixError(403, "M_FORBIDDEN", "The target server is not joined to the room")
        ask, unreachable = self.service.ask_server, "Unable to reach the specified homeserver"
        if ask is None:
            raise MatrixError(502, "M_UNKNOWN", unreachable)
        status, found = await ask(server, {"user_id": user, **fields})
        if status == 200:
            return _answer(request, {"jwt": found["jwt"]})
        errcode = str(found.get("errcode")) if isinstance(found, dict) else ""
        if (status, errcode) in RELAYED:
            raise MatrixError(status, errcode, "The destination homeserver has refused")
        raise MatrixError(502, "M_UNKNOWN", unreachable)

    async def _issue(
        self, request: BoundedRequest, user: str, fields: Mapping[str, Any], publishes: bool = True
    ) -> bytes:
        identity = plain_identity_of(UserId(user), fields["member_id"])
        room, slot = fields["room_id"], fields["slot_id"]
        issuer = self.state.issuer
        answer = issuer.answer(room, slot, identity, RUST, publishes)
        if self.state.has_full_access(user.partition(":")[2]):
            await self.state.make_room(issuer.room_of(room, slot, RUST))
        return _answer(request, {"jwt": answer["jwt"]})


def _asks(request: BoundedRequest, header: bytes, error: str) -> str:
    """Who asks: the first of several, as upstream takes it; raises MatrixError."""
    said = (request.requestHeaders.getRawHeaders(header) or [b""])[0]
    if not said:
        raise MatrixError(401, "M_UNAUTHORIZED", error)
    return said.decode("utf-8", "replace")


def _check_user(user: str) -> None:
    if not user.startswith("@") or not user.partition(":")[2]:
        raise MatrixError(400, "M_INVALID_PARAM", "Malformed user identifier")


def _or(names: list[str]) -> str:
    """Write names one after another, with an `or` before the last."""
    quoted = [f"`{name}`" for name in names]
    return " or ".join([", ".join(quoted[:-1]), quoted[-1]] if quoted[1:] else quoted)


def _answer(request: BoundedRequest, value: object, status: int = 200) -> bytes:
    body = RUST.write(value)
    request.setResponseCode(status)
    request.setHeader("Content-Type", "application/json")
    request.setHeader("Content-Length", str(len(body)))
    return body
