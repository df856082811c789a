"""What a guard learns, kept in a Redis that several share; its seats are in `redis_seats`."""

from attrs import define, field
from twisted.internet.defer import Deferred, succeed

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Seats
from lotus_guard.memory.redis_decisions import RedisDecisions
from lotus_guard.memory.redis_directory import RedisDirectory
from lotus_guard.memory.redis_keys import Keyspace, in_background
from lotus_guard.memory.redis_news import NewsListener, NewsReader, NewsTeller
from lotus_guard.memory.store import Clocks
from lotus_guard.rules.decision import Decision


@define(eq=False)
class RedisStore:
    """Keeps in Redis what a guard learns, and takes up what the others do."""

    keys: Keyspace
    clocks: Clocks
    keep_seconds: float = 7 * 86400.0
    """How long decisions are kept."""
    learns: RedisDirectory = field(init=False)
    teller: NewsTeller = field(init=False)
    _decisions: RedisDecisions = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.learns = RedisDirectory(self.keys, self.clocks.reactor)
        self.teller = NewsTeller(self.keys, self.clocks.now)
        self._decisions = RedisDecisions(self.keys, self.clocks, self.keep_seconds)

    @property
    def instance(self) -> str:
        """Names this guard among all that share the Redis."""
        return self.keys.instance

    def open(self, directory: Directory, _seats: Seats) -> None:
        """Begin; what is in Redis is read once the channel is listened to."""
        self.learns.open(directory)

    def reader(self, listener: NewsListener) -> NewsReader:
        """Make what hears the other guards."""
        return NewsReader(self.keys, self.learns, listener)

    def seats_changed(self, room: RoomId) -> None:
        """Do nothing: each change of seats is made in Redis already."""

    def decided(self, decision: Decision) -> None:
        """Write down a decision, with all others of the same half second."""
        self._decisions.decided(decision)

    async def decisions(
        self, room: str | None = None, user: str | None = None, most: int = 100
    ) -> list[Decision]:
        """Read the newest decisions on a room and a user; nothing where Redis has trouble."""
        return await self._decisions.read(room, user, most)

    async def decision(self, reference: str) -> Decision | None:
        """Find the decision with this id; None where there is none, or Redis has trouble."""
        return await self._decisions.find(reference)

    def beat(self) -> None:
        """Drop what is too old or too much."""
        in_background(self._trim())

    async def _trim(self) -> None:
        await self._decisions.trim()
        await self.teller.trim()

    def close(self) -> Deferred[None]:
        """Write what is left."""
        self.learns.close()
        self._decisions.close()
        return succeed(None)
