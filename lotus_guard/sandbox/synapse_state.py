"""What the sandbox's homeserver knows: accounts, rooms with state, OpenID tokens.

A room made here has no power levels until somebody sets them, and until then every member may set
any state. Elsewhere there is no such room, and in one its creator alone might.
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import define, field, frozen

from lotus_guard.core.membership import MEMBER
from lotus_guard.core.power import CREATE, POWER_LEVELS, read_power
from lotus_guard.sandbox.acting import ApplicationService
from lotus_guard.sandbox.temper import SYNAPSE, Temper

Event = dict[str, Any]
MOST_ASKED = 1000
NAMELESS_CREATORS = 11
"""The first room version whose first event does not name who made the room."""
RoomState = dict[tuple[str, str], Event]
"""By type and state key."""
HandOn = Callable[[bytes, bytes, dict[bytes, bytes], bytes], Awaitable["HandedOn"]]
"""Makes a request: method, URL, headers, body. Raises any error."""


@frozen
class HandedOn:
    """What an application service answered."""

    status: int
    headers: Mapping[bytes, Sequence[bytes]]
    body: bytes


@frozen
class Proxy:
    """An application service that takes what begins with `rtc/livekit` (MSC4512)."""

    url: str
    """`proxy_url` of its registration."""
    hs_token: str
    as_token: str
    hand_on: HandOn


@define
class Account:
    """A user of the sandbox's homeserver."""

    user_id: str
    access_token: str
    admin: bool = False


@define
class SynapseState:
    """The homeserver's data, and the odd ways that a test may give it."""

    new_id: Callable[[], str]
    """Returns an id that nothing else has."""
    temper: Temper = SYNAPSE
    version: str = "1.163.0"
    ignores_type: bool = False
    """Older releases send a room's whole state whatever `type` asks for (docs/facts.md, Synapse:
    admin API)."""
    is_postgresql: bool = False
    """Whether a room id with NUL is a server error, as on PostgreSQL; on SQLite it is unknown."""
    hangs_for: str = ""
    """A type of event; the admin API is asked for it in vain."""
    whoami_hangs: bool = False
    """Whether it does not even say whose a token is."""
    proxy: Proxy | None = None
    """Where requests for tokens are handed on to; None where no application service takes them."""
    transports: list[dict[str, str]] = field(init=False, factory=list)
    """Where calls are, as it tells its users."""
    accounts: dict[str, Account] = field(init=False, factory=dict)
    """By access token."""
    openid: dict[str, str] = field(init=False, factory=dict)
    """OpenID token → user id."""
    services: list[ApplicationService] = field(init=False, factory=list)
    """Those that ask as its users."""
    rooms: dict[str, RoomState] = field(init=False, factory=dict)
    """Room id → its state."""
    frozen: dict[tuple[str, str], RoomState] = field(init=False, factory=dict)
    """Room and user → the room's state when the user's membership was last set."""
    aliases: dict[str, str] = field(init=False, factory=dict)
    """Alias → room id."""
    waits: list[int] = field(init=False, factory=list)
    """Milliseconds for which, one after another, requests to set state are told to wait."""
    asked: list[str] = field(init=False, factory=list)
    """What the admin API was asked for: `rooms`, or a type of event. The last ones alone."""
    set_count: int = field(init=False, default=0)
    """How often state was set; makes the ids and the order of events."""

    def note(self, what: str) -> None:
        """Take down what the admin API is asked for."""
        self.asked.append(what)
        del self.asked[:-MOST_ASKED]

    def add_account(self, user_id: str, access_token: str, admin: bool = False) -> Account:
        """Make an account."""
        account = Account(user_id, access_token, admin)
        self.accounts[access_token] = account
        return account

    def add_room(self, room_id: str, creator: str, version: int = 10, **more: Any) -> None:
        """Make a room of a version, with more in its first event."""
        self.rooms[room_id] = {}
        named = {"creator": creator} if version < NAMELESS_CREATORS else {}
        content = {"room_version": str(version), **named, **more}
        self.set_state(room_id, CREATE, content, sender=creator)
        self.join(room_id, creator)

    def set_power(self, room_id: str, users: Mapping[str, object], **more: Any) -> None:
        """Set the power levels of users in a room, with more in the event."""
        self.set_state(room_id, POWER_LEVELS, {"users": dict(users), **more})

    def join(self, room_id: str, user_id: str) -> None:
        """Make a user a member of a room."""
        self.set_state(room_id, MEMBER, {"membership": "join"}, user_id, user_id)

    def set_membership(self, room_id: str, user_id: str, membership: str, sender: str = "") -> None:
        """Have a user `join`, `invite`, `knock`, `leave` or `ban`; by themselves, or the sender."""
        content = {"membership": membership}
        self.set_state(room_id, MEMBER, content, user_id, sender or user_id)

    def membership(self, room_id: str, user_id: str) -> str:
        """A user's membership in a room; empty where there is no event, or no such room."""
        event = self.rooms.get(room_id, {}).get((MEMBER, user_id))
        return str(event["content"].get("membership", "")) if event else ""

    def deactivate(self, user_id: str) -> None:
        """End an account: the user leaves all rooms, and still counts as a user."""
        for room_id in self.joined_rooms(user_id):
            self.set_membership(room_id, user_id, "leave")
            if self.temper.forgets_deactivated:
                del self.frozen[room_id, user_id]

    def joined_rooms(self, user_id: str) -> list[str]:
        """The rooms that a user is in."""
        return [room for room in self.rooms if self.membership(room, user_id) == "join"]

    def members(self, room_id: str) -> list[str]:
        """The users who are in a room."""
        return [
            key
            for (event_type, key), event in self.rooms[room_id].items()
            if event_type == MEMBER and event["content"].get("membership") == "join"
        ]

    def set_state(
        self,
        room_id: str,
        event_type: str,
        content: dict[str, Any],
        key: str = "",
        sender: str = "",
    ) -> None:
        """Set a state event."""
        self.set_count += 1
        self.rooms[room_id][event_type, key] = {
            "type": event_type,
            "state_key": key,
            "content": content,
            "sender": sender,
            "room_id": room_id,
            "event_id": f"${self.set_count:043d}",
            "origin_server_ts": self.set_count,
            "unsigned": {},
        }
        if event_type == MEMBER:
            self.frozen[room_id, key] = dict(self.rooms[room_id])

    def levels(self, room_id: str, event_type: str, user_id: str) -> tuple[float, int]:
        """A user's power level in a room, and the one that setting such an event needs."""
        state = self.rooms[room_id]
        event = state.get((POWER_LEVELS, ""))
        power = read_power(event["content"] if event else None, state[CREATE, ""])
        return power.of(user_id), power.needed(event_type) if event else 0
