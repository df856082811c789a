"""The seating book that several guards share: a compare-and-set of one room's table in Redis.

The seats in this process are a copy. A change is made on the copy and offered to Redis together
with the version that it was made from; where another guard was faster, Redis gives us his table
and the change is made again on that. Changes of a room that come in meanwhile wait and go together
in the next round: so guards contend, not requests.

Where Redis does not answer, the copy is all there is: it is changed alone (calls go on), and united
with what is in Redis once it is back (`lotus_guard.core.seat_merge`).
"""

import json
from collections.abc import Callable
from typing import Any, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from lotus_guard.core.directory import LruDict
from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.core.model import RoomId
from lotus_guard.core.seat_merge import merged
from lotus_guard.core.seat_table import Table
from lotus_guard.core.seats import Seats
from lotus_guard.core.seats_json import read_table, write_table
from lotus_guard.core.text import printable
from lotus_guard.enforce.deferreds import gather_bounded
from lotus_guard.enforce.ports import Now, Outage, Reason
from lotus_guard.memory.redis_connection import Server
from lotus_guard.memory.redis_scripts import REPLACE, Version, read_version

_log = Logger()

V = TypeVar("V")
Work = Callable[[Seats], Any]

KEEP_MILLISECONDS = 2 * 3600 * 1000
"""How long Redis keeps the table of a room that nobody changes."""
MOST_TRIES = 50
MOST_REUNITED, AT_ONCE = 200, 8
"""Of the rooms that are apart so many are united at a time, a second later the next."""
MOST_TABLE = 1024 * 1024
"""Bytes of a table as JSON; a call of 2,000 people has a third. One that is longer would keep
everybody else's waiting: its room goes on without the others, as if Redis were away."""


@frozen
class _Raised:
    """In place of a result: a piece of work that failed."""

    error: Exception


@define(eq=False)
class _Entry:
    """What is known of one room's table in Redis."""

    there: str = ""
    """The version that is in Redis as far as we know, as it is written there."""
    version: Version = field(factory=Version)
    """The same, where it is one of ours: what our copy rests on."""
    is_apart: bool = False
    """Our copy was changed while Redis did not take that in."""
    lost_at: float | None = None
    """When Redis was last found to have lost something of this room."""
    waiting: list[tuple[Work, Deferred[Any]]] = field(factory=list)
    is_busy: bool = False


