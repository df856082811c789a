"""What several guards tell each other through Redis: aliases, identities, hints, decisions.

What one guard learns it writes down and says on a channel; the others take it up. All of it is read
when the channel is (again) listened to, so what was said meanwhile is not missed. News, one JSON
object each (`from` is the guard's instance; bodies are byte for byte as Latin-1):

    {"from", "kind": "alias", "alias", "place": [room, slot, grounds]}
    {"from", "kind": "identity", "alias", "identity", "user"}
    {"from", "kind": "forget", "alias"}
    {"from", "kind": "push", "header", "body"}            signed by Synapse's module
    {"from", "kind": "webhook", "authorization", "body"}  signed by LiveKit
    {"from", "kind": "issued", "room"}                    a token was given out

Whoever hears a push or a webhook verifies it himself.
"""

import json
from collections.abc import (
    AsyncIterator,
    Callable,
    Collection,
    Coroutine,
    Iterator,
    Sequence,
)
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred, succeed
from twisted.logger import Logger

from lotus_guard.core.directory import Change, Directory, Grounds, LruDict, Place
from lotus_guard.core.ids import MOST_NAME, fits
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.enforce.deferreds import gather_bounded, ignoring
from lotus_guard.enforce.ports import Now, Outage
from lotus_guard.memory.redis_connection import Server
from lotus_guard.memory.redis_scripts import BIND, string
from lotus_guard.memory.sqlite_schema import MOST_DECISIONS, Batch
from lotus_guard.rules import RULES
from lotus_guard.rules.decision import REQUEST, Decision, Deed, from_json

_DECIDERS = (*(rule.name for rule in RULES), REQUEST)
"""Who decides: each has a stream of decisions of its own."""

_log = Logger()

SOON_SECONDS = 0.5
KEEP_MILLISECONDS = 7 * 86400 * 1000
"""How long Redis keeps the identities of an alias and the pushed policies."""
MOST_POLICIES = 20_000
ISSUED_SECONDS = 2.0
"""Of the tokens of a room, the others are told once in so many seconds."""
AT_ONCE = 16
PIECE = 500


@define
class Subscribers:
    """Who takes up what was heard."""

    push: Callable[[bytes, str], None] = lambda _body, _header: None
    recall: Callable[[bytes, str], None] = lambda _body, _header: None
    """A push that was heard earlier, by whom ever."""
    webhook: Callable[[bytes, str], None] = lambda _body, _authorization: None
    issued: Callable[[RoomId], None] = lambda _room: None


