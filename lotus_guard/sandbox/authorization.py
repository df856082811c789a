"""A small lk-jwt-service: checks an OpenID token with the homeserver and signs a LiveKit token.

Answers as the real one does, also where it is odd: it routes as Go's ServeMux and reads JSON as
Go's encoding/json, or as Rust's serde (`lotus_guard.sandbox.reading`). Tests use that to show why
the guard reads more strictly. Each oddity was seen on the real service; `tests/contract` asks both
for it.

What it does not do: act on a delayed leave (it takes the fields and drops them), and look up the
client-server API for that, which the real one refuses a request for when it finds none.

As a process it reads lk-jwt-service's own environment, so that the real binary can take its place,
and LOTUS_SANDBOX_READING, `go` or `rust`:

    python -m lotus_guard.sandbox.authorization
"""

import json
import os
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote_to_bytes

import jwt
import treq
from attrs import define, field
from klein import Klein
from OpenSSL import SSL
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import serverFromString
from twisted.internet.interfaces import IOpenSSLClientConnectionCreator
from twisted.internet.task import react
from twisted.python.log import startLogging
from twisted.web.client import Agent
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent, IPolicyForHTTPS
from twisted.web.resource import IResource, Resource
from zope.interface import implementer

from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.naming import ROOM_SLOT, identity_of, legacy_identity_of, livekit_room_of
from lotus_guard.core.token import KeyPair, mint
from lotus_guard.neighbours.http import BytesBody
from lotus_guard.overload.http_limits import BoundedRequest, QuietSite
from lotus_guard.sandbox.reading import (
    GET_TOKEN,
    LEGACY,
    MEMBER,
    READINGS,
    Reading,
    Shape,
    read_as_go,
)

CORS = {
    "Content-Type": "application/json",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": (
        "Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token"
    ),
}

MOST_BODY = 8 * 1024 * 1024
"""Bytes of a body that upstream reads."""
_ESCAPES = {ord(c): f"\\u{ord(c):04x}" for c in ("<", ">", "&", "\u2028", "\u2029")}
_ROUTES = ("/get_token", "/sfu/get", "/delegate_delayed_leave", "/sfu_webhook", "/healthz")


UserInfo = Callable[[str, str], Awaitable[str]]
"""Asks the homeserver of this name whose OpenID token this is; raises any error."""


class Refused(Exception):
    """An error to answer with."""

    def __init__(self, status: int, errcode: str, error: str) -> None:
        super().__init__(error)
        self.status = status
        self.body = {"errcode": errcode, "error": error}


@define(eq=False)
class Issuer:
    """What the service signs, and how it names things; tests change that."""

    key: str
    secret: str = field(repr=False)
    livekit_url: str
    """The public address that goes into answers."""
    epoch: Callable[[], float] = time.time
    grant: dict[str, Any] = field(
        factory=lambda: {"canPublish": True, "canSubscribe": True, "canUpdateOwnMetadata": True}
    )
    livekit_room: Callable[[RoomId, str], LiveKitRoom] = livekit_room_of

    def answer(self, room: str, slot: str, identity: Identity) -> dict[str, str]:
        """Sign a token for an hour."""
        now = int(self.epoch())
        video = {"roomJoin": True, "room": self.livekit_room(RoomId(room), slot), **self.grant}
        claims = {
            "iss": self.key,
            "sub": identity,
            "exp": now + 3600,
            "nbf": now,
            "iat": now,
            "identity": identity,
            "video": video,
        }
        token = jwt.api_jws.encode(_go_json(claims), self.secret, algorithm="HS256")
        return {"url": self.livekit_url, "jwt": token}


