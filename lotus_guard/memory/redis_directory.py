"""LiveKit rooms and identities in Redis: what one guard has learnt, all know.

What this guard learns it writes down and tells the others; what they tell it takes up, and tells
nobody again. All of it is read when the channel is (again) listened to.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any

from attrs import define, field

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Directory, DirectoryListener
from lotus_guard.core.ids import MOST_NAME, fits
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.objects import text_of
from lotus_guard.enforce.deferreds import gather_bounded
from lotus_guard.memory.redis_keys import PIECE, Keyspace, in_background
from lotus_guard.memory.redis_scripts import BIND, NAME

SOON_SECONDS = 0.5
KEEP_MILLISECONDS = 7 * 86400 * 1000
"""How long Redis keeps the identities learnt in a LiveKit room that nobody adds to."""
AT_ONCE = 16


@define(eq=False)
class RedisDirectory(DirectoryListener):
    """Keeps a directory's entries in Redis."""

    keys: Keyspace
    reactor: Any
    _directory: Directory | None = field(default=None, init=False)
    _soon: Any = field(default=None, init=False)
    _is_hearing: bool = field(default=False, init=False)
    """What is learnt at this moment came from the others."""
    _unbound: set[LiveKitRoom] = field(init=False, factory=set)
    _dropped: set[tuple[LiveKitRoom, Identity]] = field(init=False, factory=set)
    """LiveKit rooms and identities that are to be deleted."""

    def open(self, directory: Directory) -> None:
        """Take what the others tell up into this directory from now on."""
        self._directory = directory

    # What this guard learns.

    def learnt_room(self, livekit_room: LiveKitRoom, binding: Binding) -> None:
        """Write down where a LiveKit room belongs, and tell the others."""
        self._unbound.discard(livekit_room)
        if not self._is_hearing:
            in_background(self._bind(livekit_room, binding))

    def learnt_identity(self, livekit_room: LiveKitRoom, identity: Identity, user: UserId) -> None:
        """Write down whose an identity is, and tell the others."""
        self._dropped.discard((livekit_room, identity))
        if not self._is_hearing:
            in_background(self._name(livekit_room, identity, user))

    def forgotten(self, livekit_room: LiveKitRoom) -> None:
        """Delete a LiveKit room and the identities that were learnt in it, and tell the others."""
        if not self._is_hearing:
            in_background(self._forget(livekit_room))

    def dropped_room(self, livekit_room: LiveKitRoom) -> None:
        """Delete a LiveKit room, with all else of the same half second.

        The others are not told: what they have in use, they keep.
        """
        self._unbound.add(livekit_room)
        self._shortly()

    def dropped_identities(
        self, livekit_room: LiveKitRoom, identities: Collection[Identity]
    ) -> None:
        """Delete identities, with all else of the same half second; the others are not told."""
        self._dropped.update((livekit_room, identity) for identity in identities)
        self._shortly()

    def close(self) -> None:
        """Delete what is still to be deleted."""
        if self._soon is not None and self._soon.active():
            self._soon.cancel()
            self._delete_dropped()

    def _shortly(self) -> None:
        if self._soon is None:
            self._soon = self.reactor.callLater(SOON_SECONDS, self._delete_dropped)

    def _delete_dropped(self) -> None:
        self._soon = None
        unbound, self._unbound = self._unbound, set()
        dropped, self._dropped = self._dropped, set()
        if unbound or dropped:
            in_background(self._delete(sorted(unbound), dropped))

    async def _delete(
        self,
        livekit_rooms: Sequence[LiveKitRoom],
        identities: Collection[tuple[LiveKitRoom, Identity]],
    ) -> None:
        for some in _pieces(livekit_rooms):
            await self.keys.command("HDEL", "aliases", *some)
        by_room: dict[LiveKitRoom, list[Identity]] = {}
        for livekit_room, identity in identities:
            by_room.setdefault(livekit_room, []).append(identity)
        for livekit_room, found in by_room.items():
            for some in _pieces(found):
                await self.keys.command("HDEL", f"users:{livekit_room}", *some)

    async def _bind(self, livekit_room: LiveKitRoom, binding: Binding) -> None:
        written = _write(binding)
        is_proof = int(binding.evidence is Evidence.PROOF)
        held = await self.keys.script(
            BIND, ["aliases"], [livekit_room, json.dumps(written), is_proof]
        )
        there = json.loads(held)
        if there != written:
            self._adopt(livekit_room, there)  # another guard was told earlier
        else:
            await self.keys.tell("alias", alias=livekit_room, place=written)

    async def _name(self, livekit_room: LiveKitRoom, identity: Identity, user: UserId) -> None:
        news = self.keys.news("identity", alias=livekit_room, identity=identity, user=user)
        arguments = (identity, user, KEEP_MILLISECONDS, news)
        await self.keys.script(NAME, [f"users:{livekit_room}", "news"], arguments)

    async def _forget(self, livekit_room: LiveKitRoom) -> None:
        await self.keys.command("HDEL", "aliases", livekit_room)
        await self.keys.command("DEL", f"users:{livekit_room}")
        await self.keys.tell("forget", alias=livekit_room)

    # What the others tell.

    def hear(self, kind: str, news: Mapping[str, Any]) -> None:
        """Take up what another guard has learnt."""
        livekit_room = LiveKitRoom(text_of(news, "alias"))
        if kind == "alias":
            self._adopt(livekit_room, news.get("place"))
        elif kind == "identity":
            self._take_user(livekit_room, text_of(news, "identity"), text_of(news, "user"))
        elif kind == "forget":
            self._take_up(lambda directory: directory.forget([livekit_room]))

    async def load(self) -> None:
        """Take up all that is written down, and tell what the others do not know; raises Outage.

        They may not know what we learnt while Redis was away, or what it has lost.
        """
        ours = dict(self._directory.bindings()) if self._directory else {}
        found: dict[LiveKitRoom, None] = {}
        async for name, written in self.keys.pairs("aliases"):
            livekit_room = LiveKitRoom(name)
            if self._adopt(livekit_room, _json(written)):
                found[livekit_room] = None
            else:
                self.dropped_room(livekit_room)  # too long, or none of ours
        await gather_bounded(AT_ONCE, map(self._load_users, found))
        await gather_bounded(
            AT_ONCE,
            (self._bind(each, binding) for each, binding in ours.items() if each not in found),
        )
        known = list(self._directory.users()) if self._directory else []
        await gather_bounded(
            AT_ONCE,
            (
                self._name(livekit_room, identity, user)
                for identity, (user, livekit_room) in known
                if livekit_room in ours and livekit_room not in found
            ),
        )

    async def _load_users(self, livekit_room: LiveKitRoom) -> None:
        async for identity, user in self.keys.pairs(f"users:{livekit_room}"):
            self._take_user(livekit_room, identity, user)

    def _adopt(self, livekit_room: LiveKitRoom, written: Any) -> bool:
        """Take a LiveKit room up as another guard has it; returns whether it is one."""
        binding = _read(written) if fits(livekit_room, MOST_NAME) else None
        if binding is None:
            return False
        self._take_up(lambda directory: directory.adopt(livekit_room, binding))
        return True

    def _take_user(self, livekit_room: LiveKitRoom, identity: str, user: str) -> None:
        if identity and user and fits(identity, MOST_NAME) and fits(user, MOST_NAME):
            self._take_up(
                lambda directory: directory.learn_identity(
                    Identity(identity), UserId(user), livekit_room
                )
            )

    def _take_up(self, work: Callable[[Directory], Any]) -> None:
        if self._directory is None:
            return
        self._is_hearing = True
        try:
            work(self._directory)
        finally:
            self._is_hearing = False


def _write(binding: Binding) -> list[str]:
    return [binding.room, binding.slot, binding.evidence.value]


def _read(written: Any) -> Binding | None:
    try:
        room, slot, evidence = written
        binding = Binding(RoomId(str(room)), str(slot), Evidence(evidence))
    except (ValueError, TypeError):
        return None
    return binding if fits(binding.room) and fits(binding.slot) else None


def _json(written: str) -> Any:
    try:
        return json.loads(written)
    except ValueError:
        return None


def _pieces(names: Sequence[str]) -> Iterator[Sequence[str]]:
    """Cut a list into pieces, each of which Redis takes in time."""
    return (names[start : start + PIECE] for start in range(0, len(names), PIECE))