@define(eq=False)
class RedisStore:
    """Keeps in Redis what a guard learns, and takes up what the others do."""

    server: Server
    prefix: str
    knowledge: Directory
    clock: Any
    now: Now
    epoch: Callable[[], float]
    instance: str
    keep_seconds: float = 7 * 86400.0
    ears: Subscribers = field(factory=Subscribers)
    _batch: Batch = field(init=False, factory=Batch)
    _soon: Any = field(default=None, init=False)
    _is_hearing: bool = field(default=False, init=False)
    """What is learnt at this moment came from the others."""
    _issued: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(20_000))
    _unbound: set[LiveKitRoom] = field(init=False, factory=set)
    _dropped: set[tuple[LiveKitRoom, Identity]] = field(init=False, factory=set)
    """Aliases and identities that are to be deleted."""

    @property
    def channel(self) -> str:
        """Where news is said."""
        return f"{self.prefix}news"

    def open(self) -> None:
        """Begin to take note of changes."""
        self.knowledge.on_learnt = self.learnt
        self.knowledge.on_forgotten = self.forgotten
        self.knowledge.on_dropped = self.dropped

    def learnt(self, change: Change) -> None:
        """Write down a thing learnt and tell the others."""
        if change.livekit_room:
            self._unbound.discard(change.livekit_room)
        if change.livekit_room and change.identity:
            self._dropped.discard((change.livekit_room, change.identity))
        if self._is_hearing:
            return
        if change.livekit_room and change.place:
            self._go(self._bind(change.livekit_room, change.place))
        if change.identity and change.user:
            self._go(
                self._name(change.livekit_room or LiveKitRoom(""), change.identity, change.user)
            )

    def forgotten(self, livekit_room: LiveKitRoom) -> None:
        """Delete an alias and the identities that were learnt in it, and tell the others."""
        if not self._is_hearing:
            self._go(self._forget(livekit_room))

    def dropped(self, livekit_room: LiveKitRoom, identities: Collection[Identity] | None) -> None:
        """Delete what there is no room for here, with all else of the same half second.

        The others are not told: what they have in use, they keep.
        """
        if identities is None:
            self._unbound.add(livekit_room)
        self._dropped.update((livekit_room, identity) for identity in identities or ())
        self._shortly()

    def decided(self, decision: Decision) -> None:
        """Write down a decision, with all others of the same half second."""
        self._batch.decided(decision)
        self._shortly()

    def pushed(self, room: RoomId | None, body: bytes, header: str) -> None:
        """Tell the others of a push that was believed, and keep it for who starts later."""
        written = body.decode("latin-1")
        self._go(self._say("push", header=header, body=written))
        if room is not None:
            self._go(self._keep_policy(room, json.dumps([header, written])))

    def hooked(self, body: bytes, authorization: str) -> None:
        """Tell the others of a genuine webhook."""
        written = body.decode("latin-1")
        self._go(self._say("webhook", authorization=authorization, body=written))

    def issued(self, room: RoomId) -> None:
        """Tell the others that a token was given out for a room."""
        last = self._issued.get(room)
        if last is None or self.now() - last >= ISSUED_SECONDS:
            self._issued.put(room, self.now())
            self._go(self._say("issued", room=room))

    def hear(self, news: dict[str, Any]) -> None:
        """Take up a piece of news."""
        if news.get("from") == self.instance:
            return
        kind = string(news, "kind")
        body = string(news, "body").encode("latin-1", "replace")
        if kind == "push":
            self.ears.push(body, string(news, "header"))
        elif kind == "webhook":
            self.ears.webhook(body, string(news, "authorization"))
        elif kind == "issued":
            self.ears.issued(RoomId(string(news, "room")))
        else:
            self._hear_knowledge(kind, news)

    def listen(self) -> None:
        """Take up all that is written down, now that nothing more is missed."""
        self._go(self._load())

    def beat(self) -> None:
        """Drop what is too old or too much."""
        self._go(self._trim())

    async def decisions(
        self, room: str | None = None, user: str | None = None, most: int = 100
    ) -> list[Decision]:
        """Read the newest decisions on a room and a user; nothing where Redis has trouble."""
        found: list[Decision] = []
        try:
            for key in self._streams():
                found += await self._read(key, room, user, most)
        except Outage:
            return []
        return sorted(found, key=lambda decision: decision.at, reverse=True)[:most]

    def close(self) -> Deferred[None]:
        """Write what is left."""
        if self._soon is not None and self._soon.active():
            self._soon.cancel()
            self._write()
        return succeed(None)

    # --- writing ---

    def _shortly(self) -> None:
        if self._soon is None:
            self._soon = self.clock.callLater(SOON_SECONDS, self._write)

    def _write(self) -> None:
        self._soon = None
        self._write_decisions()
        unbound, self._unbound = self._unbound, set()
        dropped, self._dropped = self._dropped, set()
        if unbound or dropped:
            self._go(self._delete(sorted(unbound), dropped))

    async def _delete(
        self,
        livekit_rooms: Sequence[LiveKitRoom],
        identities: Collection[tuple[LiveKitRoom, Identity]],
    ) -> None:
        for some in _pieces(livekit_rooms):
            await self.server.command("HDEL", f"{self.prefix}aliases", *some)
        by_alias: dict[LiveKitRoom, list[Identity]] = {}
        for livekit_room, identity in identities:
            by_alias.setdefault(livekit_room, []).append(identity)
        for livekit_room, found in by_alias.items():
            for some in _pieces(found):
                await self.server.command("HDEL", f"{self.prefix}users:{livekit_room}", *some)

    def _go(self, work: Coroutine[Any, Any, Any]) -> None:
        """Do what nobody waits for; an outage has been counted where it happened."""
        ignoring(ensureDeferred(work), Outage)

    async def _say(self, kind: str, **fields: str) -> None:
        news = {"from": self.instance, "kind": kind, **fields}
        await self.server.command("PUBLISH", self.channel, json.dumps(news))

    async def _bind(self, livekit_room: LiveKitRoom, place: Place) -> None:
        written = _write(place)
        is_proof = int(place.grounds is Grounds.PROOF)
        held = await self.server.script(
            BIND, [f"{self.prefix}aliases"], [livekit_room, json.dumps(written), is_proof]
        )
        there = json.loads(held)
        if there != written:
            self._adopt(livekit_room, there)  # another guard was taught earlier
        else:
            news = {"from": self.instance, "kind": "alias", "alias": livekit_room, "place": written}
            await self.server.command("PUBLISH", self.channel, json.dumps(news))

    async def _name(self, livekit_room: LiveKitRoom, identity: Identity, user: UserId) -> None:
        key = f"{self.prefix}users:{livekit_room}"
        await self.server.command("HSET", key, identity, user)
        await self.server.command("PEXPIRE", key, KEEP_MILLISECONDS)
        await self._say("identity", alias=livekit_room, identity=identity, user=user)

    async def _forget(self, livekit_room: LiveKitRoom) -> None:
        await self.server.command("HDEL", f"{self.prefix}aliases", livekit_room)
        await self.server.command("DEL", f"{self.prefix}users:{livekit_room}")
        await self._say("forget", alias=livekit_room)

    async def _keep_policy(self, room: RoomId, written: str) -> None:
        key = f"{self.prefix}policies"
        await self.server.command("HSET", key, room, written)
        await self.server.command("PEXPIRE", key, KEEP_MILLISECONDS)

    def _write_decisions(self) -> None:
        batch, self._batch = self._batch, Batch()
        for decision in batch.in_order():
            key = self._stream(decision.ruling.deed, decision.ruling.rule)
            body = json.dumps(decision.as_json())
            self._go(
                self.server.command("XADD", key, "MAXLEN", "~", MOST_DECISIONS, "*", "d", body)
            )

    async def _trim(self) -> None:
        oldest = max(0, int((self.epoch() - self.keep_seconds) * 1000))
        for key in self._streams():
            await self.server.command("XTRIM", key, "MINID", "~", oldest)
        if int(await self.server.command("HLEN", f"{self.prefix}policies")) > MOST_POLICIES:
            await self.server.command("DEL", f"{self.prefix}policies")

    # --- reading ---

    def _hear_knowledge(self, kind: str, news: dict[str, Any]) -> None:
        livekit_room = LiveKitRoom(string(news, "alias"))
        if kind == "alias":
            self._adopt(livekit_room, news.get("place"))
        elif kind == "identity":
            self._take_user(livekit_room, string(news, "identity"), string(news, "user"))
        elif kind == "forget":
            self._hearing(lambda: self.knowledge.forget([livekit_room]))

    def _adopt(self, livekit_room: LiveKitRoom, written: Any) -> bool:
        """Take an alias up as another guard has it; tells whether it is one."""
        place = _read(written) if fits(livekit_room, MOST_NAME) else None
        if place is not None:
            self._hearing(lambda: self.knowledge.adopt(livekit_room, place))
        return place is not None

    def _take_user(self, livekit_room: LiveKitRoom, identity: str, user: str) -> None:
        if identity and user and fits(identity, MOST_NAME) and fits(user, MOST_NAME):
            self._hearing(
                lambda: self.knowledge.learn_identity(
                    Identity(identity), UserId(user), livekit_room
                )
            )

    def _hearing(self, work: Callable[[], Any]) -> None:
        self._is_hearing = True
        try:
            work()
        finally:
            self._is_hearing = False

    async def _load(self) -> None:
        ours = dict(self.knowledge.places())
        livekit_rooms: list[LiveKitRoom] = []
        async for name, written in self._pairs("aliases"):
            if self._adopt(LiveKitRoom(name), _json(written)):
                livekit_rooms.append(LiveKitRoom(name))
            else:
                self.dropped(LiveKitRoom(name), None)  # too long, or none of ours
        await gather_bounded(
            AT_ONCE, (self._load_users(livekit_room) for livekit_room in livekit_rooms)
        )
        async for _room, written in self._pairs("policies"):
            header, body = json.loads(written)
            self.ears.recall(body.encode("latin-1", "replace"), header)
        # What we learnt while Redis was away, or had been emptied, the others do not know yet.
        await gather_bounded(
            AT_ONCE,
            (self._bind(a, place) for a, place in ours.items() if a not in set(livekit_rooms)),
        )
        users = [(i, known) for i, known in self.knowledge.users() if known[1] in ours]
        missing = [(i, known) for i, known in users if known[1] not in set(livekit_rooms)]
        await gather_bounded(
            AT_ONCE,
            (
                self._name(livekit_room, identity, user)
                for identity, (user, livekit_room) in missing
            ),
        )

    async def _load_users(self, livekit_room: LiveKitRoom) -> None:
        async for identity, user in self._pairs(f"users:{livekit_room}"):
            self._take_user(livekit_room, identity, user)

    async def _pairs(self, name: str) -> AsyncIterator[tuple[str, str]]:
        """Read a hash in pieces, each of which comes in time however many there are."""
        cursor = "0"
        while True:
            words = ("HSCAN", f"{self.prefix}{name}", cursor, "COUNT", PIECE)
            cursor, found = await self.server.command(*words)
            for pair in zip(found[::2], found[1::2], strict=True):
                yield pair
            if cursor == "0":
                return

    def _stream(self, deed: str, rule: str) -> str:
        return f"{self.prefix}decisions:{deed}:{rule}"

    def _streams(self) -> list[str]:
        return [self._stream(deed, rule) for deed in Deed for rule in _DECIDERS]

    async def _read(
        self, key: str, room: str | None, user: str | None, most: int
    ) -> list[Decision]:
        found: list[Decision] = []
        last = "+"
        while len(found) < most:
            entries = await self.server.command("XREVRANGE", key, last, "-", "COUNT", PIECE)
            for number, (_name, body) in entries:
                decision = from_json(json.loads(body))
                ruling = decision.ruling
                if room in (None, ruling.room) and user in (None, ruling.user):
                    found.append(decision)
                last = f"({number}"
            if len(entries) < PIECE:
                break
        return found


def _write(place: Place) -> list[str]:
    return [place.room, place.slot, place.grounds.value]


def _read(written: Any) -> Place | None:
    try:
        room, slot, grounds = written
        place = Place(RoomId(str(room)), str(slot), Grounds(grounds))
    except (ValueError, TypeError):
        return None
    return place if fits(place.room) and fits(place.slot) else None


def _json(written: str) -> Any:
    try:
        return json.loads(written)
    except ValueError:
        return None


def _pieces(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a list into pieces, each of which Redis takes in time."""
    return (names[start : start + PIECE] for start in range(0, len(names), PIECE))
