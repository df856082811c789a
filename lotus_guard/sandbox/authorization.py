"""A small lk-jwt-service: checks an OpenID token with the homeserver and signs a LiveKit token.

Answers as the real one does (FACTS.md, lk-jwt-service), also where it is odd: it reads JSON as Go
does, keys without regard to case, the last duplicate winning, whatever follows the first value
ignored. Tests use that to show why the guard reads more strictly.

As a process it reads lk-jwt-service's own environment, so that the real binary can take its place:

    python -m lotus_guard.sandbox.authorization
"""

import json
import os
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

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
from zope.interface import implementer

from lotus_guard.bounded import BoundedRequest, QuietSite
from lotus_guard.core.model import Alias, Identity, RoomId, UserId
from lotus_guard.core.naming import ROOM_SLOT, alias_of, identity_of, legacy_identity_of

CORS = {
    "Content-Type": "application/json",
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Allow-Methods": "POST",
    "Access-Control-Allow-Headers": (
        "Accept, Content-Type, Content-Length, Accept-Encoding, X-CSRF-Token"
    ),
}
_DELAY = ("delay_id", "delay_timeout", "delay_cs_api_url")
_LEGACY = ("room", "openid_token", "device_id", *_DELAY)
_GET_TOKEN = ("room_id", "slot_id", "openid_token", "member", *_DELAY)
_OPENID = ("access_token", "token_type", "matrix_server_name", "expires_in")
_MEMBER = ("id", "claimed_user_id", "claimed_device_id")

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
    alias: Callable[[RoomId, str], Alias] = alias_of

    def answer(self, room: str, slot: str, identity: Identity) -> dict[str, str]:
        """Sign a token for an hour."""
        now = int(self.epoch())
        video = {"roomJoin": True, "room": self.alias(RoomId(room), slot), **self.grant}
        claims = {
            "iss": self.key,
            "sub": identity,
            "identity": identity,
            "nbf": now,
            "exp": now + 3600,
            "video": video,
        }
        return {"url": self.livekit_url, "jwt": jwt.encode(claims, self.secret, algorithm="HS256")}


