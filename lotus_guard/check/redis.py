"""Redis, over a connection like the guard's: is it there, new enough and near?

Where it is not, one more connection tells what stands in its place: Redis answers an inline `PING`
by a line that begins with `+` or `-`, also to who has no password; a TLS server breaks off, or
answers by an alert (0x15).
"""

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.task import deferLater
from twisted.python.failure import Failure

from lotus_guard.check.context import CheckContext
from lotus_guard.check.exchange import outage_in_words
from lotus_guard.check.finding import Finding, fault, ok, warning
from lotus_guard.enforce.deferreds import with_timeout
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.memory.redis_address import RedisAddress
from lotus_guard.memory.redis_connection import Redis
from lotus_guard.memory.redis_protocol import endpoint_of
from lotus_guard.neighbours.http import outage_of

NAME = "redis"
OLDEST = (6, 2)
"""What the guard uses (XRANGE without its first entry, XTRIM MINID) came with Redis 6.2."""
SLOW_SECONDS = 0.1
SECONDS = 3.0
RUNS = "set it to the address of a running Redis"
PASSWORD = "give it Redis' user and password, or set LOTUS_GUARD_REDIS_PASSWORD_FROM_FILE"  # noqa: S105  (none)
NO_TLS = "use redis:// instead of rediss://, or the tls-port of that Redis"
TLS = "use rediss:// instead of redis://, or the plain port of that Redis"
TRUST = "add ?ca= with the file of the authority that signed its certificate, which names the host"


async def check_redis(context: CheckContext) -> list[Finding]:
    """Check the Redis of the settings, where they name one."""
    address = context.config.redis
    if address is None:
        return []
    word = address.password or context.config.credentials.redis.value
    return await check_redis_at(evolve(address, password=word), context.clocks.reactor)


async def check_redis_at(address: RedisAddress, clock: Any) -> list[Finding]:
    """Check whether the guards can share their seats there."""
    redis = Redis(address, clock, clock.seconds, seconds=1.0)
    redis.start()
    try:
        return [await _ask(redis, address, clock)]
    finally:
        # A TLS connection to what speaks none never closes in order.
        closing = with_timeout(1.0, clock, redis.close())
        closing.addErrback(lambda _: None)
        await closing


async def _ask(redis: Redis, address: RedisAddress, clock: Any) -> Finding:
    begun = clock.seconds()
    while clock.seconds() - begun < SECONDS:
        try:
            sent = clock.seconds()
            info = await redis.command("INFO", "server")
            return judge(str(info), clock.seconds() - sent, address)
        except Outage:
            await deferLater(clock, 0.2, lambda: None)
    if redis.refusal:
        return _fault(f"Redis at {address} refuses the login: {redis.refusal}", PASSWORD)
    return await _instead(address, clock)


def _fault(seen: str, wanted: str) -> Finding:
    return fault(NAME, seen, f"LOTUS_GUARD_STATE: {wanted} (calls continue without it)")


async def _instead(address: RedisAddress, clock: Any) -> Finding:
    """What is there in place of the Redis that we want."""
    plain = await _peek(evolve(address, is_tls=False), clock)
    if isinstance(plain, Outage):
        return _fault(f"no answer from {address}: {outage_in_words(plain)}", RUNS)
    if plain.startswith((b"+", b"-")) and address.is_tls:
        return _fault(f"Redis at {address} speaks no TLS", NO_TLS)
    if plain.startswith((b"+", b"-")):
        return _fault(f"Redis at {address} does not answer in time", RUNS)
    if plain and not plain.startswith(b"\x15"):
        return _fault(f"{address} is not a Redis", RUNS)
    if not address.is_tls:
        return _fault(f"{address} does not answer without TLS: it may want TLS", TLS)
    secured = await _peek(address, clock)
    why = secured.detail if isinstance(secured, Outage) else "it closes the connection"
    return _fault(f"{address} has no TLS certificate that can be trusted ({why})", TRUST)


class _Peek(Protocol):
    """Says `PING` and hears what comes first, or that nothing does."""

    def __init__(self) -> None:
        self.heard: Deferred[bytes] = Deferred()

    def connectionMade(self) -> None:
        self.transport.write(b"PING\r\n")  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        if not self.heard.called:
            self.heard.callback(data[:16])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self.heard.called:
            return
        if isinstance(reason.value, ConnectionDone | ConnectionLost):
            self.heard.callback(b"")
        else:
            self.heard.errback(reason)


async def _peek(address: RedisAddress, clock: Any) -> bytes | Outage:
    """The first bytes that come from there; none where it breaks off."""
    try:
        connecting = endpoint_of(address, clock).connect(Factory.forProtocol(_Peek))
        peek: Any = await with_timeout(SECONDS, clock, connecting)
    except Exception as failure:  # whatever its file with a certificate is, too
        return _outage_of(failure)
    try:
        heard: bytes = await with_timeout(SECONDS, clock, peek.heard)
        return heard
    except TimeoutError:
        return Outage(Reason.TIMEOUT, "it sends nothing")
    except Exception as failure:
        return _outage_of(failure)
    finally:
        peek.transport.abortConnection()


def _outage_of(failure: Exception) -> Outage:
    """Name a failure; what OpenSSL says is a list of (library, function, reason)."""
    outage, said = outage_of(failure), failure.args[0] if failure.args else None
    if isinstance(said, list) and said and isinstance(said[0], tuple):
        return Outage(outage.reason, str(said[0][-1]))
    return outage


def judge(info: str, seconds: float, address: RedisAddress) -> Finding:
    """Judge what Redis says of itself (`INFO server`), and how long that took."""
    lines = dict(line.partition(":")[::2] for line in info.splitlines())
    version = lines.get("redis_version", "0")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST:
        return fault(NAME, f"Redis {version} at {address} is too old", "run Redis 6.2 or newer")
    if seconds > SLOW_SECONDS:
        seen = f"Redis at {address} takes {1000 * seconds:.0f} ms to answer"
        return warning(
            NAME, seen, "use a Redis nearby: each token in a room with a seat limit waits for it"
        )
    return ok(NAME, f"Redis {version} answers at {address} in {1000 * seconds:.1f} ms")
