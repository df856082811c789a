"""How many identities one user may have tokens for, so that nobody hides among their own.

Each member id makes another identity, and a token for it is good for an hour. With hundreds of them
a user pushes others out of everything that is bounded: the list of those who are asked after in a
room that cannot be read, and what is known of identities at all. No honest client comes near: a
page load makes one.
"""

from attrs import define, field

from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import Identity, RoomId

MOST_IN_ROOM = 128
"""Identities of one user with tokens for one room that may still be valid."""
MOST_IN_ALL = 1024
"""The same in all rooms."""
LIFE = 3660.0
"""Seconds for which a token may be used: an hour, and LiveKit's leeway."""
_BYTES = 250
"""Bytes that one of them takes."""

_Given = dict[tuple[RoomId, Identity], float]


@define(eq=False)
class IdentityQuota:
    """Who was given tokens for what, and when."""

    _given: LruDict[str, _Given] = field(
        init=False,
        factory=lambda: LruDict(
            20_000, most_bytes=32 * 1024 * 1024, weigh=lambda _user, given: len(given) * _BYTES
        ),
    )

    def may(self, user: str, room: RoomId, identity: Identity, now: float) -> bool:
        """Whether a user may be given a token; notes that they were."""
        given = self._given.pop(user) or {}
        while given and given[oldest := next(iter(given))] + LIFE < now:
            del given[oldest]
        there = sum(each == room for each, _ in given) if len(given) >= MOST_IN_ROOM else 0
        key = (room, identity)
        fits = key in given or (len(given) < MOST_IN_ALL and there < MOST_IN_ROOM)
        if fits:
            given.pop(key, None)
            given[key] = now
        self._given.put(user, given)
        return fits