@define(eq=False)
class RedisSeats:
    """Changes seats in Redis."""

    server: Server
    seats: Seats
    prefix: str
    instance: str
    lineage: Callable[[], str]
    """Makes a name for a new lineage of tables."""
    now: Now
    on_contention: Callable[[], None] = lambda: None
    """Told of each round that has to be done again."""
    _pages: LruDict[RoomId, _Entry] = field(init=False, factory=lambda: LruDict(20_000))
    _apart: set[RoomId] = field(init=False, factory=set)
    """The rooms whose seats the others do not know as they are here."""
    _throttle: LogThrottle = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._throttle = LogThrottle(self.now)

    async def change(self, room: RoomId, work: Callable[[Seats], V]) -> V:
        """Do a piece of work on a room's seats and give its result."""
        page = self._pages.get(room)
        if page is None:
            page = _Entry()
            self._pages.put(room, page)
        done: Deferred[V] = Deferred()
        page.waiting.append((work, done))
        if not page.is_busy:
            page.is_busy = True
            ensureDeferred(self._rounds(room, page))
        return await done

    def is_certain(self, room: RoomId) -> bool:
        """Tell whether all seats that anybody gave in a room are known here.

        Where Redis has lost a table, another guard may know of a seat that it gave just before,
        and tell only with its next change: that is waited for as long as a seat is held.
        """
        page = self._pages.get(room)
        if page is None or page.is_apart:
            return False
        return page.lost_at is None or self.now() - page.lost_at > self.seats.hold

    async def reunite(self) -> None:
        """Tell the others of the seats that were given while Redis was away, and hear of theirs.

        Else a room's would wait for its next change, and whoever leads might put its people out.
        """
        rooms = list(self._apart)[:MOST_REUNITED]
        await gather_bounded(AT_ONCE, (self.change(room, lambda _seats: None) for room in rooms))

    async def _rounds(self, room: RoomId, page: _Entry) -> None:
        """Do what waits until nothing does."""
        try:
            while page.waiting:
                batch, page.waiting = page.waiting, []
                # Who has gone away meanwhile wants no seat any more.
                batch = [(work, done) for work, done in batch if not done.called]
                try:
                    results = await self._round(room, page, [work for work, _ in batch])
                except Exception as error:
                    results = [_Raised(error)] * len(batch)
                for (_, done), result in zip(batch, results, strict=True):
                    if isinstance(result, _Raised):
                        done.errback(result.error)
                    else:
                        done.callback(result)
        finally:
            page.is_busy = False
            (self._apart.add if page.is_apart else self._apart.discard)(room)

    async def _round(self, room: RoomId, page: _Entry, works: list[Work]) -> list[Any]:
        for _ in range(MOST_TRIES):
            before = self.seats.table(room)
            results = self._do(works)
            after = self.seats.table(room)
            try:
                there = await self._offer(room, page, after if after != before else None)
            except Outage:
                page.is_apart = True
                return results
            if there is None:
                return results
            self.on_contention()
            self.seats.put_table(room, self._reconciled(page, before, *there))
        more = self._throttle.more("contended")
        if more is not None:
            _log.error(
                "The seats of a room could not be written: others were faster each time{more}",
                more=more,
            )
        page.is_apart = True
        return self._do(works)

    def _do(self, works: list[Work]) -> list[Any]:
        results = []
        for work in works:
            try:
                results.append(work(self.seats))
            except Exception as error:
                results.append(_Raised(error))
        return results

    async def _offer(
        self, room: RoomId, page: _Entry, changed: Table | None
    ) -> tuple[str, str] | None:
        """Offer our table; gives None where Redis took it in, else what is there instead."""
        table = self.seats.table(room) if changed is None and page.is_apart else changed
        wanted, body = Version(), ""
        if table is not None:
            lineage = page.version.lineage or self.lineage()
            wanted = Version(lineage, page.version.number + 1, self.instance)
            body = json.dumps(write_table(table, self.server.clock_offset), separators=(",", ":"))
            self._bound(room, body)
        key = f"{self.prefix}seats:{room}".encode("utf-8", "surrogatepass")
        arguments = (page.there, str(wanted), body, KEEP_MILLISECONDS)
        there = await self.server.script(REPLACE, [key], arguments)
        if there:
            version, document = there
            return version, document
        if table is not None:
            page.there, page.version, page.is_apart = str(wanted), wanted, False
        return None

    def _bound(self, room: RoomId, body: str) -> None:
        if len(body) <= MOST_TABLE:
            return
        more = self._throttle.more("too long")
        if more is not None:
            _log.error(
                "The seats of {room} are too many to be shared{more}: each guard goes by its own",
                room=printable(room),
                more=more,
            )
        raise Outage(Reason.OVERSIZED, "the room's table is too long")

    def _reconciled(self, page: _Entry, mine: Table, version: str, document: str) -> Table:
        """Make the table to go on with from ours and the one that is in Redis."""
        before, page.there, page.version = page.version, version, Version()
        try:
            page.version = read_version(version)
            theirs = (
                read_table(json.loads(document), self.server.clock_offset) if version else Table()
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            more = self._throttle.more("none of ours")
            if more is not None:
                _log.error(
                    "What Redis has as a room's seats is none of ours; it is written anew{more}",
                    more=more,
                )
            page.is_apart = True
            return mine
        if not version:
            # Redis has lost it: it is written anew from our copy.
            page.is_apart = mine != Table()
            page.lost_at = self.now()
            return mine
        if before.lineage and not page.version.follows(before):
            page.lost_at = self.now()
        if not page.is_apart and (page.version.follows(before) or mine == Table()):
            return theirs
        page.is_apart = True
        return merged(mine, theirs)
