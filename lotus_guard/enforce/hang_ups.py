"""Who left a call on purpose: their seat is free at once, where LiveKit agrees that they left."""

from attrs import define, field

from lotus_guard.core.lru import LruDict, weight
from lotus_guard.core.model import Identity, LiveKitRoom
from lotus_guard.core.webhook import Event, EventKind
from lotus_guard.enforce.presence import Seen

MOST_ROOMS = 1000
MOST_PEOPLE = 1000
"""In one LiveKit room; beyond that, people keep their seats for the grace."""
MOST_BYTES = 16 * 1024 * 1024


def _kept() -> LruDict[LiveKitRoom, dict[Identity, str]]:
    return LruDict(
        MOST_ROOMS,
        most_bytes=MOST_BYTES,
        weigh=lambda room, who: weight(room, *who, *who.values()),
    )


@define(eq=False)
class HangUps:
    """Remembers who hung up, and with which connection, until a look confirms it."""

    _left: LruDict[LiveKitRoom, dict[Identity, str]] = field(init=False, factory=_kept)

    def note(self, event: Event) -> None:
        """Take in LiveKit's word that somebody left."""
        if event.kind is not EventKind.LEFT or not event.on_purpose:
            return
        left = self._left.get(event.livekit_room) or {}
        if len(left) < MOST_PEOPLE:
            self._left.put(event.livekit_room, {**left, event.identity: event.sid})

    def confirmed_by(self, seen: Seen) -> set[Identity]:
        """Take out those whom a look shows gone."""
        gone: set[Identity] = set()
        for livekit_room, attendance in seen.rooms.items():
            left = self._left.pop(livekit_room) or {}
            now_there = {p.identity: p.sid for p in attendance.participants}
            gone.update(left.keys() - attendance.identities)
            late = {i: sid for i, sid in left.items() if now_there.get(i) == sid}
            if late:  # LiveKit still lists the very connection that has ended
                self._left.put(livekit_room, late)
        return gone
