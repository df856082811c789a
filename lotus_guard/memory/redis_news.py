"""What several guards tell each other through Redis: news on a channel, and the pushes kept.

One JSON object each (`from` is the guard's instance; an alias is the name of a LiveKit room, its
place the Matrix room, the slot and the evidence; bodies are byte for byte as Latin-1):

    {"from", "kind": "alias", "alias", "place": [room, slot, evidence]}
    {"from", "kind": "identity", "alias", "identity", "user"}
    {"from", "kind": "forget", "alias"}
    {"from", "kind": "push", "header", "body"}            signed by Synapse's module
    {"from", "kind": "webhook", "authorization", "body"}  signed by LiveKit
    {"from", "kind": "issued", "room"}                    a token was given out
    {"from", "kind": "changes", "rooms": [room, ...], "members": [[room, user, membership], ...]}
                                                          of a homeserver's transaction

Whoever hears a push or a webhook verifies it again. The last push for each room is kept, for
guards that start later.
"""

import json
from collections.abc import Mapping
from typing import Any, Protocol

from attrs import define, field

from lotus_guard.core.lru import LruDict
from lotus_guard.core.membership import Membership, membership_of
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.objects import text_of
from lotus_guard.enforce.ports import Now
from lotus_guard.enforce.transactions import Changes
from lotus_guard.memory.redis_directory import RedisDirectory
from lotus_guard.memory.redis_keys import Keyspace, in_background

KEEP_MILLISECONDS = 7 * 86400 * 1000
"""How long Redis keeps the pushed policies."""
MOST_POLICIES = 20_000
ISSUED_SECONDS = 2.0
"""Of the tokens of a room, the others are told once in so many seconds."""


class NewsListener(Protocol):
    """Takes up what the other guards tell."""

    def on_push(self, body: bytes, header: str) -> None:
        """Take in a push that another guard got."""

    def on_old_push(self, body: bytes, header: str) -> None:
        """Take in a push that some guard got before this one listened."""

    def on_webhook(self, body: bytes, authorization: str) -> None:
        """Take in a webhook that another guard got."""

    def on_issued(self, room: RoomId) -> None:
        """Take note that another guard has given out a token for a room."""

    def on_changes(self, changes: Changes) -> None:
        """Take in what the homeserver told another guard in a transaction."""


@define(eq=False)
class NewsTeller:
    """Tells the other guards what this one hears and does."""

    keys: Keyspace
    now: Now
    _issued: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(20_000))

    def pushed(self, room: RoomId | None, body: bytes, header: str) -> None:
        """Publish a push that was believed, and keep it for guards that start later."""
        written = body.decode("latin-1")
        in_background(self.keys.tell("push", header=header, body=written))
        if room is not None:
            in_background(self._keep(room, json.dumps([header, written])))

    def hooked(self, body: bytes, authorization: str) -> None:
        """Publish a genuine webhook."""
        written = body.decode("latin-1")
        in_background(self.keys.tell("webhook", authorization=authorization, body=written))

    def issued(self, room: RoomId) -> None:
        """Publish that a token was issued for a room."""
        last = self._issued.get(room)
        if last is None or self.now() - last >= ISSUED_SECONDS:
            self._issued.put(room, self.now())
            in_background(self.keys.tell("issued", room=room))

    def changed(self, changes: Changes) -> None:
        """Publish what a transaction has changed."""
        rooms, members = list(changes.rooms), [list(each) for each in changes.members]
        in_background(self.keys.tell("changes", rooms=rooms, members=members))

    async def trim(self) -> None:
        """Drop the pushes that are kept, where they are too many; raises Outage."""
        if int(await self.keys.command("HLEN", "policies")) > MOST_POLICIES:
            await self.keys.command("DEL", "policies")

    async def _keep(self, room: RoomId, written: str) -> None:
        await self.keys.command("HSET", "policies", room, written)
        await self.keys.command("PEXPIRE", "policies", KEEP_MILLISECONDS)


@define(eq=False)
class NewsReader:
    """Hands what the other guards tell to whom it concerns."""

    keys: Keyspace
    directory: RedisDirectory
    listener: NewsListener

    @property
    def channel(self) -> str:
        """Where the others tell it."""
        return self.keys.channel

    def hear(self, news: Mapping[str, Any]) -> None:
        """Take up a piece of news."""
        if news.get("from") == self.keys.instance:
            return
        kind = text_of(news, "kind")
        body = text_of(news, "body").encode("latin-1", "replace")
        if kind == "push":
            self.listener.on_push(body, text_of(news, "header"))
        elif kind == "webhook":
            self.listener.on_webhook(body, text_of(news, "authorization"))
        elif kind == "issued":
            self.listener.on_issued(RoomId(text_of(news, "room")))
        elif kind == "changes":
            self.listener.on_changes(_changes_in(news))
        else:
            self.directory.hear(kind, news)

    def listen(self) -> None:
        """Take up all that is written down, now that nothing more is missed."""
        in_background(self._load())

    async def _load(self) -> None:
        await self.directory.load()
        async for _room, written in self.keys.pairs("policies"):
            header, body = json.loads(written)
            self.listener.on_old_push(body.encode("latin-1", "replace"), header)


def _changes_in(news: Mapping[str, Any]) -> Changes:
    """Read what another guard tells; what makes no sense is passed over."""
    rooms, members = (_list_in(news, name) for name in ("rooms", "members"))
    found = [_member(each) for each in members]
    return Changes(
        [RoomId(each) for each in rooms if isinstance(each, str)],
        [each for each in found if each is not None],
    )


def _list_in(news: Mapping[str, Any], name: str) -> list[object]:
    value = news.get(name)
    return value if isinstance(value, list) else []


def _member(said: object) -> tuple[RoomId, UserId, Membership] | None:
    if not isinstance(said, list) or [type(each) for each in said] != [str] * 3:
        return None
    room, user, membership = said
    read = membership_of(membership)
    return None if read is Membership.UNHEARD else (RoomId(room), UserId(user), read)