class AuthorizationApp:
    """The service's routes."""

    app = Klein()

    def __init__(
        self,
        issuer: Issuer,
        userinfo: UserInfo,
        create_room: Callable[[str], Awaitable[None]],
        on_webhook: Callable[[bytes, str], None] = lambda _body, _token: None,
        full_access: Sequence[str] = ("*",),
        read: Reading = read_as_go,
    ) -> None:
        self.issuer = issuer
        self._userinfo = userinfo
        self._create_room = create_room
        self._on_webhook = on_webhook
        self._full_access = full_access
        self.read = read
        """How bodies are read; tests change that."""

    def resource(self) -> IResource:
        """Make the resource to serve: the routes behind a ServeMux."""
        mux: IResource = _ServeMux(self.app.resource())
        return mux

    @app.handle_errors(Refused)  # type: ignore[arg-type]  # Klein types plain functions only
    def refused(self, request: BoundedRequest, failure: Any) -> bytes:
        """Answer an error."""
        return _answer(request, failure.value.body, failure.value.status)

    @app.route("/get_token")
    async def get_token(self, request: BoundedRequest) -> bytes:
        """Issue a token (MSC4195)."""
        if not _is_post(request):
            return b""
        fields = self._fields(request, GET_TOKEN)
        _check_member(fields)
        delayed = _delayed(fields)
        user = await self._user(fields, fields["member"]["claimed_user_id"])
        member = fields["member"]
        identity = identity_of(UserId(user), member["claimed_device_id"], member["id"])
        answer = await self._issue(fields, fields["room_id"], fields["slot_id"], identity, delayed)
        return _answer(request, answer)

    @app.route("/sfu/get")
    async def sfu_get(self, request: BoundedRequest) -> bytes:
        """Issue a token (legacy)."""
        if not _is_post(request):
            return b""
        fields = self._fields(request, LEGACY)
        if not fields.get("room"):
            raise Refused(400, "M_BAD_JSON", "The field `room` is missing")
        _check_openid(fields)
        delayed = _delayed(fields)
        user = await self._user(fields)
        identity = legacy_identity_of(UserId(user), fields.get("device_id", ""))
        answer = await self._issue(fields, fields["room"], ROOM_SLOT, identity, delayed)
        return _answer(request, answer)

    @app.route("/delegate_delayed_leave")
    async def delegate(self, request: BoundedRequest) -> bytes:
        """Take over a delayed leave; no token comes back."""
        if not _is_post(request):
            return b""
        fields = self._fields(request, GET_TOKEN)
        _check_member(fields)
        if not _delayed(fields):
            raise Refused(400, "M_BAD_JSON", "The field `delay_id` or `delay_timeout` is missing")
        await self._user(fields, fields["member"]["claimed_user_id"])
        if not self._has_full_access(fields):
            raise Refused(403, "M_FORBIDDEN", "Users of this homeserver cannot delegate a leave")
        return _answer(request, {})

    @app.route("/sfu_webhook")
    def webhook(self, request: BoundedRequest) -> bytes:
        """Take a webhook in; 200 whatever it is."""
        self._on_webhook(request.content.read(), request.getHeader("Authorization") or "")
        return b""

    @app.route("/healthz")
    def healthz(self, request: BoundedRequest) -> bytes:
        """Say that all is well."""
        if request.method not in (b"GET", b"HEAD"):
            request.setResponseCode(405)
        return b""

    def _fields(self, request: BoundedRequest, shape: Shape) -> dict[str, Any]:
        try:
            return self.read(request.content.read(), shape)
        except (ValueError, RecursionError):
            raise Refused(400, "M_NOT_JSON", "The body is not JSON that can be read") from None

    async def _user(self, fields: Mapping[str, Any], claimed: str = "") -> str:
        openid = fields["openid_token"]
        server = openid["matrix_server_name"]
        refused = Refused(401, "M_UNAUTHORIZED", "The OpenID token does not say who this is")
        try:
            user = await self._userinfo(server, openid["access_token"])
        except Exception:
            raise refused from None
        if not user.endswith(f":{server}") or (claimed and claimed != user):
            raise refused
        return user

    async def _issue(
        self, fields: Mapping[str, Any], room: str, slot: str, identity: Identity, delayed: bool
    ) -> dict[str, str]:
        answer = self.issuer.answer(room, slot, identity)
        if not self._has_full_access(fields):
            if delayed:
                raise Refused(400, "M_BAD_JSON", "Users of this homeserver cannot delegate a leave")
            return answer
        try:
            await self._create_room(self.issuer.livekit_room(RoomId(room), slot))
        except Exception:
            raise Refused(500, "M_UNKNOWN", "The SFU did not make a room") from None
        return answer

    def _has_full_access(self, fields: Mapping[str, Any]) -> bool:
        """Tell whether a user's request makes the room; the others can only join one."""
        server = fields["openid_token"]["matrix_server_name"]
        return tuple(self._full_access) == ("*",) or server in self._full_access


