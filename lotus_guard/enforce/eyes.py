"""As whom a room may be read, where a homeserver shows a room only to its members.

An application service reads as one of our own users, so somebody must be known who is in the room
(docs/facts.md, Any homeserver: who may ask what about a room). Whoever asks for a token is a guess:
they may name any room, so guesses are few, and never take the place of whoever was seen in it.
"""

from collections.abc import Callable, Sequence

from attrs import define, field, frozen

from lotus_guard.core.lru import LruDict, weight
from lotus_guard.core.model import RoomId, UserId

MOST_ROOMS = 20_000
"""Of so many rooms readers are known, and of as many there are guesses."""
MOST_PROVED = 8
"""Readers of one room; one is enough as long as they stay."""
MOST_SUGGESTED = 4

_Readers = tuple[UserId, ...]


def _most_rooms() -> "LruDict[RoomId, _Readers]":
    return LruDict(MOST_ROOMS, weigh=lambda room, readers: weight(room, *readers))


@frozen
class _Kept:
    """Some readers of each room, the newest first."""

    most: int
    """Readers of one room."""
    rooms: LruDict[RoomId, _Readers] = field(factory=_most_rooms)

    def of(self, room: RoomId) -> _Readers:
        return self.rooms.get(room) or ()

    def add(self, room: RoomId, user: UserId) -> None:
        others = (each for each in self.of(room) if each != user)
        self.rooms.put(room, (user, *others)[: self.most])

    def drop(self, room: RoomId, user: UserId) -> None:
        left = tuple(each for each in self.of(room) if each != user)
        if left:
            self.rooms.put(room, left)
        else:
            self.rooms.pop(room)


@define(eq=False)
class Eyes:
    """Knows for each room users of ours who may read it."""

    is_ours: Callable[[UserId], bool] = lambda _user: True
    """Whether somebody is a user of our own homeserver, as far as that is known yet."""
    _proved: _Kept = field(init=False, factory=lambda: _Kept(MOST_PROVED))
    _suggested: _Kept = field(init=False, factory=lambda: _Kept(MOST_SUGGESTED))

    def suggest(self, room: RoomId, user: UserId) -> None:
        """Take a guess, which anybody may have made."""
        newest = self._suggested.of(room)[:1] == (user,)
        if not newest and self.is_ours(user) and user not in self._proved.of(room):
            self._suggested.add(room, user)

    def proved(self, room: RoomId, user: UserId) -> None:
        """Remember a user who was seen in a room just now."""
        if self.is_ours(user):
            self._suggested.drop(room, user)
            self._proved.add(room, user)

    def forget(self, room: RoomId, user: UserId) -> None:
        """Forget a user who cannot read a room, or not any more."""
        self._proved.drop(room, user)
        self._suggested.drop(room, user)

    def of(self, room: RoomId) -> Sequence[UserId]:
        """List as whom a room may be read: first those who were seen in it, the latest first.

        The latest guess is among the first three: whoever gets a token just now is one, and the
        others may all have left.
        """
        seen = [user for user in self._proved.of(room) if self.is_ours(user)]
        guessed = [user for user in self._suggested.of(room) if self.is_ours(user)]
        return [*seen[:2], *guessed[:1], *seen[2:], *guessed[1:]]
