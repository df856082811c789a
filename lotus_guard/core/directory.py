"""What we were taught: which room an alias belongs to, and which user an identity is.

Both are learnt when a token is issued. Whoever teaches us must have grounds: a hash that matches
(a proof), or a strictly read request that upstream answered with a token (a belief). Either way
the alias stays bound to its room from then on, so that nobody can talk a room's calls away from
its policy later. Bounded in entries and in bytes: the longest unused entry goes first, and whoever
has written it down is told, to delete it as well.
"""

import json
import zlib
from collections.abc import Callable, Collection, Iterable, Iterator
from enum import StrEnum
from itertools import islice, takewhile

from attrs import define, field, frozen

from lotus_guard.core.lru import ENTRY, weight
from lotus_guard.core.lru import LruDict as LruDict
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.naming import (
    ROOM_SLOT,
    guess_legacy_user,
    identity_of,
    known_livekit_rooms,
    livekit_room_of,
    user_of_legacy,
)
from lotus_guard.core.wire import Endpoint, TokenRequest

MIB = 1024 * 1024
LISTED = 150
"""Bytes that an identity takes beside its entry, to be found by itself and by its LiveKit room."""


class Grounds(StrEnum):
    """Why we hold an alias to belong to a room."""

    PROOF = "proof"
    BELIEF = "belief"


@frozen
class Place:
    """The Matrix room and slot that an alias belongs to."""

    room: RoomId
    slot: str
    grounds: Grounds


@frozen
class Change:
    """One thing learnt, for the store to write down."""

    livekit_room: LiveKitRoom | None = None
    place: Place | None = None
    identity: Identity | None = None
    user: UserId | None = None


@frozen
class _Packed:
    """The identities learnt in one LiveKit room, in a seventh of the memory (measured)."""

    count: int
    body: bytes

    @classmethod
    def of(cls, users: dict[Identity, UserId]) -> "_Packed":
        return cls(len(users), zlib.compress(json.dumps(users).encode("ascii")))

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return ENTRY + len(self.body)

    def users(self) -> dict[Identity, UserId]:
        found: dict[Identity, UserId] = json.loads(zlib.decompress(self.body))
        return found