def sandbox_site(resource: IResource) -> QuietSite:
    """Make a server that takes bodies as long as upstream does."""
    return QuietSite(
        resource, bounds=lambda _target, _headers: MOST_BODY, requestFactory=BoundedRequest
    )


class _ServeMux(Resource):
    """Routes as Go's ServeMux does: by cleaned path, which other spellings are redirected to."""

    isLeaf = True

    def __init__(self, inner: IResource) -> None:
        super().__init__()
        self._inner = inner

    def render(self, request: BoundedRequest) -> Any:
        """Serve, redirect or say that there is nothing."""
        path, mark, query = request.uri.partition(b"?")
        cleaned = _clean(path)
        if cleaned != path:
            request.setResponseCode(307)
            request.setHeader(b"Location", cleaned + mark + query)
            return b""
        # Segments are decoded one by one: an escaped slash does not part them.
        segments = [unquote_to_bytes(segment) for segment in path.split(b"/")]
        if segments not in [route.encode().split(b"/") for route in _ROUTES]:
            request.setResponseCode(404)
            request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
            return b"404 page not found\n"
        return self._inner.render(request)


def _clean(path: bytes) -> bytes:
    """Take `//`, `.` and `..` out of a path; the slash at its end stays."""
    kept: list[bytes] = []
    for segment in path.split(b"/"):
        if segment == b"..":
            del kept[-1:]
        elif segment not in (b"", b"."):
            kept.append(segment)
    end = b"/" if path.endswith(b"/") and kept else b""
    return b"/" + b"/".join(kept) + end


def _answer(request: BoundedRequest, value: object, status: int = 200) -> bytes:
    body = _go_json(value) + b"\n"
    request.setResponseCode(status)
    request.setHeader(b"Content-Length", str(len(body)).encode("ascii"))
    return body


def _go_json(value: object) -> bytes:
    """Write JSON as Go does: no spaces, UTF-8, and what HTML could trip over as escapes."""
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    return text.translate(_ESCAPES).encode("utf-8")


def _is_post(request: BoundedRequest) -> bool:
    """Set the CORS headers; True where the request is to be worked on."""
    for name, value in CORS.items():
        request.setHeader(name, value)
    if request.method not in (b"POST", b"OPTIONS"):
        request.setResponseCode(405)
    return bool(request.method == b"POST")


def _check_member(fields: Mapping[str, Any]) -> None:
    if not fields.get("room_id") or not fields.get("slot_id"):
        raise Refused(400, "M_BAD_JSON", "The field `room_id` or `slot_id` is missing")
    if not all(fields["member"].get(name) for name in MEMBER):
        raise Refused(400, "M_BAD_JSON", "A field of `member` is missing")
    _check_openid(fields)


def _check_openid(fields: Mapping[str, Any]) -> None:
    openid = fields["openid_token"]
    if not openid.get("access_token") or not openid.get("matrix_server_name"):
        raise Refused(400, "M_BAD_JSON", "A field of `openid_token` is missing")


def _delayed(fields: Mapping[str, Any]) -> bool:
    """Tell whether a delayed leave comes along; half of one is refused."""
    has_id, has_timeout = bool(fields.get("delay_id")), fields.get("delay_timeout", 0) > 0
    if has_id != has_timeout:
        raise Refused(400, "M_BAD_JSON", "The field `delay_id` or `delay_timeout` is missing")
    return has_id


def room_maker(agent: IAgent, api: str, key: str, secret: str) -> Callable[[str], Awaitable[None]]:
    """Make what makes a room on the SFU."""

    async def create(name: str) -> None:
        exp = int(time.time()) + 60
        token = mint(KeyPair(key, secret), exp=exp, video={"roomCreate": True})
        wanted = {"name": name, "empty_timeout": 300, "departure_timeout": 20}
        response = await agent.request(
            b"POST",
            f"{api}/twirp/livekit.RoomService/CreateRoom".encode("ascii"),
            Headers({"Authorization": [f"Bearer {token}"], "Content-Type": ["application/json"]}),
            BytesBody(json.dumps(wanted).encode()),
        )
        body = await treq.content(response)
        if response.code != 200:
            raise RuntimeError(f"{response.code}: {body[:200]!r}")

    return create


