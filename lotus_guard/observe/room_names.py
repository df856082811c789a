"""Names of rooms for whoever looks at them; asked for only while somebody looks, and slowly."""

from attrs import define, field
from twisted.logger import Logger

from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import RoomId
from lotus_guard.enforce.deferreds import SingleFlight
from lotus_guard.enforce.ports import Homeserver, Now, Outage
from lotus_guard.enforce.rate_limiter import RateLimiter

_log = Logger()

AGAIN_SECONDS = 600.0
"""How long a name is believed, and a room without one not asked for again."""
OUTAGE_SECONDS = 30.0
"""How long a room is not asked for again where the homeserver gave no answer."""
MOST_ASKED = 20
"""Names that are being asked for at the same time; whoever looks again asks for the rest."""


@define(eq=False)
class RoomNames:
    """Remembers the names of rooms."""

    homeserver: Homeserver
    limiter: RateLimiter
    now: Now
    _names: LruDict[RoomId, tuple[float, str | None]] = field(
        init=False, factory=lambda: LruDict(5_000)
    )
    """Until when each is believed, and the name."""
    _flight: SingleFlight[RoomId, None] = field(init=False, factory=SingleFlight)

    def name_of(self, room: RoomId) -> str | None:
        """A room's name if it is known; if not, it is asked for and soon will be."""
        known = self._names.get(room)
        is_fresh = known is not None and self.now() <= known[0]
        if not is_fresh and room not in self._flight and len(self._flight) < MOST_ASKED:
            self._flight.join(room, lambda: self._ask(room))
        return known[1] if known else None

    async def _ask(self, room: RoomId) -> None:
        name, seconds = None, AGAIN_SECONDS
        try:
            await self.limiter.turn()
            name = await self.homeserver.name(room)
        except Outage:
            known = self._names.get(room)
            name, seconds = known[1] if known else None, OUTAGE_SECONDS
        except Exception:
            _log.failure("Could not read a room's name")
        self._names.put(room, (self.now() + seconds, name))
