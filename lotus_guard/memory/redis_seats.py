"""The seats that several guards share: a compare-and-set of one room's table in Redis.

The seats in this process are a copy. A change is made on the copy and offered to Redis together
with the version that it was made from; where another guard was faster, Redis answers with its table
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

from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import RoomId
from lotus_guard.core.seat_merge import merged
from lotus_guard.core.seat_table import Table
from lotus_guard.core.seats import Seats
from lotus_guard.core.seats_json import read_table, write_table
from lotus_guard.core.text import printable
from lotus_guard.enforce.deferreds import gather_bounded
from lotus_guard.enforce.ports import Now, Outage, Reason
from lotus_guard.memory.redis_keys import Keyspace
from lotus_guard.memory.redis_scripts import REPLACE

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
class Version:
    """Names one writing of a room's table; the empty lineage stands for none.

    Tables of one lineage follow each other; another lineage means that Redis has lost the table
    and a guard has written its own again.
    """

    lineage: str = ""
    number: int = 0
    writer: str = ""

    def __str__(self) -> str:
        return f"{self.lineage}:{self.number}:{self.writer}" if self.lineage else ""

    def follows(self, other: "Version") -> bool:
        """Whether this was written on top of the other."""
        return self.lineage == other.lineage and self.number > other.number


def read_version(text: str) -> Version:
    """Read a version; raises ValueError for what is none."""
    if not text:
        return Version()
    lineage, number, writer = text.split(":")
    return Version(lineage, int(number), writer)


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

    keys: Keyspace
    seats: Seats
    lineage: Callable[[], str]
    """Makes a name for a new lineage of tables."""
    now: Now
    on_contention: Callable[[], None] = lambda: None
    """Told of each round that has to be done again."""
    _entries: LruDict[RoomId, _Entry] = field(init=False, factory=lambda: LruDict(20_000))
    _apart: set[RoomId] = field(init=False, factory=set)
    """The rooms whose seats the others do not know as they are here."""
    _throttle: LogThrottle = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._throttle = LogThrottle(self.now)

    async def change(self, room: RoomId, work: Callable[[Seats], V]) -> V:
        """Do a piece of work on a room's seats and return its result."""
        entry = self._entries.get(room)
        if entry is None:
            entry = _Entry()
            self._entries.put(room, entry)
        done: Deferred[V] = Deferred()
        entry.waiting.append((work, done))
        if not entry.is_busy:
            entry.is_busy = True
            ensureDeferred(self._rounds(room, entry))
        return await done

    def is_certain(self, room: RoomId) -> bool:
        """Whether all seats that anybody gave in a room are known here.

        Where Redis has lost a table, another guard may know of a seat that it gave just before,
        and tell only with its next change: that is waited for as long as a seat is held.
        """
        entry = self._entries.get(room)
        if entry is None or entry.is_apart:
            return False
        return entry.lost_at is None or self.now() - entry.lost_at > self.seats.hold

    async def reunite(self) -> None:
        """Exchange with the others the seats that were given while Redis was away.

        Else a room's would wait for its next change, and whoever leads might put its people out.
        """
        rooms = list(self._apart)[:MOST_REUNITED]
        await gather_bounded(AT_ONCE, (self.change(room, lambda _seats: None) for room in rooms))

    async def _rounds(self, room: RoomId, entry: _Entry) -> None:
        """Do what waits until nothing does."""
        try:
            while entry.waiting:
                batch, entry.waiting = entry.waiting, []
                # Who has gone away meanwhile wants no seat any more.
                batch = [(work, done) for work, done in batch if not done.called]
                try:
                    results = await self._round(room, entry, [work for work, _ in batch])
                except Exception as error:
                    results = [_Raised(error)] * len(batch)
                for (_, done), result in zip(batch, results, strict=True):
                    if isinstance(result, _Raised):
                        done.errback(result.error)
                    else:
                        done.callback(result)
        finally:
            entry.is_busy = False
            (self._apart.add if entry.is_apart else self._apart.discard)(room)

    async def _round(self, room: RoomId, entry: _Entry, works: list[Work]) -> list[Any]:
        for _ in range(MOST_TRIES):
            before = self.seats.table(room)
            results = self._do(works)
            after = self.seats.table(room)
            try:
                there = await self._offer(room, entry, after if after != before else None)
            except Outage:
                entry.is_apart = True
                return results
            if there is None:
                return results
            self.on_contention()
            self.seats.put_table(room, self._reconciled(entry, before, *there))
        more = self._throttle.more("contended")
        if more is not None:
            _log.error(
                "The seats of a room could not be written: others were faster each time{more}",
                more=more,
            )
        entry.is_apart = True
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
        self, room: RoomId, entry: _Entry, changed: Table | None
    ) -> tuple[str, str] | None:
        """Offer our table; returns None where Redis took it in, else what is there instead."""
        table = self.seats.table(room) if changed is None and entry.is_apart else changed
        wanted, body = Version(), ""
        if table is not None:
            lineage = entry.version.lineage or self.lineage()
            wanted = Version(lineage, entry.version.number + 1, self.keys.instance)
            body = json.dumps(
                write_table(table, self.keys.server.clock_offset), separators=(",", ":")
            )
            self._bound(room, body)
        key = self.keys.key(f"seats:{room}").encode("utf-8", "surrogatepass")
        arguments = (entry.there, str(wanted), body, KEEP_MILLISECONDS)
        there = await self.keys.server.script(REPLACE, [key], arguments)
        if there:
            version, body = there
            return version, body
        if table is not None:
            entry.there, entry.version, entry.is_apart = str(wanted), wanted, False
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

    def _reconciled(self, entry: _Entry, mine: Table, version: str, document: str) -> Table:
        """Make the table to go on with from ours and the one that is in Redis."""
        before, entry.there, entry.version = entry.version, version, Version()
        try:
            entry.version = read_version(version)
            theirs = (
                read_table(json.loads(document), self.keys.server.clock_offset)
                if version
                else Table()
            )
        except (ValueError, TypeError, KeyError, AttributeError):
            more = self._throttle.more("none of ours")
            if more is not None:
                _log.error(
                    "What Redis has as a room's seats is none of ours; it is written anew{more}",
                    more=more,
                )
            entry.is_apart = True
            return mine
        if not version:
            # Redis has lost it: it is written anew from our copy.
            entry.is_apart = mine != Table()
            entry.lost_at = self.now()
            return mine
        if before.lineage and not entry.version.follows(before):
            entry.lost_at = self.now()
        if not entry.is_apart and (entry.version.follows(before) or mine == Table()):
            return theirs
        entry.is_apart = True
        return merged(mine, theirs)
