"""Rooms that have lost their rules: an upgrade makes a new room, and copies no rule into it.

Looked for while somebody looks at the rooms or at the metrics, slowly, and of each room once: which
room it replaced is said in its first event (docs/facts.md, Any homeserver: what it tells
unasked). Where nobody looks, nobody is asked, and no token ever waits for it.
"""

from collections.abc import Callable

from attrs import define, field, frozen
from twisted.logger import Logger

from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import RoomId
from lotus_guard.enforce.deferreds import SingleFlight
from lotus_guard.enforce.events import EventRules
from lotus_guard.enforce.ports import Homeserver, Now, Outage, Upgrades
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.rules import Rules, by_event

_log = Logger()

AGAIN_SECONDS = 600.0
"""After so long it is looked again whether a room still lacks the rules of the one before."""
MOST_ASKED = 10
"""Rooms that are being asked about at the same time; whoever looks again asks about the rest."""


@frozen
class _Known:
    """What was found of a room."""

    at: float
    lost: RoomId | None
    is_final: bool
    """Whether it replaced no room, which never changes."""


@define(eq=False)
class UpgradedRooms:
    """Remembers which rooms lack the rules of the rooms that they replaced."""

    homeserver: Homeserver
    upgrades: Upgrades
    rules: Rules
    limiter: RateLimiter
    now: Now
    _known: LruDict[RoomId, _Known] = field(init=False, factory=lambda: LruDict(20_000))
    _flight: SingleFlight[RoomId, None] = field(init=False, factory=SingleFlight)

    @property
    def _events(self) -> list[EventRules]:
        return [EventRules(event, readers) for event, readers in by_event(self.rules).items()]

    def lost(
        self, room: RoomId, lacks_rules: Callable[[RoomId], bool] = lambda _room: True
    ) -> RoomId | None:
        """The room with rules that one without any has replaced, if that is known by now.

        If not, it is asked for and soon will be. Of a room that does not lack rules none is asked
        for; whether it does is looked at only where that matters, for most rooms replaced none.
        """
        known = self._known.get(room)
        is_wanted = (
            not self._is_fresh(known)
            and room not in self._flight
            and len(self._flight) < MOST_ASKED
        )
        lost = known.lost if known else None
        if not (is_wanted or lost) or not lacks_rules(room):
            return None
        if is_wanted:
            self._flight.join(room, lambda: self._ask(room))
        return lost

    def _is_fresh(self, known: _Known | None) -> bool:
        return known is not None and (known.is_final or self.now() - known.at <= AGAIN_SECONDS)

    async def _ask(self, room: RoomId) -> None:
        before = self._known.get(room)
        found = _Known(self.now(), before.lost if before else None, False)
        try:
            found = await self._look(room)
        except Outage:
            pass  # what was known before holds
        except Exception:
            _log.failure("Could not find out which room an upgrade replaced")
        self._known.put(room, found)

    async def _look(self, room: RoomId) -> _Known:
        """Ask which room this one replaced, and whether its rules are gone; raises Outage."""
        begun = self.now()
        await self.limiter.turn()
        old = await self.upgrades.predecessor(room)
        if old is None:
            return _Known(begun, None, True)
        is_lost = not await self._was_ever_set(room) and await self._restricts(old)
        return _Known(begun, old if is_lost else None, False)

    async def _was_ever_set(self, room: RoomId) -> bool:
        """Whether a room has any rule's event: an empty one says that there are to be none."""
        for each in self._events:
            await self.limiter.turn()
            if (await self.homeserver.policy(room, each)).set_at is not None:
                return True
        return False

    async def _restricts(self, room: RoomId) -> bool:
        for each in self._events:
            await self.limiter.turn()
            if (await self.homeserver.policy(room, each)).policy.restricts:
                return True
        return False
