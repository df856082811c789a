"""Synapse's admin API: policies of rooms, and who of its own users is in one."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from attrs import define, evolve, field

from lotus_guard.core.ids import is_room_id
from lotus_guard.core.membership import Membership, Standing, server_of
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.objects import json_object, part_of
from lotus_guard.core.power import CREATE, POWER_LEVELS, PowerLevels, read_power
from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.deferreds import gather_bounded
from lotus_guard.enforce.ports import MayNotLook, Outage, Reason
from lotus_guard.neighbours.bearer import Asking, Bearer
from lotus_guard.neighbours.http import Http, HttpAnswer
from lotus_guard.neighbours.our_server import OurServer
from lotus_guard.neighbours.synapse_admin import (
    events_in,
    is_unknown_room,
    joined_rooms_path,
    rooms_path,
    state_path,
)
from lotus_guard.rules.rule import P, Reading
from lotus_guard.rules.state_event import (
    ReadsEvent,
    content_of,
    event_of,
    predecessor_in,
    read_events,
)

SOURCE = "admin"
"""What this way to ask is called where a membership comes from it."""
NAME_EVENTS = (("m.room.name", "name"), ("m.room.canonical_alias", "alias"))
"""Where a room's name stands, or else its alias: types of events and their fields."""
MOST_NAME = 200
"""Characters of a room's name."""
_PAGE = 500
_LONG_PAGE = 1000
"""Rooms of which numbers are asked for: Synapse sorts all its rooms for each page, and 1,000 take
320 KiB, which is read in 3 ms."""


V = TypeVar("V")


@define(eq=False)
class Synapse:
    """Reads policies with an admin's token. Each call raises Outage when it fails."""

    http: Http
    url: str
    """Base address such as `http://127.0.0.1:8008`, without a trailing slash."""
    token: Credential[str]
    seconds: float
    """The deadline of one call."""
    on_call: Callable[[str], None] = lambda _what: None
    """Told of each call, for metrics."""
    on_end: Callable[[Outage | None], None] = lambda _outage: None
    """Told how each call ended."""
    server: OurServer = field(factory=OurServer)
    """Shared by all clients of one homeserver."""
    _bearer: Bearer = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._bearer = Bearer(self.http, self.url, self.token, "the admin token", self.on_end)

    async def policy(self, room: RoomId, rule: ReadsEvent[P]) -> Reading[P]:
        """Read the policy of a rule in a room."""
        return read_events(rule, await self._state(room, rule.event))

    async def membership(self, room: RoomId, user: UserId) -> Standing:
        """Ask whether one of the homeserver's own users is in a room; of others it says nothing."""
        due = self._bearer.due(self.seconds)
        if not self.server.name:
            await self.server.learn(self._whoami, self.http.clock, self.seconds)
        if server_of(user) != self.server.name:
            return Standing(Membership.UNHEARD, False, SOURCE)
        self.on_call("joined_rooms")
        rooms = await self._bearer.ask(joined_rooms_path(user), _joined_rooms, due)
        found = Membership.JOIN if room in rooms else Membership.UNHEARD
        return Standing(found, True, SOURCE)

    async def power(self, room: RoomId) -> PowerLevels:
        """Read who has which power level in a room.

        Of a room that Synapse does not know, or is not in any more, there is no first event. Then
        that there are no levels means nothing: raises MayNotLook.
        """
        kinds = (POWER_LEVELS, CREATE)
        levels, create = await gather_bounded(2, (self._event(room, kind) for kind in kinds))
        if create is None:
            raise MayNotLook("Synapse is not in that room")
        return read_power(None if levels is None else part_of(levels, "content"), create)

    async def rooms(self, start: int) -> tuple[Sequence[RoomId], int | None]:
        """List up to `_PAGE` rooms from the `start`th on, and where to go on."""
        self.on_call("rooms")
        return await self._ask(rooms_path(_PAGE, start), _page)

    async def tallies(self, start: int) -> tuple[Mapping[RoomId, int], int | None]:
        """Count the state events of rooms from the `start`th on, and say where to go on."""
        self.on_call("rooms")
        counts, after = await self._ask(rooms_path(_LONG_PAGE, start), _counted)
        found = {room: count for room, count in counts.items() if isinstance(count, int)}
        if counts and not found:
            raise MayNotLook("this homeserver does not count its rooms' state events")
        return found, after

    async def name(self, room: RoomId) -> str | None:
        """Look up a room's name, or its alias where it has none; None where it has neither."""
        for event_type, key in NAME_EVENTS:
            content = content_of(await self._event(room, event_type))
            name = (content or {}).get(key)
            if name and isinstance(name, str):
                return name[:MOST_NAME]
        return None

    async def predecessor(self, room: RoomId) -> RoomId | None:
        """Ask which room this one replaced; None where it replaced none, or is unknown."""
        return predecessor_in(await self._event(room, CREATE))

    async def ping(self) -> None:
        """See whether it answers, by a question no client can have a hand in; raises Outage.

        Whose the token is, all homeservers can say.
        """
        await self._whoami()

    def within(self, seconds: float) -> "Synapse":
        """The same with another deadline."""
        return evolve(self, seconds=seconds)

    async def _whoami(self) -> UserId:
        self.on_call("whoami")
        return await self._bearer.whoami(self._bearer.due(self.seconds))

    async def _event(self, room: RoomId, event_type: str) -> Mapping[str, Any] | None:
        """Read the event of a type whose state key is empty; None where there is none."""
        return event_of(await self._state(room, event_type) or (), event_type)

    async def _state(self, room: RoomId, event_type: str) -> list[Any] | None:
        """Read the events of a type; None where there is no such room."""
        if not is_room_id(room):
            return None
        self.on_call(event_type)
        return await self._ask(state_path(room, event_type), _events)

    def _ask(self, path: str, read: Callable[[HttpAnswer], V]) -> Asking[V]:
        return self._bearer.ask(path, read, self._bearer.due(self.seconds))


