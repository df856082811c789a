"""Whose each identity is, by the LiveKit rooms that tokens for it were issued for.

The same identity may be issued for many LiveKit rooms, and what becomes of one of them must not
make it unknown in the others.
"""

from collections.abc import Callable, Iterator
from itertools import islice, takewhile

from attrs import define, field

from lotus_guard.core.lru import LruDict, weight
from lotus_guard.core.model import Identity, LiveKitRoom, UserId

LISTED = 150
"""Bytes that an identity takes beside its entry, to be found by itself and by its LiveKit room."""


@define(eq=False)
class Identities:
    """The identities at hand; the longest unused goes first."""

    most: int
    most_bytes: int
    now: Callable[[], float]
    on_dropped: Callable[[LiveKitRoom, Identity], None]
    """Told of each identity that there is no room for any more."""
    changes: int = field(init=False, default=0)
    """How often `user_of` may have begun to say something else of anybody."""
    _users: LruDict[tuple[LiveKitRoom, Identity], UserId] = field(init=False)
    _issued: dict[LiveKitRoom, dict[Identity, float]] = field(init=False, factory=dict)
    """Whom tokens for each LiveKit room were issued to, and when; the newest last."""
    _where: dict[Identity, tuple[LiveKitRoom, ...]] = field(init=False, factory=dict)
    """The LiveKit rooms that tokens for each identity were issued for; the newest last."""

    def __attrs_post_init__(self) -> None:
        self._users = LruDict(
            self.most,
            self._drop,
            self.most_bytes,
            lambda key, user: weight(key[1], user) + LISTED,
        )

    def user_of(self, identity: Identity) -> UserId | None:
        """Whose identity this is, where an issued token has told us."""
        where = self._where.get(identity)
        return self._users.get((where[-1], identity)) if where else None

    def has_user(self, livekit_room: LiveKitRoom, user: UserId) -> bool:
        """Whether a token for a LiveKit room was issued to a user."""
        issued = self._issued.get(livekit_room, ())
        return any(self._users.peek((livekit_room, each)) == user for each in issued)

    def home_of(self, identity: Identity) -> LiveKitRoom | None:
        """The LiveKit room that the newest token for this identity was issued for."""
        where = self._where.get(identity)
        return where[-1] if where else None

    def newest(self, livekit_room: LiveKitRoom, most: int, since: float) -> list[Identity]:
        """Whom tokens for a LiveKit room were issued to since then, the newest first."""
        newest = reversed(self._issued.get(livekit_room, {}).items())
        young = takewhile(lambda each: each[1] >= since, newest)
        return [identity for identity, _ in islice(young, most)]

    def put(
        self, livekit_room: LiveKitRoom, identity: Identity, user: UserId, is_newest: bool = True
    ) -> bool:
        """Note whose identity a token was issued for; returns whether that says anything new.

        One that was issued to two users belongs to neither from then on, in any LiveKit room.
        """
        known = self.user_of(identity)
        user = _whose(identity, user, known)
        self.changes += known != user
        if known not in (None, user):
            for each in self._where.get(identity, ()):
                self._users.put((each, identity), user)
        issued = self._issued.setdefault(livekit_room, {})
        is_new = identity not in issued
        self._place(livekit_room, identity, is_new, is_newest)
        if is_newest:
            issued.pop(identity, None)
        issued[identity] = self.now()
        self._users.put((livekit_room, identity), user)
        return is_new or known != user

    def _place(
        self, livekit_room: LiveKitRoom, identity: Identity, is_new: bool, is_newest: bool
    ) -> None:
        where = self._where.get(identity, ())
        if is_newest and where[-1:] != (livekit_room,):
            others = (each for each in where if each != livekit_room)
            self._where[identity] = (*others, livekit_room)
        elif is_new and not is_newest:
            self._where[identity] = (livekit_room, *where)

    def take_out(self, livekit_room: LiveKitRoom) -> dict[Identity, UserId]:
        """Take out the identities with tokens for a LiveKit room; they stay known in others."""
        found: dict[Identity, UserId] = {}
        for identity in self._issued.get(livekit_room, ()):
            user = self._users.pop((livekit_room, identity))
            if user is not None:
                found[identity] = user
        for identity in found:
            self._unplace(livekit_room, identity)
        self.changes += 1
        return found

    def livekit_rooms(self) -> set[LiveKitRoom]:
        """The LiveKit rooms in which somebody is known."""
        return set(self._issued)

    def items(self) -> Iterator[tuple[LiveKitRoom, Identity, UserId]]:
        """Everybody who is known, longest unused first."""
        for (livekit_room, identity), user in self._users.items():
            yield livekit_room, identity, user

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

    def _drop(self, key: tuple[LiveKitRoom, Identity], _user: UserId) -> None:
        self._unplace(*key)
        self.changes += 1
        self.on_dropped(*key)


def _whose(identity: Identity, user: UserId, known: UserId | None) -> UserId:
    """Whose an identity is that is a user's, and was known as one's before.

    `@x:s` with the device `8448:D` and `@x:s:8448` with the device `D` have one identity, and
    LiveKit does not tell which of them is there. So it is a person of its own then, and gives
    nobody else's seat away.
    """
    if user == known:
        return known  # the very text that is kept: it need not be weighed anew
    return user if known is None else UserId(identity)
