"""The seats that several guards share: changes of one room's table, one after the other in Redis.

The seats in this process are a copy. A change is made on the copy, and what is different by it is
offered to Redis together with the version that it was made from. Where another guard was faster,
Redis answers with what that one has changed, and ours is made again on that. Changes of a room that
come in meanwhile wait and go together in the next round: so guards contend, not requests.

Most changes seat somebody in a room that is not nearly full. Such a change holds all the same where
others have seated no more people meanwhile than there was room for (its *slack*), and is made at
once: on two changes that only hold seats it does not matter which was first (`core.seat_changes`).

Where Redis does not answer, the copy is all there is: it is changed alone (calls go on), and united
with what is in Redis once it is back (`lotus_guard.core.seat_merge`).
"""

from collections.abc import Callable, Sequence
from math import inf
from typing import Any, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.logger import Logger

from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import RoomId
from lotus_guard.core.seat_changes import Change, change_between
from lotus_guard.core.seat_merge import merged
from lotus_guard.core.seat_table import Table
from lotus_guard.core.seats import Seats
from lotus_guard.core.text import printable
from lotus_guard.enforce.deferreds import gather_bounded
from lotus_guard.enforce.ports import Now, Outage, Reason
from lotus_guard.enforce.seat_store import no_slack
from lotus_guard.memory.redis_changes import (
    FAULTS,
    MORE,
    Known,
    Reply,
    Version,
    people,
    read_reply,
    read_version,
    seated_by,
    written_change,
    written_table,
)
from lotus_guard.memory.redis_keys import Keyspace
from lotus_guard.memory.redis_scripts import CHANGE

_log = Logger()
V = TypeVar("V")
Work = tuple[Callable[[Seats], Any], Callable[[Any], float]]
"""A piece of work, and the slack of its result."""

KEEP_MILLISECONDS = 2 * 3600 * 1000
"""How long Redis keeps the table of a room that nobody changes."""
MOST_TRIES = 50
MOST_REUNITED, AT_ONCE = 200, 8
"""Of the rooms that are apart so many are united at a time, a second later the next."""
MOST_TABLE = 1024 * 1024
"""Bytes of a table as JSON; a call of 2,000 people has a third. One that is longer would keep
everybody else's waiting: its room goes on without the others, as if Redis were away. So is one
change; of those since the last table there are `MOST_CHANGED` characters and one change more."""
MOST_CHANGES, MOST_CHANGED = 64, 64 * 1024
"""After so many changes, or characters of them, the whole table is written."""


@frozen
class _Raised:
    """In place of a result: a piece of work that failed."""

    error: Exception