def userinfo_over(agent: IAgent, base: Callable[[str], str]) -> UserInfo:
    """Make what asks a homeserver, at the address that `base` gives for its name."""

    async def userinfo(server: str, token: str) -> str:
        path = "/_matrix/federation/v1/openid/userinfo?access_token="
        client = treq.client.HTTPClient(agent)
        response = await client.get(f"{base(server)}{path}{quote(token, safe='')}")
        answer = await response.json()
        return str(answer["sub"])

    return userinfo


@implementer(IPolicyForHTTPS)
class _Trusting:
    """Accepts any certificate, as LIVEKIT_INSECURE_SKIP_VERIFY_TLS asks for."""

    def creatorForNetloc(self, hostname: bytes, port: int) -> Any:
        """Make TLS options that verify nothing."""
        return _AnyCertificate(hostname)


@implementer(IOpenSSLClientConnectionCreator)
class _AnyCertificate:
    """Makes TLS connections that verify nothing."""

    def __init__(self, hostname: bytes) -> None:
        self._hostname = hostname

    def clientConnectionForTLS(self, _protocol: Any) -> SSL.Connection:
        """Make one."""
        connection = SSL.Connection(SSL.Context(SSL.TLS_METHOD), None)
        connection.set_tlsext_host_name(self._hostname)
        return connection


def _file_or(environment: Mapping[str, str], name: str) -> str:
    path = environment.get(f"{name}_FROM_FILE")
    return Path(path).read_text() if path else environment.get(name, "")


def _key_and_secret(environment: Mapping[str, str]) -> tuple[str, str]:
    """Read both where lk-jwt-service would; `LIVEKIT_KEY_FILE` goes before the others."""
    both = environment.get("LIVEKIT_KEY_FILE")
    if both:
        key, mark, secret = Path(both).read_text().partition(":")
        if not mark or ":" in secret:
            raise SystemExit("LIVEKIT_KEY_FILE: wanted is one line, `key: secret`")
    else:
        key, secret = (_file_or(environment, name) for name in ("LIVEKIT_KEY", "LIVEKIT_SECRET"))
    key, secret = key.strip(" \r\n"), secret.strip(" \r\n")
    if not key or not secret:
        raise SystemExit("LIVEKIT_KEY and LIVEKIT_SECRET (or their files) are wanted")
    return key, secret


def _full_access(environment: Mapping[str, str]) -> list[str]:
    names = environment.get("LIVEKIT_FULL_ACCESS_HOMESERVERS", "").replace(",", " ").split()
    if not names:
        raise SystemExit("LIVEKIT_FULL_ACCESS_HOMESERVERS is wanted: server names, or *")
    return names


def federation_base(server: str) -> str:
    """Give the federation address of a server name; without a port it is 8448 (no well-known)."""
    has_port = re.search(r":[0-9]{1,5}\Z", server)
    return f"https://{server}" if has_port else f"https://{server}:8448"


def main(reactor: Any, environment: Mapping[str, str] = os.environ) -> Deferred[None]:
    """Serve until the process is ended."""
    key, secret = _key_and_secret(environment)
    public = environment.get("LIVEKIT_URL") or ""
    if not public:
        raise SystemExit("LIVEKIT_URL is wanted")
    api = public.replace("ws://", "http://", 1).replace("wss://", "https://", 1)
    host, _, port = environment.get("LIVEKIT_JWT_BIND", ":8080").rpartition(":")
    trusting = environment.get("LIVEKIT_INSECURE_SKIP_VERIFY_TLS") == "YES_I_KNOW_WHAT_I_AM_DOING"
    agent = Agent(reactor, contextFactory=_Trusting()) if trusting else Agent(reactor)
    app = AuthorizationApp(
        Issuer(key, secret, public),
        userinfo_over(agent, federation_base),
        room_maker(agent, api, key, secret),
        full_access=_full_access(environment),
        read=READINGS[environment.get("LOTUS_SANDBOX_READING", "go")],
    )
    listening = serverFromString(reactor, f"tcp:{port}:interface={host or '0.0.0.0'}")  # noqa: S104
    forever: Deferred[None] = Deferred()
    site = sandbox_site(app.resource())
    started: Deferred[None] = listening.listen(site).addCallback(lambda _: forever)
    return started


if __name__ == "__main__":
    startLogging(sys.stderr)
    react(main)
