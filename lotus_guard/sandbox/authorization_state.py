"""What the sandbox's authorization service holds: its key, whom it lets do what, how it reads."""

import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import define, field

from lotus_guard.core.model import Identity, LiveKitRoom, RoomId
from lotus_guard.sandbox.generation import GO, Claims, Generation
from lotus_guard.sandbox.matrix_error import MatrixError

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
    grant: Mapping[str, Any] | None = None
    """Instead of what its generation grants."""
    livekit_room: Callable[[RoomId, str], LiveKitRoom] | None = None
    """Names rooms instead of its generation."""

    def room_of(self, room: str, slot: str, by: Generation = GO) -> LiveKitRoom:
        """Name the LiveKit room of a slot."""
        return (self.livekit_room or by.livekit_room)(RoomId(room), slot)

    def answer(
        self,
        room: str,
        slot: str,
        identity: Identity,
        by: Generation = GO,
        publishes: bool = True,
    ) -> dict[str, str]:
        """Sign a token for an hour."""
        now = int(self.epoch())
        said = Claims(self.key, identity, self.room_of(room, slot, by), now, self.grant, publishes)
        return {"url": self.livekit_url, "jwt": by.sign(said, self.secret)}


IsJoined = Callable[[str, str], Awaitable[bool]]
"""Whether a user, or any user of a server, is in a room; the room comes first. Raises any error."""
AskServer = Callable[[str, Mapping[str, str]], Awaitable[tuple[int, Any]]]
"""Asks the service of another homeserver for a token; returns its status and what it says. Raises
any error."""


@define(eq=False)
class AppService:
    """What the service knows where it stands behind a homeserver, as an application service."""

    hs_token: str = field(repr=False)
    server: str
    """The name of its homeserver."""
    is_joined: IsJoined
    ask_server: AskServer | None = None
    """None where no other homeserver can be reached."""


@define(eq=False)
class AuthorizationState:
    """The whole service but for its routes; tests change any part of it."""

    issuer: Issuer
    userinfo: UserInfo
    create_room: CreateRoom
    full_access: Sequence[str] = ("*",)
    """Homeservers whose users make the rooms that they join; `*` for all."""
    generation: Generation = GO
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
        answer = self.issuer.answer(room, slot, identity, self.generation)
        if self.has_full_access(server):
            await self.make_room(self.issuer.room_of(room, slot, self.generation))
        return answer

    async def make_room(self, room: LiveKitRoom) -> None:
        """Make a room on the SFU; raises MatrixError."""
        try:
            await self.create_room(room)
        except Exception:
            raise MatrixError(500, "M_UNKNOWN", "The SFU did not make a room") from None

    def has_full_access(self, server: str) -> bool:
        """Whether the users of this homeserver make rooms; the others can only join one."""
        return tuple(self.full_access) == ("*",) or server in self.full_access