@define(eq=False)
class _Entry(Known):
    """One room: what is known of its table in Redis, and what waits to change it."""

    is_apart: bool = False
    """Our copy was changed while Redis did not take that in."""
    lost_at: float | None = None
    """When Redis was last found to have lost something of this room."""
    waiting: list[tuple[Work, Deferred[Any]]] = field(init=False, factory=list)
    is_busy: bool = field(init=False, default=False)


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

    async def change(
        self, room: RoomId, work: Callable[[Seats], V], slack: Callable[[V], float] = no_slack
    ) -> V:
        """Do a piece of work on a room's seats and return its result."""
        entry = self._entries.get(room)
        if entry is None:
            entry = _Entry()
            self._entries.put(room, entry)
        done: Deferred[V] = Deferred()
        entry.waiting.append(((work, slack), done))
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

    def sweep(self, now: float) -> None:
        """Clear away rooms that are over: the next change of one is told all that is in Redis."""
        self.seats.sweep(now)
        rooms = frozenset(self.seats.rooms())
        for room, entry in list(self._entries.items()):
            if room not in rooms and not entry.is_busy and self.is_certain(room):
                self._entries.pop(room)

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

    async def _round(self, room: RoomId, entry: _Entry, works: Sequence[Work]) -> list[Any]:
        for _ in range(MOST_TRIES):
            before = self.seats.table(room)
            results, slack = self._do(works)
            try:
                reply = await self._offer(room, entry, slack)
            except Outage:
                entry.is_apart = True
                return results
            if reply.is_made:
                return results
            self.on_contention()
            self.seats.put_table(room, self._reconciled(entry, before, reply))
        more = self._throttle.more("contended")
        if more is not None:
            _log.error(
                "Could not write a room's seats to Redis: other guards kept changing them{more}",
                more=more,
            )
        entry.is_apart = True
        return self._do(works)[0]

    def _do(self, works: Sequence[Work]) -> tuple[list[Any], float]:
        """Do all; returns the results, and the slack that all have."""
        results: list[Any] = []
        least = inf
        for work, slack in works:
            try:
                result = work(self.seats)
                least = min(least, slack(result))
            except Exception as error:
                result, least = _Raised(error), -1.0
            results.append(result)
        return results, least

    async def _offer(self, room: RoomId, entry: _Entry, slack: float) -> Reply:
        """Offer what is different here."""
        table = self.seats.table(room)
        change = change_between(entry.known, table)
        arguments = self._arguments(room, entry, table, change, slack)
        names = map(self.keys.key, (f"table:{room}", f"seats:{room}"))
        keys = [name.encode("utf-8", "surrogatepass") for name in names]
        reply = read_reply(await self.keys.server.script(CHANGE, keys, arguments))
        if reply.is_made and self._made(room, entry, table, reply):
            entry.count(reply, len(arguments[4]), arguments[5])
        return reply

    def _made(self, room: RoomId, entry: _Entry, table: Table, reply: Reply) -> bool:
        """Take in what Redis has now: ours, and what else; False where that is no table."""
        try:
            version = read_version(reply.version)
            known = reply.make_on(table, self.keys.server.clock_offset)
        except FAULTS:  # then nothing is known: the next change is told all that is there
            entry.there, entry.version, entry.known = "", Version(), Table()
            entry.is_apart = True
            return False
        if reply.lines:
            mine = known.copy()
            # A hold among them may have run out by our look. Its end must go out with our next
            # change, which is none that joins others then: or a guard with an older look would
            # count it as alive, beside whom we seat in its place.
            mine.tidy(max((look.at for look in mine.looks.values()), default=0.0))
            self.seats.put_table(room, mine)
        entry.there, entry.version, entry.known = reply.version, version, known
        entry.is_apart = False
        return True

    def _arguments(
        self, room: RoomId, entry: _Entry, table: Table, change: Change, slack: float
    ) -> tuple[str, str, int, int, str, str, int]:
        """What the script is told."""
        if not change:
            return entry.there, "", people(slack), 0, "", "", KEEP_MILLISECONDS
        offset = self.keys.server.clock_offset
        lineage = entry.version.lineage or self.lineage()
        wanted = Version(lineage, entry.version.number + 1, self.keys.instance)
        seats, whole = MORE, ""
        if entry.is_apart or not change.joins(entry.known, table):
            slack = -1.0
        else:
            seats = seated_by(change, entry.known, self.now())
        if (
            not entry.version.lineage
            or max(entry.changes - MOST_CHANGES, entry.changed - MOST_CHANGED) >= 0
        ):
            slack, whole = -1.0, written_table(table, offset)
        written = written_change(change, offset)
        self._bound(room, max(len(whole), len(written)))
        return entry.there, str(wanted), people(slack), seats, written, whole, KEEP_MILLISECONDS

    def _bound(self, room: RoomId, size: int) -> None:
        if size <= MOST_TABLE:
            return
        more = self._throttle.more("too long")
        if more is not None:
            _log.error(
                "{room} has too many seats to share through Redis{more}: each guard uses its own",
                room=printable(room),
                more=more,
            )
        raise Outage(Reason.OVERSIZED, "the room has too many seats to share")

    def _reconciled(self, entry: _Entry, mine: Table, reply: Reply) -> Table:
        """Make the table to go on with from ours and what is in Redis."""
        before, known = entry.version, entry.known
        entry.there, entry.version, entry.known = reply.version, Version(), Table()
        try:
            version = read_version(reply.version)
            theirs = reply.make_on(known, self.keys.server.clock_offset)
        except FAULTS:
            more = self._throttle.more("none of ours")
            if more is not None:
                _log.error(
                    "Redis holds something else in place of a room's seats; overwriting it{more}",
                    more=more,
                )
            entry.is_apart = True
            return mine
        if not reply.version:
            # Redis has lost it: it is written anew from our copy.
            entry.is_apart = mine != Table()
            entry.lost_at = self.now()
            return mine
        entry.version, entry.known = version, theirs
        entry.count(reply)
        if before.lineage and not version.follows(before):
            entry.lost_at = self.now()
        if not entry.is_apart and (version.follows(before) or mine == Table()):
            return theirs.copy()
        entry.is_apart = True
        return merged(mine, theirs)
