"""What the sandbox's authorization service holds: its key, whom it lets do what, how it reads."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import jwt
from attrs import define, field

from lotus_guard.core.model import Identity, LiveKitRoom, RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.sandbox.go_http import go_json
from lotus_guard.sandbox.matrix_error import MatrixError
from lotus_guard.sandbox.reading import Reading, read_as_go

UserInfo = Callable[[str, str], Awaitable[str]]
"""Asks the homeserver of this name whose OpenID token this is; raises any error."""
CreateRoom = Callable[[str], Awaitable[None]]
"""Makes a LiveKit room of this name; raises any error."""


@define(eq=False)
class Issuer:
    """Signs tokens; tests change its key, its grants and how it names rooms."""

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
        token = jwt.api_jws.encode(go_json(claims), self.secret, algorithm="HS256")
        return {"url": self.livekit_url, "jwt": token}


IsJoined = Callable[[str, str], Awaitable[bool]]
"""Whether a user, or any user of a server, is in a room; the room comes first. Raises any error."""
AskServer = Callable[[str, Mapping[str, str]], Awaitable[tuple[int, Any]]]
"""Asks the service of another homeserver for a token; returns its status and what it says. Raises
any error."""


@define(eq=False)
class AppService:
    """What the service knows where it stands behind a homeserver, as an application service."""

    hs_token: str = field(repr=False)
    is_joined: IsJoined
    server: str = ""
    """The homeserver's name."""
    ask_server: AskServer | None = None
    """None: there are no other homeservers, and it answers for those that clients name."""


@define(eq=False)
class AuthorizationState:
    """The whole service but for its routes; tests change any part of it."""

    issuer: Issuer
    userinfo: UserInfo
    create_room: CreateRoom
    full_access: Sequence[str] = ("*",)
    """Homeservers whose users make the rooms that they join; `*` for all."""
    read: Reading = read_as_go
    """How bodies are read."""
    behind: AppService | None = None
    """Set where it serves homeservers as well."""
    webhooks: list[tuple[bytes, str]] = field(init=False, factory=list)
    """Each webhook that came: its body and its `Authorization`."""

    async def user_of(self, openid: Mapping[str, Any], claimed: str = "") -> str:
        """Find out whose OpenID token this is; raises MatrixError.

        Where a user is claimed, it must be theirs.
        """
        server = openid["matrix_server_name"]
        refused = MatrixError(401, "M_UNAUTHORIZED", "The OpenID token does not say who this is")
        try:
            user = await self.userinfo(server, openid["access_token"])
        except Exception:
            raise refused from None
        if not user.endswith(f":{server}") or (claimed and claimed != user):
            raise refused
        return user

    async def issue(self, server: str, room: str, slot: str, identity: Identity) -> dict[str, str]:
        """Sign a token for a user of this homeserver, and make the room where they may."""
        answer = self.issuer.answer(room, slot, identity)
        if not self.has_full_access(server):
            return answer
        try:
            await self.create_room(self.issuer.livekit_room(RoomId(room), slot))
        except Exception:
            raise MatrixError(500, "M_UNKNOWN", "The SFU did not make a room") from None
        return answer

    def has_full_access(self, server: str) -> bool:
        """Whether the users of this homeserver make rooms; the others can only join one."""
        return tuple(self.full_access) == ("*",) or server in self.full_access
