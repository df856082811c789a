"""The power levels of rooms, remembered; read only where a rule makes a difference by them."""

from attrs import define
from twisted.internet.defer import CancelledError
from twisted.logger import Logger

from lotus_guard.core.model import RoomId
from lotus_guard.core.power import PowerLevels
from lotus_guard.enforce.ports import Bug, Homeserver, Outage
from lotus_guard.enforce.remembered import Kept, Remembered

_log = Logger()


@define(eq=False)
class Powers(Remembered[PowerLevels]):
    """Who may do what in which room."""

    def bytes_of(self, value: PowerLevels) -> int:
        """A room's levels may name a thousand users."""
        return value.bytes

    async def look_up(self, room: RoomId, homeserver: Homeserver) -> Kept[PowerLevels]:
        """Read the levels once; raises Outage."""
        begun = self.now()
        try:
            levels = await homeserver.power(room)
        except (CancelledError, Outage):
            raise
        except Exception as why:
            _log.failure("Could not read a room's power levels")
            raise Bug from why
        kept = Kept(levels, begun)
        return kept if self.keep(room, kept) else self.kept(room) or kept
