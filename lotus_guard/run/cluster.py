"""What ties a guard to others: nothing, and a SQLite file of its own; or a Redis."""

from typing import TYPE_CHECKING, Any, Protocol

from attrs import frozen

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Seats
from lotus_guard.enforce.ports import Outage
from lotus_guard.enforce.records import short_id
from lotus_guard.enforce.seat_store import LocalSeats, SeatStore
from lotus_guard.memory.redis_scripts import RedisAddress
from lotus_guard.memory.sqlite import Store
from lotus_guard.observe.health import Dependency
from lotus_guard.run.basics import Basics

if TYPE_CHECKING:  # loaded by those who share only: it takes 0.08 s of the start
    from lotus_guard.memory.redis_connection import Redis, Server
    from lotus_guard.memory.redis_lease import Lease
    from lotus_guard.memory.redis_news import RedisStore


class Listener(Protocol):
    """Takes up what the other guards tell."""

    def on_push(self, body: bytes, header: str) -> None:
        """Take in a push that another guard got."""

    def on_old_push(self, body: bytes, header: str) -> None:
        """Take in a push that another guard got before this one listened."""

    def on_webhook(self, body: bytes, authorization: str) -> None:
        """Take in a webhook that another guard got."""

    def on_issued(self, room: RoomId) -> None:
        """Take note that another guard has given out a token for a room."""


@frozen
class Cluster:
    """What ties this guard to others: nothing, or Redis."""

    book: SeatStore
    store: "Store | RedisStore"
    """Where this guard keeps what it learns."""
    shared: "RedisStore | None" = None
    """The same, where others read it too."""
    lease: "Lease | None" = None
    redis: "Redis | None" = None
    seconds: float = 0.0
    """How long a change of seats may take."""

    def tell_issued(self, room: RoomId) -> None:
        """Tell the others, where there are any, that a token was given out for a room."""
        if self.shared is not None:
            self.shared.issued(room)

    def tell_push(self, room: RoomId | None, body: bytes, header: str) -> None:
        """Tell the others of a push that was believed."""
        if self.shared is not None:
            self.shared.pushed(room, body, header)

    def tell_webhook(self, body: bytes, authorization: str) -> None:
        """Tell the others of a genuine webhook."""
        if self.shared is not None:
            self.shared.hooked(body, authorization)

    def subscribe(self, hints: "Listener") -> None:
        """Hand on what the others tell."""
        if self.shared is not None:
            ears = self.shared.ears
            ears.push, ears.recall = hints.on_push, hints.on_old_push
            ears.webhook, ears.issued = hints.on_webhook, hints.on_issued

    def start(self) -> None:
        """Begin to connect and to listen."""
        if self.redis is not None and self.shared is not None:
            store = self.shared
            self.redis.start(store.channel, store.hear, store.listen)

    async def close(self) -> None:
        """Write what is left, give the lead up, and hang up."""
        await self.store.close()
        if self.lease is not None:
            await self.lease.step_down()
        if self.redis is not None:
            await self.redis.close()


def make_cluster(
    basics: Basics, directory: Directory, seats: Seats, server: "Server | None"
) -> Cluster:
    """Make what the settings want; `server` stands for the Redis that they name."""
    address = basics.config.redis
    if address is None:
        return Cluster(LocalSeats(seats), _state_file(basics, directory, seats))
    return _sharing(basics, directory, seats, address, server)


def _state_file(basics: Basics, directory: Directory, seats: Seats) -> Store:
    config, clocks = basics.config, basics.clocks

    def failed(why: str) -> None:
        basics.metrics.store_failed(why)
        basics.health.note(Dependency.STORE, why)

    return Store(
        config.state,
        directory,
        seats,
        clocks.reactor,
        clocks.now,
        clocks.epoch,
        on_failure=failed,
        on_written=lambda: basics.health.note(Dependency.STORE, None),
        instance=short_id(clocks.random),
        listen=config.listen,
        keep_seconds=config.keep_decisions * 86400.0,
    )


def _sharing(
    basics: Basics,
    directory: Directory,
    seats: Seats,
    address: RedisAddress,
    server: "Server | None",
) -> Cluster:
    from lotus_guard.memory.redis_connection import SECONDS, SHARE
    from lotus_guard.memory.redis_lease import Lease
    from lotus_guard.memory.redis_news import RedisStore
    from lotus_guard.memory.redis_seats import RedisSeats

    config, clocks, prefix = basics.config, basics.clocks, address.prefix
    seconds = min(SECONDS, config.deadline * SHARE)
    redis = None if server else _connection(basics, address, seconds)
    reached: Any = server or redis
    instance = short_id(clocks.random)

    def new_id() -> str:
        return short_id(clocks.random)

    seat_store = RedisSeats(
        reached, seats, prefix, instance, new_id, clocks.now, basics.metrics.contended
    )
    store = RedisStore(
        reached,
        prefix,
        directory,
        clocks.reactor,
        clocks.now,
        clocks.epoch,
        instance,
        config.keep_decisions * 86400.0,
    )
    lease = Lease(reached, prefix, instance, clocks.now)
    return Cluster(seat_store, store, store, lease, redis, seconds)


def _connection(basics: Basics, address: RedisAddress, seconds: float) -> "Redis":
    from lotus_guard.memory.redis_connection import Redis

    def ended(outage: Outage | None) -> None:
        basics.health.note(Dependency.STORE, None if outage is None else str(outage))
        if outage is not None:
            basics.metrics.redis_is_away(outage)

    return Redis(
        address,
        basics.clocks.reactor,
        basics.clocks.now,
        ended,
        basics.metrics.redis_failed,
        seconds,
        password=basics.config.credentials.redis,
    )
