"""What ties a guard to others: nothing and a SQLite file of its own, or a Redis."""

from typing import TYPE_CHECKING, Any

from attrs import frozen

from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Seats
from lotus_guard.enforce.claims import ClaimStore, LocalClaims
from lotus_guard.enforce.ports import Outage
from lotus_guard.enforce.records import short_id
from lotus_guard.enforce.seat_store import LocalSeats, SeatStore
from lotus_guard.enforce.transactions import Changes
from lotus_guard.memory.redis_address import RedisAddress
from lotus_guard.memory.sqlite import SqliteStore, Tenant
from lotus_guard.memory.store import Store
from lotus_guard.observe.health import Dependency
from lotus_guard.run.basics import Basics

if TYPE_CHECKING:  # loaded by those who share only: it takes 0.08 s of the start
    from lotus_guard.memory.redis_connection import Redis
    from lotus_guard.memory.redis_keys import Server
    from lotus_guard.memory.redis_lease import Lease
    from lotus_guard.memory.redis_news import NewsListener
    from lotus_guard.memory.redis_store import RedisStore


@frozen
class Cluster:
    """What ties this guard to others: nothing, or Redis."""

    store: Store
    """Where this guard keeps what it learns."""
    shared: "RedisStore | None" = None
    """The same, where others read it too."""
    lease: "Lease | None" = None
    redis: "Redis | None" = None
    seconds: float = 0.0
    """How long a change of seats may take."""

    def tell_issued(self, room: RoomId) -> None:
        """Let the others know, where there are any, that a token was given out for a room."""
        if self.shared is not None:
            self.shared.teller.issued(room)

    def tell_push(self, room: RoomId | None, body: bytes, header: str) -> None:
        """Pass on a push that was believed to the others."""
        if self.shared is not None:
            self.shared.teller.pushed(room, body, header)

    def tell_changes(self, changes: Changes) -> None:
        """Pass on what the homeserver told in a transaction to the others."""
        if self.shared is not None:
            self.shared.teller.changed(changes)

    def tell_webhook(self, body: bytes, authorization: str) -> None:
        """Pass on a genuine webhook to the others."""
        if self.shared is not None:
            self.shared.teller.hooked(body, authorization)

    def start(self, listener: "NewsListener") -> None:
        """Begin to connect and to listen; `listener` takes up what the others tell."""
        if self.redis is not None and self.shared is not None:
            self.redis.start(self.shared.reader(listener))

    async def close(self) -> None:
        """Write what is left, step down, and close the connection."""
        await self.store.close()
        if self.lease is not None:
            await self.lease.step_down()
        if self.redis is not None:
            await self.redis.close()


def make_cluster(basics: Basics, server: "Server | None") -> Cluster:
    """Make what the settings want; `server` stands for the Redis that they name."""
    address = basics.config.redis
    return Cluster(_state_file(basics)) if address is None else _sharing(basics, address, server)


def make_seat_store(basics: Basics, cluster: Cluster, seats: Seats) -> SeatStore:
    """Make what changes seats, for all guards that share them."""
    if cluster.shared is None:
        return LocalSeats(seats)
    from lotus_guard.memory.redis_seats import RedisSeats

    clocks = basics.clocks

    def new_id() -> str:
        return short_id(clocks.random)

    return RedisSeats(
        cluster.shared.keys, seats, new_id, clocks.now, basics.metrics.memory.contended
    )


def make_claims(basics: Basics, cluster: Cluster) -> ClaimStore | None:
    """Make what keeps what may be given back; None where nothing is."""
    if not basics.config.gives_back:
        return None
    if isinstance(cluster.store, SqliteStore):
        rows = cluster.store.claims
        rows.is_used = True
        return LocalClaims(rows.claims, rows.keep)
    assert cluster.shared is not None, "there is a file, or a Redis"
    from lotus_guard.memory.redis_claims import RedisClaims

    return RedisClaims(cluster.shared.keys, basics.clocks.epoch)


@frozen
class _FileHealth:
    """Counts the faults of the state file, and shows whether it does well."""

    basics: Basics

    def failed(self, why: str) -> None:
        """Take note of a fault."""
        self.basics.metrics.memory.store_failed(why)
        self.basics.health.note(Dependency.STORE, why)

    def written(self) -> None:
        """Take note that a write has succeeded."""
        self.basics.metrics.memory.store_written()
        self.basics.health.note(Dependency.STORE, None)


def _state_file(basics: Basics) -> SqliteStore:
    config, clocks = basics.config, basics.clocks
    tenant = Tenant(short_id(clocks.random), config.listen)
    keep_seconds = config.keep_decisions * 86400.0
    return SqliteStore(config.state, clocks, _FileHealth(basics), tenant, keep_seconds)


def _sharing(basics: Basics, address: RedisAddress, server: "Server | None") -> Cluster:
    from lotus_guard.memory.redis_connection import SECONDS, SHARE
    from lotus_guard.memory.redis_keys import Keyspace
    from lotus_guard.memory.redis_lease import Lease
    from lotus_guard.memory.redis_store import RedisStore

    config, clocks = basics.config, basics.clocks
    seconds = min(SECONDS, config.deadline * SHARE)
    redis = None if server else _connection(basics, address, seconds)
    reached: Any = server or redis
    keys = Keyspace(reached, address.prefix, short_id(clocks.random))
    store = RedisStore(keys, clocks, config.keep_decisions * 86400.0)
    return Cluster(store, store, Lease(keys, clocks.now), redis, seconds)


def _connection(basics: Basics, address: RedisAddress, seconds: float) -> "Redis":
    from lotus_guard.memory.redis_connection import ConnectionListener, Redis

    class RedisHealth(ConnectionListener):
        """Counts the faults of Redis, and shows whether it is there."""

        def answered(self) -> None:
            basics.metrics.memory.redis_answers()
            basics.health.note(Dependency.STORE, None)

        def away(self, outage: Outage) -> None:
            basics.health.note(Dependency.STORE, str(outage))
            basics.metrics.memory.redis_is_away(outage)

        def failed(self, outage: Outage) -> None:
            basics.metrics.memory.redis_failed(outage)

    clocks, password = basics.clocks, basics.config.credentials.redis
    return Redis(address, clocks.reactor, clocks.now, RedisHealth(), seconds, password)
