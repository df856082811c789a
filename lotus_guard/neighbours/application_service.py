"""Reads rooms with an application service's token, as users of our homeserver: on any homeserver.

Some homeservers answer 404 where there is no such event *and* where the user may not look. So each
reader is asked for their own member event, the canary, which is there for whoever is in the room:
only beside one that says `join` does 404 mean "none" (docs/facts.md, Any homeserver: who may ask
what about a room).
"""

from collections.abc import Callable, Mapping, Sequence
from itertools import islice
from typing import Any

from attrs import define, evolve, field

from lotus_guard.core.ids import is_room_id, is_user_id
from lotus_guard.core.lru import LruDict
from lotus_guard.core.membership import MEMBER, Membership, Standing, server_of
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.objects import json_object, text_of
from lotus_guard.core.power import CREATE, POWER_LEVELS, PowerLevels, read_power
from lotus_guard.enforce.credentials import Credential
from lotus_guard.enforce.deferreds import gather_bounded
from lotus_guard.enforce.eyes import Eyes
from lotus_guard.enforce.ports import MayNotLook, Outage, Reason
from lotus_guard.neighbours.bearer import WHOAMI_PATH, Bearer, unlike_matrix
from lotus_guard.neighbours.client_state import (
    Piece,
    Seen,
    is_refusal,
    read_state,
    said_by,
    state_as_path,
)
from lotus_guard.neighbours.http import Http, HttpAnswer
from lotus_guard.neighbours.our_server import OurServer
from lotus_guard.neighbours.synapse import MOST_NAME, NAME_EVENTS
from lotus_guard.neighbours.synapse_admin import quoted
from lotus_guard.rules.rule import Content, P, Reading
from lotus_guard.rules.state_event import ReadsEvent, predecessor_in, read_events

SOURCE = "application service"
"""What this way to ask is called where a membership comes from it."""
MOST_TRIES = 3
"""Readers that one question is tried with: the guesses among them may all be wrong."""
BARRED_SECONDS = 60.0
"""For so long a user as whom we may not act is the last one to be tried as a reader."""
MOST_KEPT, MOST_BARRED = 20_000, 5_000
_MOST_BYTES = 256 * 1024
"""Bytes of an answer: an event has 64 KiB at most."""


@define(eq=False)
class Memory:
    """What the clients of one application service share."""

    server: OurServer = field(factory=OurServer)
    sender: str = ""
    """The application service's own user, once we were told; empty before."""
    last: LruDict[tuple[RoomId, str], Reading[Any]] = field(factory=lambda: LruDict(MOST_KEPT))
    """The policies that were read last, by room and rule."""
    barred: LruDict[tuple[str, UserId], float] = field(factory=lambda: LruDict(MOST_BARRED))
    """Until when a user reads no room before others do, with the token that does not serve for
    them. No more than that: anybody may name anybody, and make the account afterwards."""
    keeps_last: bool = True
    """Whether the last known policy serves where nobody is left who can look: for where there is no
    other way to ask."""