class AuthorizationApp:
    """The service's routes."""

    app = Klein()

    def __init__(
        self,
        issuer: Issuer,
        userinfo: UserInfo,
        create_room: Callable[[str], Awaitable[None]],
        on_webhook: Callable[[bytes, str], None] = lambda _body, _token: None,
    ) -> None:
        self.issuer = issuer
        self._userinfo = userinfo
        self._create_room = create_room
        self._on_webhook = on_webhook

    @app.handle_errors(Refused)  # type: ignore[arg-type]  # Klein types plain functions only
    def refused(self, request: BoundedRequest, failure: Any) -> bytes:
        """Answer an error."""
        request.setResponseCode(failure.value.status)
        return json.dumps(failure.value.body).encode() + b"\n"

    @app.route("/get_token")
    async def get_token(self, request: BoundedRequest) -> bytes:
        """Issue a token (MSC4195)."""
        if not _is_post(request):
            return b""
        fields = _fields(request, _GET_TOKEN)
        user, member = await self._member(fields)
        room, slot = _text(fields, "room_id"), _text(fields, "slot_id")
        device, ident = _text(member, "claimed_device_id"), _text(member, "id")
        return await self._issue(room, slot, identity_of(UserId(user), device, ident))

    @app.route("/sfu/get")
    async def sfu_get(self, request: BoundedRequest) -> bytes:
        """Issue a token (legacy)."""
        if not _is_post(request):
            return b""
        fields = _fields(request, _LEGACY)
        room = _text(fields, "room")
        if not room:
            raise Refused(400, "M_BAD_JSON", "The field `room` is missing")
        user = await self._user(fields)
        device = _text(fields, "device_id")
        return await self._issue(room, ROOM_SLOT, legacy_identity_of(UserId(user), device))

    @app.route("/delegate_delayed_leave")
    async def delegate(self, request: BoundedRequest) -> bytes:
        """Take over a delayed leave; no token comes back."""
        if not _is_post(request):
            return b""
        await self._member(_fields(request, _GET_TOKEN))
        return b"{}\n"

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

    async def _member(self, fields: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
        member = _known(fields.get("member") or {}, _MEMBER)
        if not _text(fields, "room_id") or not _text(fields, "slot_id"):
            raise Refused(400, "M_BAD_JSON", "The field `room_id` or `slot_id` is missing")
        if not all(_text(member, name) for name in _MEMBER):
            raise Refused(400, "M_BAD_JSON", "A field of `member` is missing")
        user = await self._user(fields)
        if user != member["claimed_user_id"]:
            raise Refused(401, "M_UNAUTHORIZED", "The OpenID token is another user's")
        return user, member

    async def _user(self, fields: Mapping[str, Any]) -> str:
        openid = _known(fields.get("openid_token") or {}, _OPENID)
        server, token = _text(openid, "matrix_server_name"), _text(openid, "access_token")
        if not server or not token:
            raise Refused(400, "M_BAD_JSON", "A field of `openid_token` is missing")
        try:
            user = await self._userinfo(server, token)
        except Exception:
            raise Refused(401, "M_UNAUTHORIZED", "The homeserver does not know the token") from None
        if not user.endswith(f":{server}"):
            raise Refused(401, "M_UNAUTHORIZED", "The user is of another homeserver")
        return user

    async def _issue(self, room: str, slot: str, identity: Identity) -> bytes:
        answer = self.issuer.answer(room, slot, identity)
        try:
            await self._create_room(self.issuer.alias(RoomId(room), slot))
        except Exception:
            raise Refused(500, "M_UNKNOWN", "The SFU did not make a room") from None
        return json.dumps(answer, separators=(",", ":")).encode() + b"\n"


def _is_post(request: BoundedRequest) -> bool:
    """Set the CORS headers; True where the request is to be worked on."""
    for name, value in CORS.items():
        request.setHeader(name, value)
    if request.method not in (b"POST", b"OPTIONS"):
        request.setResponseCode(405)
    return bool(request.method == b"POST")


def _fields(request: BoundedRequest, names: Sequence[str]) -> dict[str, Any]:
    text = request.content.read().decode("utf-8", "replace")
    try:
        value, _ = json.JSONDecoder(object_pairs_hook=_as_go_folds).raw_decode(text.lstrip())
    except (ValueError, RecursionError):
        raise Refused(400, "M_NOT_JSON", "The body is not JSON") from None
    return _known(value, names)


def _as_go_folds(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Keys without regard to case, the last one winning."""
    return {key.casefold(): value for key, value in pairs}


def _known(value: object, names: Sequence[str]) -> dict[str, Any]:
    """Refuse what is no object, and fields that the service does not know."""
    if not isinstance(value, dict) or not value.keys() <= set(names):
        raise Refused(400, "M_NOT_JSON", "The body has fields that are not known")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if value is None:
        return ""
    if not isinstance(value, str):
        raise Refused(400, "M_NOT_JSON", f"The field `{name}` is no string")
    return value.encode("utf-8", "surrogatepass").decode("utf-8", "replace")


def room_maker(agent: IAgent, api: str, key: str, secret: str) -> Callable[[str], Awaitable[None]]:
    """Make what makes a room on the SFU."""

    async def create(name: str) -> None:
        claims = {"iss": key, "exp": int(time.time()) + 60, "video": {"roomCreate": True}}
        token = jwt.encode(claims, secret, algorithm="HS256")
        response = await treq.client.HTTPClient(agent).post(
            f"{api}/twirp/livekit.RoomService/CreateRoom",
            json={"name": name, "empty_timeout": 300, "departure_timeout": 20},
            headers=Headers({"Authorization": [f"Bearer {token}"]}),
        )
        body = await response.content()
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
    text = Path(path).read_text() if path else environment.get(name, "")
    return text.strip(" \r\n")


def main(reactor: Any, environment: Mapping[str, str] = os.environ) -> Deferred[None]:
    """Serve until the process is ended."""
    key, secret = _file_or(environment, "LIVEKIT_KEY"), _file_or(environment, "LIVEKIT_SECRET")
    public = environment["LIVEKIT_URL"]
    api = public.replace("ws://", "http://", 1).replace("wss://", "https://", 1)
    host, _, port = environment.get("LIVEKIT_JWT_BIND", ":8080").rpartition(":")
    trusting = environment.get("LIVEKIT_INSECURE_SKIP_VERIFY_TLS") == "YES_I_KNOW_WHAT_I_AM_DOING"
    agent = Agent(reactor, contextFactory=_Trusting()) if trusting else Agent(reactor)
    app = AuthorizationApp(
        Issuer(key, secret, public),
        userinfo_over(agent, lambda server: f"https://{server}"),
        room_maker(agent, api, key, secret),
    )
    listening = serverFromString(reactor, f"tcp:{port}:interface={host or '0.0.0.0'}")  # noqa: S104
    forever: Deferred[None] = Deferred()
    site = QuietSite(app.app.resource(), requestFactory=BoundedRequest)
    started: Deferred[None] = listening.listen(site).addCallback(lambda _: forever)
    return started


if __name__ == "__main__":
    startLogging(sys.stderr)
    react(main)