def _events(answer: HttpAnswer) -> list[Any] | None:
    fields = json_object(answer.body) or {}
    if is_unknown_room(answer.status, fields.get("errcode")):
        return None
    events = events_in(fields)
    if answer.status == 200 and events is not None:
        return events
    raise _outage(answer)


def _joined_rooms(answer: HttpAnswer) -> Sequence[object]:
    """Read the rooms that a user has joined; none of a user whom Synapse does not know."""
    fields = json_object(answer.body) or {}
    if answer.status == 404 and fields.get("errcode") == "M_NOT_FOUND":
        return ()
    rooms = fields.get("joined_rooms")
    if answer.status != 200 or not isinstance(rooms, list):
        raise _outage(answer)
    return rooms


def _page(answer: HttpAnswer) -> tuple[Sequence[RoomId], int | None]:
    rooms, after = _rooms(answer)
    return [RoomId(room["room_id"]) for room in rooms], after


def _counted(answer: HttpAnswer) -> tuple[Mapping[RoomId, object], int | None]:
    rooms, after = _rooms(answer)
    return {RoomId(room["room_id"]): room.get("state_events") for room in rooms}, after


def _rooms(answer: HttpAnswer) -> tuple[list[Any], int | None]:
    """Read a page of the list of rooms: those that have an id, and where the next page begins."""
    fields = json_object(answer.body) or {}
    rooms, after = fields.get("rooms"), fields.get("next_batch")
    if answer.status != 200 or not isinstance(rooms, list):
        raise _outage(answer)
    return list(filter(_has_room_id, rooms)), after if isinstance(after, int) else None


def _has_room_id(room: object) -> bool:
    return isinstance(room, dict) and isinstance(room.get("room_id"), str)


def _outage(answer: HttpAnswer) -> Outage:
    """Name what is wrong with an answer that says nothing."""
    if answer.status in (401, 403):
        errcode = (json_object(answer.body) or {}).get("errcode")
        return Outage(
            Reason.UNAUTHORIZED,
            f"Synapse answered {answer.status} ({errcode!s:.40}) to the admin token",
        )
    if answer.status == 404:
        return Outage(
            Reason.NOT_FOUND, "LOTUS_GUARD_SYNAPSE_URL does not lead to Synapse's admin API"
        )
    reason = Reason.SERVER_ERROR if answer.status >= 500 else Reason.GARBAGE
    return Outage(reason, f"unexpected answer {answer.status} from Synapse")
