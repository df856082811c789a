"""Finds out which rooms have changed, where there are more than can be asked about in turn.

With thousands of live rooms, most of them without a policy, each has its turn in the rota after
half an hour only. The homeserver's list of rooms says of a thousand rooms at once how many state
events each has. Where a type of event is set for the first time, that number grows (docs/facts.md,
Synapse: admin API); so only rooms with another number than before are asked about, out of turn.

The number says nothing of an event that is replaced, and grows when somebody joins for the first
time. So it only ever brings a room's turn forward, and takes nobody's: whatever it fails to say,
the rota finds. All that is asked here counts against the pace of the live loop.
"""

from collections.abc import Callable, Collection

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.deferreds import gather_bounded, ignoring
from lotus_guard.enforce.giving_way import in_pieces
from lotus_guard.enforce.policies import AllPolicies
from lotus_guard.enforce.ports import MayNotLook, Now, Outage, Tallies
from lotus_guard.enforce.rate_limiter import RateLimiter

_log = Logger()

REST_SECONDS = 10.0
"""From the end of one round to the beginning of the next."""
REST_TIMES = 2.0
"""After a page so many times as long as it took nothing is asked: on a server with very many rooms
the list is dear, and Synapse sorts all of them for each page."""
LOOK_SECONDS = 10.0
"""For so long a round has rooms looked at; those that are left come first in the next one."""
AT_ONCE = 2
"""Rooms that have their look-ups at the same time: a third of the pace while a pass asks as well,
which must not take twice as long for it."""
MOST_PAGES = 200
AGAIN_SECONDS = 600.0
"""A homeserver that does not say it is asked again after so long."""


@frozen
class Tally:
    """How many state events a room has, and since when we know that number."""

    count: int
    since: float
    """What was read of the room's policies earlier may be outdated."""
    is_first: bool
    """Whether it is the first number that we know of the room."""


@define(eq=False)
class ChangeWatch:
    """Has rooms looked at that have changed."""

    homeserver: Tallies
    policies: AllPolicies
    limiter: RateLimiter
    on_change: Callable[[RoomId], None]
    clock: IReactorTime
    now: Now
    _tallies: dict[RoomId, Tally] = field(init=False, factory=dict)
    _rooms: frozenset[RoomId] = field(init=False, default=frozenset())
    _rounds: Deferred[None] | None = field(init=False, default=None)

    def watch(self, rooms: Collection[RoomId]) -> None:
        """From now on watch these rooms, round by round; none ends it."""
        self._rooms = frozenset(rooms)
        if not rooms:
            self._tallies.clear()
        elif self._rounds is None:
            self._rounds = ensureDeferred(self._go_round_and_round())
            ignoring(self._rounds.addBoth(self._over), CancelledError)

    def stop(self) -> None:
        """End it at once."""
        if self._rounds is not None:
            self._rounds.cancel()

    def _over(self, result: object) -> object:
        self._rounds = None
        return result

    async def _go_round_and_round(self) -> None:
        """By itself, for a pass may take half a minute."""
        while self._rooms:
            rest = await self._go_round(self._rooms)
            await deferLater(self.clock, rest, lambda: None)

    async def _go_round(self, rooms: frozenset[RoomId]) -> float:
        """Go round once; returns how many seconds to rest afterwards."""
        try:
            await self._count(rooms)
            await self._look(rooms)
        except MayNotLook:
            return AGAIN_SECONDS
        except Outage:
            pass  # others tell of it; the rota goes on
        except CancelledError:
            raise
        except Exception:
            _log.failure("Could not find out which rooms have changed")
        return REST_SECONDS

    async def _count(self, rooms: frozenset[RoomId]) -> None:
        """Take note of each room's number, page by page; raises Outage."""
        for gone in self._tallies.keys() - rooms:
            del self._tallies[gone]
        start: int | None = 0
        for _ in range(MOST_PAGES):
            await self.limiter.turn()
            begun = self.now()
            counts, start = await self.homeserver.tallies(start or 0)
            for room in rooms & counts.keys():
                self._note(room, counts[room], begun)
            if start is None:
                return
            await deferLater(self.clock, REST_TIMES * (self.now() - begun), lambda: None)

    def _note(self, room: RoomId, count: int, at: float) -> None:
        before = self._tallies.get(room)
        if before is None or before.count != count:
            self._tallies[room] = Tally(count, at, is_first=before is None)

    async def _look(self, rooms: frozenset[RoomId]) -> None:
        """Have those looked at of which we may know something that is outdated."""
        until = self.now() + LOOK_SECONDS
        await gather_bounded(
            AT_ONCE, (self._look_at(room, until) for room in await self._outdated(rooms))
        )

    async def _outdated(self, rooms: frozenset[RoomId]) -> list[RoomId]:
        """List them in their order: changed ones, then new ones; each by when it was read last.

        Whoever has a room of their own change all the time comes behind those who do not.
        """
        late = await in_pieces(filter(self._is_outdated, rooms), self.clock)
        late = [room for room in late if room in self._tallies]  # it may have ended meanwhile
        read_at = self.policies.read_at
        return sorted(late, key=lambda room: (self._tallies[room].is_first, read_at(room)))

    async def _look_at(self, room: RoomId, until: float) -> None:
        if self.now() >= until or not self._is_outdated(room):
            return
        for _ in self.policies.events:
            await self.limiter.turn()
        if self._is_outdated(room):  # else a token or the rota was faster
            self.policies.outdated(room)
            self.on_change(room)

    def _is_outdated(self, room: RoomId) -> bool:
        tally = self._tallies.get(room)
        return tally is not None and self.policies.read_at(room) < tally.since
