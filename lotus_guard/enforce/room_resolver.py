"""Finds the Matrix room of a LiveKit room that is in no record, once, among Synapse's rooms.

The call began before the guard did, or the state was lost; and a LiveKit room's name is a hash.
The known derivations of every room that Synapse has are compared with it, page by page; what is
not found is not looked for again for a while.
"""

from collections.abc import Callable, Iterable

from attrs import define, field
from twisted.logger import Logger

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Directory
from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import LiveKitRoom, RoomId
from lotus_guard.core.naming import ROOM_SLOT, known_livekit_rooms
from lotus_guard.enforce.deferreds import SingleFlight
from lotus_guard.enforce.ports import Homeserver, Now, Outage
from lotus_guard.enforce.rate_limiter import RateLimiter

_log = Logger()

AGAIN_SECONDS = 600.0
"""Seconds for which a LiveKit room that was not found is not looked for again."""
MOST_PAGES = 200
MOST_SLOTS = 8

_SEARCH = "search"


@define(eq=False)
class RoomResolver:
    """Looks for the rooms of unknown LiveKit rooms."""

    homeserver: Homeserver
    directory: Directory
    limiter: RateLimiter
    now: Now
    on_found: Callable[[RoomId], None] = lambda _room: None
    _looked_for: LruDict[LiveKitRoom, float] = field(init=False, factory=lambda: LruDict(100_000))
    _flight: SingleFlight[str, None] = field(init=False, factory=SingleFlight)

    def begin(self, livekit_rooms: Iterable[LiveKitRoom]) -> None:
        """Look for those of these LiveKit rooms that are unknown, unless a search is under way."""
        missing = {livekit_room for livekit_room in livekit_rooms if self._is_missing(livekit_room)}
        if missing and _SEARCH not in self._flight:
            self._flight.join(_SEARCH, lambda: self._run(missing))

    @property
    def unknown(self) -> int:
        """How many LiveKit rooms belong to no room that we could find."""
        return sum(
            1
            for livekit_room, at in self._looked_for.items()
            if self.now() - at <= AGAIN_SECONDS and self.directory.binding_of(livekit_room) is None
        )

    def _is_missing(self, livekit_room: LiveKitRoom) -> bool:
        at = self._looked_for.get(livekit_room)
        return (at is None or self.now() - at > AGAIN_SECONDS) and (
            self.directory.binding_of(livekit_room) is None
        )

    async def _run(self, missing: set[LiveKitRoom]) -> None:
        try:
            await self._search(set(missing))
            for livekit_room in missing:
                self._looked_for.put(livekit_room, self.now())
        except Outage as outage:
            _log.warn("Could not look up the rooms of {n} calls: {why}", n=len(missing), why=outage)
        except Exception:
            _log.failure("Could not look for the rooms of unknown calls")

    async def _search(self, missing: set[LiveKitRoom]) -> None:
        slots = self._slots()
        start: int | None = 0
        for _ in range(MOST_PAGES):
            if start is None or not missing:
                return
            await self.limiter.turn()
            rooms, start = await self.homeserver.rooms(start)
            for room in rooms:
                for slot in slots:
                    for livekit_room in missing.intersection(known_livekit_rooms(room, slot)):
                        self.directory.learn_room(livekit_room, Binding(room, slot, Evidence.PROOF))
                        missing.discard(livekit_room)
                        self.on_found(room)

    def _slots(self) -> list[str]:
        """List the ordinary slot, and some that we have seen: clients name them as they like."""
        seen = dict.fromkeys(
            [ROOM_SLOT, *(binding.slot for _, binding in self.directory.bindings())]
        )
        return list(seen)[:MOST_SLOTS]
