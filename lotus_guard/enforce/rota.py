"""Which rooms a pass of the live loop works on, where there are more than it may ask Synapse about.

Anybody can have LiveKit rooms made, as many as they like and under names of their choice: for that
a token request is enough. So no order here is one that a client can choose. Rooms with people come
first, and among them the one that has waited longest; a room that has just appeared waits from
then on, so that new ones never pass those that were there before. Rooms that Synapse does not know,
which somebody has invented, have a small share of their own and take nobody else's.
"""

from collections.abc import Iterable
from typing import NewType

from attrs import define, field, frozen

from lotus_guard.core.model import RoomId

Class = NewType("Class", int)
RESTRICTED, OTHERS, INVENTED = Class(0), Class(1), Class(2)


@frozen
class Candidate:
    """A Matrix room with LiveKit rooms that a pass could work on."""

    room: RoomId
    has_people: bool
    """Whether LiveKit says that somebody is there; else somebody is only expected."""
    kind: Class
    """Whether a policy is known to restrict it (`RESTRICTED`), or Synapse does not know it."""
    read_at: float = field(default=0.0, eq=False)
    """When its policy was read, as far as that orders them: of rooms that have waited alike, those
    come first whose policy has been read longest ago."""


@frozen
class Choice:
    """The rooms of one pass, in the order in which to work on them."""

    rooms: list[RoomId]
    put_off: int
    """How many rooms with people, which nobody has invented, wait for the next pass."""


@define
class Rota:
    """Whose turn it is; remembers since when each room has waited, while it has a LiveKit room."""

    _pass: int = field(default=0, init=False)
    _since: dict[RoomId, tuple[int, bool]] = field(init=False, factory=dict)
    """The pass since which a room waits, and whether it had its turn in that: then it waits from
    the end of it, as one that has just appeared waits from its beginning."""

    def choose(self, candidates: Iterable[Candidate], most: tuple[int, int, int]) -> Choice:
        """Choose the rooms of the next pass; `most` bounds each class."""
        self._pass += 1
        queues: tuple[list[Candidate], ...] = ([], [], [])
        for each in candidates:
            queues[each.kind].append(each)
        everybody = [each.room for queue in queues for each in queue]
        since = {room: self._since.get(room, (self._pass, False)) for room in everybody}
        rooms: list[RoomId] = []
        put_off = 0
        for kind, queue in enumerate(queues):
            queue.sort(key=lambda each: (not each.has_people, since[each.room], each.read_at))
            rooms += [each.room for each in queue[: most[kind]]]
            if kind != INVENTED:
                put_off += sum(each.has_people for each in queue[most[kind] :])
        since.update(dict.fromkeys(rooms, (self._pass, True)))
        self._since = since
        return Choice(rooms, put_off)
