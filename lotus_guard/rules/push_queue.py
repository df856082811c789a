"""What Synapse's module has still to tell the guard: policies of rooms, and who is in which.

Of a room the last policies wait, of somebody in a room the last membership. What does not fit is
dropped, the oldest first: the guard polls anyway.
"""

from collections.abc import Sequence

from attrs import define, field, frozen

from lotus_guard.core.lru import LruDict, weight
from lotus_guard.core.membership import Membership
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.rules.push import MOST_MEMBERS, MOST_PUSH, Member, length_of, write_members

MOST_ROOMS = 10_000
"""How many rooms' policies may wait."""
MOST_BYTES = 8 * 1024 * 1024
"""Bytes of what waits: of policies, of memberships, and of memberships that were told."""
MOST_WAITING = 20_000
"""How many memberships may wait, and how many that were told are remembered."""

Key = tuple[RoomId, UserId]


@frozen
class Parcel:
    """What goes out in one push."""

    body: bytes
    room: RoomId | None = None
    """The room whose policies these are; None for memberships."""
    members: Sequence[Member] = ()
    changes_power: bool = False
    """Whether it says that the room has other power levels."""


def _no_policies() -> LruDict[RoomId, Parcel]:
    return LruDict(MOST_ROOMS, most_bytes=MOST_BYTES, weigh=lambda _room, each: len(each.body))


def _no_members() -> LruDict[Key, Membership]:
    return LruDict(MOST_WAITING, most_bytes=MOST_BYTES, weigh=lambda key, _said: weight(*key))


@define(eq=False)
class PushQueue:
    """Holds what waits, bounded in entries and bytes; never raises."""

    covers: Sequence[str]
    """The types of events of which changes are pushed."""
    _policies: LruDict[RoomId, Parcel] = field(init=False, factory=_no_policies)
    _members: LruDict[Key, Membership] = field(init=False, factory=_no_members)
    _told: LruDict[Key, Membership] = field(init=False, factory=_no_members)
    """What the guard was told last, so that it is not told the same again."""

    def __len__(self) -> int:
        """Count what waits."""
        return len(self._policies) + len(self._members)

    def changes_power(self, room: RoomId) -> bool:
        """Whether it waits to be told that a room has other power levels: what is put in its place
        must tell it too."""
        waiting = self._policies.peek(room)
        return waiting is not None and waiting.changes_power

    def put_policies(self, room: RoomId, body: bytes, *, changes_power: bool = False) -> None:
        """Have a room's policies told; where they are too long, those from before neither."""
        self._policies.pop(room)
        if len(body) <= MOST_PUSH:
            self._policies.put(room, Parcel(body, room, changes_power=changes_power))

    def put_member(self, member: Member) -> None:
        """Have a membership told, unless the guard was told so last: most events of members only
        change a name or a picture."""
        key = (member.room, member.user)
        waiting = self._members.get(key)
        if (waiting or self._told.get(key)) is not member.membership:
            self._members.put(key, member.membership)

    def next(self) -> Parcel | None:
        """What is to go out next, policies first; None where nothing waits."""
        for _room, parcel in self._policies.oldest(1):
            return parcel
        members = self._batch()
        return Parcel(write_members(self.covers, members), None, members) if members else None

    def sent(self, parcel: Parcel) -> None:
        """Take out what the guard took; what has changed meanwhile waits on."""
        if parcel.room is not None and self._policies.get(parcel.room) is parcel:
            self._policies.pop(parcel.room)
        for each in parcel.members:
            key = (each.room, each.user)
            self._told.put(key, each.membership)
            if self._members.get(key) is each.membership:
                self._members.pop(key)

    def _batch(self) -> list[Member]:
        """The memberships that have waited longest, as many as fit into one push."""
        left = MOST_PUSH - len(write_members(self.covers, ()))
        found: list[Member] = []
        for (room, user), membership in self._members.oldest(MOST_MEMBERS):
            member = Member(room, user, membership)
            left -= length_of(member)
            if left < 0:
                break
            found.append(member)
        return found