@define(eq=False)
class Directory:
    """Aliases and identities that we were taught."""

    most_aliases: int = 100_000
    most_identities: int = 200_000
    """Of those at hand, and once more of those packed away."""
    most_bytes: int = 96 * MIB
    """Of the aliases, and once more of the identities at hand."""
    most_packed: int = 64 * MIB
    """Bytes of the identities packed away."""
    now: Callable[[], float] = lambda: 0.0
    on_learnt: Callable[[Change], None] = lambda _change: None
    on_forgotten: Callable[[LiveKitRoom], None] = lambda _alias: None
    """Told of an alias that is of no use any more, to anybody, with the identities learnt in it."""
    on_dropped: Callable[[LiveKitRoom, Collection[Identity] | None], None] = lambda _a, _i: None
    """Told of identities that have no room here any more; None for the alias itself."""
    _places: LruDict[LiveKitRoom, Place] = field(init=False)
    _users: LruDict[tuple[LiveKitRoom, Identity], UserId] = field(init=False)
    """By where each identity was issued: the same may be issued for many LiveKit rooms, and what
    becomes of one of them must not make it unknown in the others."""
    _issued: dict[LiveKitRoom, dict[Identity, float]] = field(init=False, factory=dict)
    """Whom tokens for each LiveKit room were issued to, and when; the newest last."""
    _where: dict[Identity, tuple[LiveKitRoom, ...]] = field(init=False, factory=dict)
    _aliases: dict[RoomId, dict[LiveKitRoom, None]] = field(init=False, factory=dict)
    _resting: dict[LiveKitRoom, _Packed] = field(init=False, factory=dict)
    """The identities of calls that are over, the first to be over first."""

    def __attrs_post_init__(self) -> None:
        self._places = LruDict(
            self.most_aliases,
            self._drop_room,
            self.most_bytes,
            lambda livekit_room, place: weight(livekit_room, place.room, place.slot),
        )
        self._users = LruDict(
            self.most_identities,
            self._drop_identity,
            self.most_bytes,
            lambda key, user: weight(key[1], user) + LISTED,
        )

    def place_of(self, livekit_room: LiveKitRoom) -> Place | None:
        """Tell where an alias belongs; None where nobody taught us."""
        self._wake(livekit_room)
        return self._places.get(livekit_room)

    def livekit_rooms_of(self, room: RoomId) -> tuple[LiveKitRoom, ...]:
        """List the LiveKit rooms of a Matrix room: those learnt, and the ordinary call's."""
        ordinary, learnt = livekit_room_of(room, ROOM_SLOT), self._aliases.get(room, {})
        for livekit_room in learnt:
            self._wake(livekit_room)
        return tuple({ordinary: None} | learnt)

    def learn_room(self, livekit_room: LiveKitRoom, place: Place) -> Place:
        """Bind an alias to a place unless it is bound already; returns the place that holds.

        A proof overrules a belief: no hash matches by accident.
        """
        known = self._places.get(livekit_room)
        if known and (known.grounds is Grounds.PROOF or place.grounds is Grounds.BELIEF):
            return known
        if known:
            self._unlist(livekit_room, known)
        self._places.put(livekit_room, place)
        self._aliases.setdefault(place.room, {})[livekit_room] = None
        self.on_learnt(Change(livekit_room=livekit_room, place=place))
        return place

    def adopt(self, livekit_room: LiveKitRoom, place: Place) -> None:
        """Bind an alias as another guard has, who was taught first; a proof of ours stays."""
        known = self._places.get(livekit_room)
        if known == place or (known and known.grounds is Grounds.PROOF):
            return
        if known:
            self._unlist(livekit_room, known)
        self._places.put(livekit_room, place)
        self._aliases.setdefault(place.room, {})[livekit_room] = None
        self.on_learnt(Change(livekit_room=livekit_room, place=place))

    def forget(self, livekit_rooms: Collection[LiveKitRoom]) -> None:
        """Drop aliases whose LiveKit rooms are long finished, and the identities learnt there."""
        elsewhere: set[Identity] = set()
        for livekit_room in livekit_rooms:
            packed = self._resting.pop(livekit_room, None)
            elsewhere.update(self._take_out(livekit_room), packed.users() if packed else ())
            place = self._places.pop(livekit_room)
            if place:
                self._unlist(livekit_room, place)
                self.on_forgotten(livekit_room)
        self._tell_again(elsewhere)

    def rest(self, livekit_rooms: Collection[LiveKitRoom]) -> None:
        """Pack the identities learnt in these LiveKit rooms until somebody asks for the room again.

        An old token can bring somebody back for an hour, so they are kept; but a busy server has
        many more of them than of people in calls.
        """
        for livekit_room in self._issued.keys() & set(livekit_rooms):
            users = self._take_out(livekit_room)
            before = self._resting.pop(livekit_room, None)
            self._resting[livekit_room] = _Packed.of(
                {**(before.users() if before else {}), **users}
            )
        self._bound_resting()

    def _bound_resting(self) -> None:
        count = sum(each.count for each in self._resting.values())
        size = sum(each.size for each in self._resting.values())
        while self._resting and (count > self.most_identities or size > self.most_packed):
            livekit_room = next(iter(self._resting))
            packed = self._resting.pop(livekit_room)
            count, size = count - packed.count, size - packed.size
            gone = list(packed.users())
            self.on_dropped(livekit_room, gone)
            self._tell_again(gone)

    def learn_identity(self, identity: Identity, user: UserId, livekit_room: LiveKitRoom) -> None:
        """Remember whose identity this is and where it was issued.

        `@x:s` with the device `8448:D` and `@x:s:8448` with the device `D` have one identity, and
        LiveKit does not tell which of them is there. One that was issued to two users belongs to
        neither from then on: it is a person of its own, and gives nobody else's seat away.
        """
        self._wake(livekit_room)
        known = self.user_of(identity)
        user = _united(identity, user, known)
        if known not in (None, user):
            self._unite(identity, user)
        if self._put(livekit_room, identity, user) or known != user:
            self.on_learnt(Change(livekit_room=livekit_room, identity=identity, user=user))

    def user_of(self, identity: Identity) -> UserId | None:
        """Tell whose identity this is, where somebody taught us; itself where it was two users'."""
        where = self._where.get(identity)
        return self._users.get((where[-1], identity)) if where else None

    def identities_of(
        self, livekit_room: LiveKitRoom, most: int, since: float = 0.0
    ) -> list[Identity]:
        """List whom tokens for a LiveKit room were issued to, at most so many, the newest first.

        None from before `since`: what rested, or was written down, counts from its return on.
        """
        self._wake(livekit_room)
        newest = reversed(self._issued.get(livekit_room, {}).items())
        young = takewhile(lambda each: each[1] >= since, newest)
        return [identity for identity, _ in islice(young, most)]

    def person(self, identity: Identity) -> str:
        """Name the person behind an identity, for counting heads.

        The user where we know or can read him, the identity itself where it is a hash that
        nobody taught us: such a one counts as a person of his own.
        """
        return self.user_of(identity) or guess_legacy_user(identity) or identity

    def places(self) -> Iterator[tuple[LiveKitRoom, Place]]:
        """Iterate over all that is known of aliases."""
        return self._places.items()

    def users(self) -> Iterator[tuple[Identity, tuple[UserId, LiveKitRoom]]]:
        """Iterate over all that is known of identities."""
        for (livekit_room, identity), user in self._users.items():
            yield identity, (user, livekit_room)
        for livekit_room, packed in list(self._resting.items()):
            for identity, user in packed.users().items():
                yield identity, (user, livekit_room)

    def _wake(self, livekit_room: LiveKitRoom) -> None:
        """Unpack what was learnt in a LiveKit room, where it rests: its call may begin again."""
        packed = self._resting.pop(livekit_room, None)
        for identity, user in (packed.users() if packed else {}).items():
            known = self.user_of(identity)  # what has been learnt since is newer
            united = _united(identity, user, known)
            if known not in (None, united):
                self._unite(identity, united)
            self._put(livekit_room, identity, united, is_newest=False)

    def _put(
        self, livekit_room: LiveKitRoom, identity: Identity, user: UserId, is_newest: bool = True
    ) -> bool:
        """Note whose an identity is that was issued for a LiveKit room; tells whether it is new."""
        issued, where = self._issued.setdefault(livekit_room, {}), self._where.get(identity, ())
        is_new = identity not in issued
        if is_newest:
            issued.pop(identity, None)
            if where[-1:] != (livekit_room,):
                self._where[identity] = (
                    *(each for each in where if each != livekit_room),
                    livekit_room,
                )
        elif is_new:
            self._where[identity] = (livekit_room, *where)
        issued[identity] = self.now()
        self._users.put((livekit_room, identity), user)
        return is_new

    def _unite(self, identity: Identity, user: UserId) -> None:
        for livekit_room in self._where.get(identity, ()):
            self._users.put((livekit_room, identity), user)

    def _take_out(self, livekit_room: LiveKitRoom) -> dict[Identity, UserId]:
        """Take out who was issued a token for a LiveKit room; they stay known in others."""
        found: dict[Identity, UserId] = {}
        for identity in self._issued.get(livekit_room, ()):
            user = self._users.pop((livekit_room, identity))
            if user is not None:
                found[identity] = user
        for identity in found:
            self._unplace(livekit_room, identity)
        return found

    def _unplace(self, livekit_room: LiveKitRoom, identity: Identity) -> None:
        issued = self._issued[livekit_room]
        del issued[identity]
        if not issued:
            del self._issued[livekit_room]
        left = tuple(each for each in self._where[identity] if each != livekit_room)
        if left:
            self._where[identity] = left
        else:
            del self._where[identity]

    def _drop_identity(self, key: tuple[LiveKitRoom, Identity], _user: UserId) -> None:
        livekit_room, identity = key
        self._unplace(livekit_room, identity)
        self.on_dropped(livekit_room, [identity])
        self._tell_again([identity])

    def _tell_again(self, identities: Iterable[Identity]) -> None:
        """Have written down where else these are known: the file has one place for each."""
        for identity in identities:
            user, where = self.user_of(identity), self._where.get(identity)
            if user is not None and where:
                self.on_learnt(Change(livekit_room=where[-1], identity=identity, user=user))

    def _drop_room(self, livekit_room: LiveKitRoom, place: Place) -> None:
        packed = self._resting.get(livekit_room)
        self._unlist(livekit_room, place)
        gone = list(packed.users()) if packed else []
        self.on_dropped(livekit_room, gone)
        self.on_dropped(livekit_room, None)
        self._tell_again(gone)

    def _unlist(self, livekit_room: LiveKitRoom, place: Place) -> None:
        self._resting.pop(livekit_room, None)
        livekit_rooms = self._aliases.get(place.room, {})
        livekit_rooms.pop(livekit_room, None)
        if not livekit_rooms:
            self._aliases.pop(place.room, None)