@define(eq=False)
class ApplicationService:
    """Asks as users of our homeserver. Each question raises Outage, or MayNotLook.

    `seconds` are for a whole question, however many calls it takes.
    """

    http: Http
    url: str
    """Base address such as `http://127.0.0.1:8008`, without a trailing slash."""
    token: Credential[str]
    """Empty where the registration has no users."""
    seconds: float
    eyes: Eyes
    on_call: Callable[[str], None] = lambda _what: None
    """Told of each call, for metrics."""
    on_end: Callable[[Outage | None], None] = lambda _outage: None
    """Told how each call ended. That we may not look somewhere is no failure of a call."""
    memory: Memory = field(factory=Memory)
    _bearer: Bearer = field(init=False)

    def __attrs_post_init__(self) -> None:
        whose = "the application service's token"
        self._bearer = Bearer(self.http, self.url, self.token, whose, self.on_end, _MOST_BYTES)

    async def policy(self, room: RoomId, rule: ReadsEvent[P]) -> Reading[P]:
        """Read the policy of a rule in a room; it is not told when it was set."""
        if not is_room_id(room):
            return read_events(rule, None)
        key = (room, rule.name)
        try:
            content = await self._looked(room, Piece(rule.event), await self._begin())
        except MayNotLook:
            last = self.memory.last.get(key) if self.memory.keeps_last else None
            if last is None:
                raise
            return last
        reading = rule.read(content)
        self.memory.last.put(key, reading)
        return reading

    async def membership(self, room: RoomId, user: UserId) -> Standing:
        """Ask a user of ours themselves, and about others whoever of ours is in the room."""
        due = await self._begin()
        is_ours = server_of(user) == self.memory.server.name
        if not is_room_id(room):
            return Standing(Membership.NO_ROOM, is_ours, SOURCE)
        found = await (self._of_ours if is_ours else self._of_others)(room, user, due)
        return Standing(found, is_ours, SOURCE)

    async def power(self, room: RoomId) -> PowerLevels:
        """Read who has which power level in a room: the levels, and who made it."""
        if not is_room_id(room):
            raise MayNotLook("no homeserver knows a room by that id")
        wanted = Piece(POWER_LEVELS), Piece(CREATE, is_whole=True)
        levels, create = await self._looked_at(room, wanted, await self._begin())
        if create is None:  # there is one in each room
            raise MayNotLook("the user who reads it was not in the room")
        if create.get("type") != CREATE:
            raise Outage(Reason.GARBAGE, "the homeserver sent a room's create event incomplete")
        return read_power(levels, create)

    async def name(self, room: RoomId) -> str | None:
        """Look up a room's name, or its alias; None where it has neither, or nobody can look."""
        due = await self._begin()
        for event_type, key in NAME_EVENTS:
            try:
                content = await self._looked(room, Piece(event_type), due)
            except MayNotLook:
                return None
            if found := text_of(content or {}, key):
                return found[:MOST_NAME]
        return None

    async def predecessor(self, room: RoomId) -> RoomId | None:
        """Ask which room this one replaced; None where it replaced none, or nobody can look."""
        try:
            content = await self._looked(room, Piece(CREATE), await self._begin())
        except MayNotLook:
            return None
        return predecessor_in({"content": content})

    async def rooms(self, start: int) -> tuple[Sequence[RoomId], int | None]:
        """Nobody lists rooms for an application service: raises MayNotLook."""
        raise MayNotLook("an application service cannot list rooms")

    async def tallies(self, start: int) -> tuple[Mapping[RoomId, int], int | None]:
        """Nobody counts rooms' events for an application service: raises MayNotLook."""
        raise MayNotLook("an application service cannot list rooms")

    async def ping(self) -> None:
        """See whether the homeserver takes our token; raises Outage."""
        self._check_token()
        await self._whoami()

    def within(self, seconds: float) -> "ApplicationService":
        """The same with another deadline."""
        return evolve(self, seconds=seconds)

    async def _begin(self) -> float:
        """Begin a question: which users are ours must be known; returns when it must end."""
        self._check_token()
        due = self._bearer.due(self.seconds)
        await self.memory.server.learn(self._whoami, self.http.clock, self.seconds)
        return due

    def _check_token(self) -> None:
        if not self.token.value:
            raise MayNotLook("the application service has no users: its registration names none")

    async def _of_ours(self, room: RoomId, user: UserId, due: float) -> Membership:
        """Ask a user of ours for the canary.

        A refusal means that they are not in the room only where we may act as them. It is asked for
        again then: the first may have had another cause.
        """
        if not is_user_id(user):
            raise MayNotLook("the application service may not act as that user")
        found = await self._canary(room, user, due)
        if found is None:
            await self._check_may_act_as(user, due)
            found = await self._canary(room, user, due)
        if found is Membership.JOIN:
            self.eyes.proved(room, user)
        else:
            self.eyes.forget(room, user)
        return found or Membership.UNHEARD

    async def _of_others(self, room: RoomId, user: UserId, due: float) -> Membership:
        try:
            content = await self._looked(room, Piece(MEMBER, user), due)
        except MayNotLook:
            return Membership.UNHEARD
        return Membership.UNHEARD if content is None else said_by(content)

    async def _looked(self, room: RoomId, piece: Piece, due: float) -> Content | None:
        """Read an event as somebody who is in the room; None where there is none.

        Raises MayNotLook where none of those we know of is in the room any more.
        """
        (content,) = await self._looked_at(room, (piece,), due)
        return content

    async def _looked_at(
        self, room: RoomId, pieces: Sequence[Piece], due: float
    ) -> Sequence[Content | None]:
        """Read several events as one who is in the room; raises MayNotLook as `_looked` does."""
        for reader in islice(self._readers(room), MOST_TRIES):
            try:
                contents = await self._looked_as(reader, room, pieces, due)
            except MayNotLook:
                self.eyes.forget(room, reader)
            else:
                self.eyes.proved(room, reader)
                return contents
        raise MayNotLook("no user is known as whom the application service can read there")

    async def _looked_as(
        self, reader: UserId, room: RoomId, pieces: Sequence[Piece], due: float
    ) -> Sequence[Content | None]:
        """Read them beside the canary; raises MayNotLook where the reader is not in the room.

        Both what is there and that there is nothing are believed between two canaries. Who leaves
        and comes back just then must not make a policy vanish, and Dendrite shows whoever has left
        another event in its place (docs/facts.md, Any homeserver: who may ask what about a room).
        """
        canary, *seen = await gather_bounded(
            1 + len(pieces),
            (self._state(room, each, reader, due) for each in (Piece(MEMBER, reader), *pieces)),
        )
        is_in = await self._said(canary, due) is Membership.JOIN
        says_something = all(each.content is not None or each.is_none for each in seen)
        if is_in and says_something and await self._canary(room, reader, due) is Membership.JOIN:
            return [each.content for each in seen]
        raise MayNotLook("the user who reads it is not in the room")

    def _readers(self, room: RoomId) -> Sequence[UserId]:
        """As whom a room may be read; those come last as whom we could not act a moment ago."""
        name = self.memory.server.name
        ours = (user for user in self.eyes.of(room) if server_of(user) == name)
        return sorted(filter(is_user_id, ours), key=self._is_barred)

    async def _canary(self, room: RoomId, user: UserId, due: float) -> Membership | None:
        """Ask a user of ours for their own member event; None where that is refused."""
        return await self._said(await self._state(room, Piece(MEMBER, user), user, due), due)

    async def _said(self, canary: Seen, due: float) -> Membership | None:
        """What a canary says; None where it is refused.

        Raises MayNotLook where it is refused as if our token were bad, and that is good.
        """
        if canary.status == 401:
            await self._whoami_until(due)
            raise MayNotLook("the application service may not act as that user")
        return None if canary.content is None else said_by(canary.content)

    async def _check_may_act_as(self, user: UserId, due: float) -> None:
        """Raise MayNotLook where we may not act as a user."""
        self.on_call("whoami")
        if await self._bearer.ask(f"{WHOAMI_PATH}?user_id={quoted(user)}", _named, due) == user:
            return
        until = self.http.clock.seconds() + BARRED_SECONDS
        self.memory.barred.put((self.token.value, user), until)
        raise MayNotLook("the application service may not act as that user")

    def _is_barred(self, user: UserId) -> bool:
        until = self.memory.barred.get((self.token.value, user))
        return until is not None and self.http.clock.seconds() < until

    async def _state(self, room: RoomId, piece: Piece, user: str, due: float) -> Seen:
        self.on_call(piece.type)
        return await self._bearer.ask(state_as_path(room, piece, user), read_state, due)

    async def _whoami(self) -> UserId:
        return await self._whoami_until(self._bearer.due(self.seconds))

    async def _whoami_until(self, due: float) -> UserId:
        """Ask who the application service itself is; raises Outage where its token is bad."""
        self.on_call("whoami")
        sender = await self._bearer.whoami(due, self.memory.sender)
        self.memory.sender = sender
        return sender


def _named(answer: HttpAnswer) -> str:
    """Whom `whoami` names; empty where it refuses to act as that user."""
    fields = json_object(answer.body)
    if answer.status == 200 and fields is not None:
        return text_of(fields, "user_id")
    if is_refusal(answer):
        return ""
    raise unlike_matrix(answer)
