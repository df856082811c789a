"""A small lk-jwt-service: checks an OpenID token with the homeserver and signs a LiveKit token.

Answers as the real one does, also where it is odd, and as either of its generations
(`lotus_guard.sandbox.generation`). Tests use that to show why the guard reads more strictly. Each
oddity was seen on the real service; `tests/contract` asks both for it.

What it does not do: act on a delayed leave (it takes the fields and drops them), and look up the
client-server API for that, which the real one refuses a request for when it finds none.
"""

from collections.abc import Mapping
from typing import Any

from klein import Klein
from twisted.web.resource import IResource, Resource

from lotus_guard.core.model import UserId
from lotus_guard.core.naming import ROOM_SLOT, legacy_identity_of
from lotus_guard.overload.http_limits import BoundedRequest
from lotus_guard.sandbox.authorization_behind import BehindApp
from lotus_guard.sandbox.authorization_state import AuthorizationState
from lotus_guard.sandbox.cors import is_post, let_browsers_read
from lotus_guard.sandbox.matrix_error import MatrixError
from lotus_guard.sandbox.reading import GET_TOKEN, LEGACY, MEMBER, Shape

PATHS = ("/get_token", "/sfu/get", "/delegate_delayed_leave", "/sfu_webhook", "/healthz")
_NO_DELEGATION = "Users of this homeserver cannot delegate a leave"


class AuthorizationApp:
    """The service's routes."""

    app = Klein()

    def __init__(self, state: AuthorizationState) -> None:
        self.state = state

    def resource(self) -> IResource:
        """Make the resource to serve: the routes for clients, and those for homeservers."""
        clients: IResource = Routed(self.state, self.app.resource())
        if self.state.behind is None:
            return clients
        both: IResource = Both(clients, BehindApp(self.state, self.state.behind).resource())
        return both

    @app.handle_errors(MatrixError)  # type: ignore[arg-type]  # Klein types plain functions only
    def refused(self, request: BoundedRequest, failure: Any) -> bytes:
        """Answer an error."""
        return self._answer(request, failure.value.body, failure.value.status)

    @app.route("/get_token")
    async def get_token(self, request: BoundedRequest) -> bytes:
        """Issue a token (MSC4195)."""
        if not _is_post(request):
            return b""
        fields = self._fields(request, GET_TOKEN)
        _check_member(fields)
        is_delayed = _is_delayed(fields)
        member = fields["member"]
        user = await self._user(fields, member["claimed_user_id"])
        self._check_delegation(fields, is_delayed)
        identity = self.state.generation.identity(
            UserId(user), member["claimed_device_id"], member["id"]
        )
        answer = await self.state.issue(
            _server(fields), fields["room_id"], fields["slot_id"], identity
        )
        return self._answer(request, answer)

    @app.route("/sfu/get")
    async def sfu_get(self, request: BoundedRequest) -> bytes:
        """Issue a token (legacy)."""
        if not _is_post(request):
            return b""
        fields = self._fields(request, LEGACY)
        if not fields.get("room"):
            raise MatrixError(400, "M_BAD_JSON", "The field `room` is missing")
        _check_openid(fields)
        is_delayed = _is_delayed(fields)
        user = await self._user(fields)
        self._check_delegation(fields, is_delayed)
        identity = legacy_identity_of(UserId(user), fields.get("device_id", ""))
        answer = await self.state.issue(_server(fields), fields["room"], ROOM_SLOT, identity)
        return self._answer(request, answer)

    @app.route("/delegate_delayed_leave")
    async def delegate(self, request: BoundedRequest) -> bytes:
        """Take over a delayed leave; no token comes back."""
        if not _is_post(request):
            return b""
        fields = self._fields(request, GET_TOKEN)
        _check_member(fields)
        if not _is_delayed(fields):
            raise MatrixError(
                400, "M_BAD_JSON", "The field `delay_id` or `delay_timeout` is missing"
            )
        await self._user(fields, fields["member"]["claimed_user_id"])
        if not self.state.has_full_access(_server(fields)):
            raise MatrixError(403, "M_FORBIDDEN", _NO_DELEGATION)
        return self._answer(request, {})

    @app.route("/sfu_webhook")
    def webhook(self, request: BoundedRequest) -> bytes:
        """Take a webhook in; 200 whatever it is."""
        self.state.webhooks.append(
            (request.content.read(), request.getHeader("Authorization") or "")
        )
        return b""

    @app.route("/healthz")
    def healthz(self, request: BoundedRequest) -> bytes:
        """Answer that all is well."""
        if request.method not in (b"GET", b"HEAD"):
            request.setResponseCode(405)
        return b""

    def _fields(self, request: BoundedRequest, shape: Shape) -> dict[str, Any]:
        try:
            return self.state.generation.read(request.content.read(), shape)
        except (ValueError, RecursionError):
            raise MatrixError(400, "M_NOT_JSON", "The body is not JSON that can be read") from None

    def _answer(self, request: BoundedRequest, value: object, status: int = 200) -> bytes:
        body = self.state.generation.write(value)
        request.setResponseCode(status)
        request.setHeader("Content-Length", str(len(body)))
        return body

    async def _user(self, fields: Mapping[str, Any], claimed: str = "") -> str:
        return await self.state.user_of(fields["openid_token"], claimed)

    def _check_delegation(self, fields: Mapping[str, Any], is_delayed: bool) -> None:
        if is_delayed and not self.state.has_full_access(_server(fields)):
            raise MatrixError(400, "M_BAD_JSON", _NO_DELEGATION)


class Routed(Resource):
    """The routes as the service's generation finds them; tests change it while it is served."""

    isLeaf = True

    def __init__(self, state: AuthorizationState, inner: IResource) -> None:
        super().__init__()
        self._state = state
        self._inner = inner

    def render(self, request: BoundedRequest) -> Any:
        """Serve by the path."""
        return self._state.generation.route(self._inner, PATHS).render(request)


class Both(Resource):
    """What homeservers ask for, beside what clients ask for."""

    isLeaf = True

    def __init__(self, clients: IResource, homeservers: IResource) -> None:
        super().__init__()
        self._clients = clients
        self._homeservers = homeservers

    def render(self, request: BoundedRequest) -> Any:
        """Serve by the path."""
        is_homeservers = request.uri.startswith(b"/_matrix/")
        return (self._homeservers if is_homeservers else self._clients).render(request)


def _server(fields: Mapping[str, Any]) -> str:
    return str(fields["openid_token"]["matrix_server_name"])


def _is_post(request: BoundedRequest) -> bool:
    let_browsers_read(request)
    return is_post(request)


def _check_member(fields: Mapping[str, Any]) -> None:
    if not fields.get("room_id") or not fields.get("slot_id"):
        raise MatrixError(400, "M_BAD_JSON", "The field `room_id` or `slot_id` is missing")
    if not all(fields["member"].get(name) for name in MEMBER):
        raise MatrixError(400, "M_BAD_JSON", "A field of `member` is missing")
    _check_openid(fields)


def _check_openid(fields: Mapping[str, Any]) -> None:
    openid = fields["openid_token"]
    if not openid.get("access_token") or not openid.get("matrix_server_name"):
        raise MatrixError(400, "M_BAD_JSON", "A field of `openid_token` is missing")


def _is_delayed(fields: Mapping[str, Any]) -> bool:
    """Whether a delayed leave comes along; half of one is refused."""
    has_id, has_timeout = bool(fields.get("delay_id")), fields.get("delay_timeout", 0) > 0
    if has_id != has_timeout:
        raise MatrixError(400, "M_BAD_JSON", "The field `delay_id` or `delay_timeout` is missing")
    return has_id
