"""The identities learnt in calls that are over, in a seventh of the memory (measured).

An old token can bring somebody back for an hour, so they are kept; but a busy server has many more
of them than of people in calls.
"""

import json
import zlib
from collections.abc import Iterator, Mapping

from attrs import define, field, frozen

from lotus_guard.core.lru import ENTRY
from lotus_guard.core.model import Identity, LiveKitRoom, UserId

Users = dict[Identity, UserId]


@frozen
class _Packed:
    """The identities learnt in one LiveKit room."""

    count: int
    body: bytes

    @classmethod
    def of(cls, users: Mapping[Identity, UserId]) -> "_Packed":
        return cls(len(users), zlib.compress(json.dumps(users).encode("ascii")))

    @property
    def size(self) -> int:
        """How many bytes it takes."""
        return ENTRY + len(self.body)

    def users(self) -> Users:
        found: Users = json.loads(zlib.decompress(self.body))
        return found


@define(eq=False)
class Archive:
    """Identities by the LiveKit rooms they were learnt in, bounded in number and in bytes."""

    most: int
    """Identities."""
    most_bytes: int
    _packed: dict[LiveKitRoom, _Packed] = field(init=False, factory=dict)
    """The first to be over first."""

    def add(self, livekit_room: LiveKitRoom, users: Mapping[Identity, UserId]) -> None:
        """Pack the identities learnt in a LiveKit room, beside those packed before."""
        self._packed[livekit_room] = _Packed.of({**self.take(livekit_room), **users})

    def take(self, livekit_room: LiveKitRoom) -> Users:
        """Unpack what was learnt in a LiveKit room, and keep it no longer."""
        packed = self._packed.pop(livekit_room, None)
        return packed.users() if packed else {}

    def shrink(self) -> Iterator[tuple[LiveKitRoom, list[Identity]]]:
        """Take out what is beyond the bounds, those first whose call was over first."""
        count = sum(each.count for each in self._packed.values())
        size = sum(each.size for each in self._packed.values())
        while self._packed and (count > self.most or size > self.most_bytes):
            livekit_room = next(iter(self._packed))
            packed = self._packed.pop(livekit_room)
            count, size = count - packed.count, size - packed.size
            yield livekit_room, list(packed.users())

    def items(self) -> Iterator[tuple[LiveKitRoom, Users]]:
        """Everything that is packed."""
        for livekit_room, packed in list(self._packed.items()):
            yield livekit_room, packed.users()
