"""What ties a guard to others: nothing, and a SQLite file of its own; or a Redis."""

from collections.abc import Callable
from secrets import token_bytes
from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.logger import Logger

from lotus_guard.core.directory import Directory
from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Seats
from lotus_guard.enforce.hints import Webhooks
from lotus_guard.enforce.ports import Outage
from lotus_guard.enforce.records import short_id
from lotus_guard.enforce.seat_store import LocalSeats, SeatStore
from lotus_guard.memory.sqlite import Store
from lotus_guard.observe.health import Dependency, Health
from lotus_guard.observe.metrics import Metrics
from lotus_guard.rules.push import Unsigned
from lotus_guard.run.config import Config

if TYPE_CHECKING:  # loaded by those who share only: it takes 0.08 s of the start
    from lotus_guard.memory.redis_connection import Redis, Server
    from lotus_guard.memory.redis_lease import Lease
    from lotus_guard.memory.redis_news import RedisStore

_log = Logger()


@frozen
class Clocks:
    """Where the guard takes time from."""

    reactor: Any
    now: Callable[[], float]
    """Seconds that never run backwards."""
    epoch: Callable[[], float]
    """Seconds since 1970, as the tokens count them."""
    random: Callable[[int], bytes] = token_bytes
    """Gives so many random bytes."""


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

    def issued(self, expect: Callable[[RoomId], None]) -> Callable[[RoomId], None]:
        """Tell the others of each token that is given out, too."""
        store = self.shared
        if store is None:
            return expect

        def told(room: RoomId) -> None:
            expect(room)
            store.issued(room)

        return told

    def push(self, take: Callable[[bytes, str], RoomId | None]) -> Callable[[bytes, str], None]:
        """Tell the others of each push that was believed, too."""
        store = self.shared

        def taken(body: bytes, header: str) -> None:
            room = take(body, header)
            if store is not None:
                store.pushed(room, body, header)

        return taken

    def listen(
        self,
        webhooks: Webhooks,
        push: Callable[[bytes, str], object],
        recall: Callable[[bytes, str], None],
        expect: Callable[[RoomId], None],
    ) -> None:
        """Take up what the others tell."""
        store = self.shared
        if store is None:
            return
        throttle = LogThrottle(webhooks.now)

        def on_push(body: bytes, header: str) -> None:
            try:
                push(body, header)
            except Unsigned as why:
                more = throttle.more("push")
                if more is not None:
                    _log.debug(
                        "A push that another guard passed on is not taken: {why}{more}",
                        why=why,
                        more=more,
                    )

        def on_webhook(body: bytes, authorization: str) -> None:
            webhooks.take(body, authorization, is_heard=True)

        webhooks.on_genuine = store.hooked
        ears = store.ears
        ears.push, ears.recall, ears.webhook, ears.issued = on_push, recall, on_webhook, expect

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
    config: Config,
    clocks: Clocks,
    model: "Server | None",
    knowledge: Directory,
    seats: Seats,
    metrics: Metrics,
    health: Health,
) -> Cluster:
    """Make what the configuration wants; `model` stands for the Redis that it names."""
    if config.redis is None:
        return Cluster(LocalSeats(seats), _store(config, clocks, knowledge, seats, metrics, health))
    from lotus_guard.memory.redis_connection import SECONDS, SHARE, Redis
    from lotus_guard.memory.redis_lease import Lease
    from lotus_guard.memory.redis_news import RedisStore
    from lotus_guard.memory.redis_seats import RedisSeats

    address, now = config.redis, clocks.now

    def ended(outage: Outage | None) -> None:
        health.note(Dependency.STORE, None if outage is None else str(outage))
        if outage is not None:
            metrics.redis_is_away(outage)

    seconds = min(SECONDS, config.deadline * SHARE)
    credentials = config.credentials
    redis = (
        None
        if model
        else Redis(
            address,
            clocks.reactor,
            now,
            ended,
            metrics.redis_failed,
            seconds,
            password=credentials.redis,
        )
    )
    server: Any = model or redis
    instance = short_id(clocks.random)
    book = RedisSeats(
        server,
        seats,
        address.prefix,
        instance,
        lambda: short_id(clocks.random),
        now,
        metrics.contended,
    )
    store = RedisStore(
        server,
        address.prefix,
        knowledge,
        clocks.reactor,
        now,
        clocks.epoch,
        instance,
        config.keep_decisions * 86400.0,
    )
    lease = Lease(server, address.prefix, instance, now)
    return Cluster(book, store, store, lease, redis, seconds)


def _store(
    config: Config,
    clocks: Clocks,
    knowledge: Directory,
    seats: Seats,
    metrics: Metrics,
    health: Health,
) -> Store:
    def failed(why: str) -> None:
        metrics.store_failed(why)
        health.note(Dependency.STORE, why)

    return Store(
        config.state,
        knowledge,
        seats,
        clocks.reactor,
        clocks.now,
        clocks.epoch,
        on_failure=failed,
        on_written=lambda: health.note(Dependency.STORE, None),
        instance=short_id(clocks.random),
        listen=config.listen,
        keep_seconds=config.keep_decisions * 86400.0,
    )