def _united(identity: Identity, user: UserId, known: UserId | None) -> UserId:
    """Say whose an identity is that is a user's, and was known as one's before."""
    return user if known in (None, user) else UserId(identity)


def place_from(livekit_room: LiveKitRoom, request: TokenRequest, believe: bool) -> Place | None:
    """Say which room an issued token's alias belongs to, from the request that it answers.

    A known derivation that matches is proof. Where none does, the request is believed only when
    `believe` says that it came in at a token endpoint, where it has been read as upstream reads
    it.
    """
    if request.room is None:
        return None
    if livekit_room in known_livekit_rooms(request.room, request.slot):
        return Place(request.room, request.slot, Grounds.PROOF)
    return Place(request.room, request.slot, Grounds.BELIEF) if believe else None


def user_from(identity: Identity, request: TokenRequest, believe: bool) -> UserId | None:
    """Say who an issued token's identity is, from the request that it answers.

    Upstream has checked `claimed_user_id` against the OpenID token when a token comes back, and has
    put the checked user in front of the device at `/sfu/get` (docs/facts.md, lk-jwt-service:
    identities).
    """
    if request.endpoint is Endpoint.LEGACY:
        return user_of_legacy(identity, request.device or "")
    if request.user is None:
        return None
    proved = identity == identity_of(request.user, request.device or "", request.member or "")
    return request.user if proved or believe else None
