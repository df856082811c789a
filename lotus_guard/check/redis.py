"""Redis, looked at over a connection like the guard's: is it there, new enough and near?"""

from typing import Any

from twisted.internet.task import deferLater

from lotus_guard.adapters.redis import Redis
from lotus_guard.check.finding import Finding, fault, ok, warning
from lotus_guard.core.shared import RedisAddress
from lotus_guard.ports import Outage

NAME = "redis"
OLDEST = (6, 2)
"""What the guard uses (XRANGE without its first entry, XTRIM MINID) came with Redis 6.2."""
SLOW_SECONDS = 0.1
SECONDS = 3.0


async def look_at_redis(address: RedisAddress, clock: Any) -> list[Finding]:
    """Find out whether the guards can share their seats there."""
    outages: list[Outage | None] = []
    redis = Redis(address, clock, clock.seconds, outages.append, seconds=1.0)
    redis.start()
    try:
        return [await _look(redis, address, clock, outages)]
    finally:
        await redis.close()


async def _look(
    redis: Redis, address: RedisAddress, clock: Any, outages: list[Outage | None]
) -> Finding:
    begun = clock.seconds()
    while clock.seconds() - begun < SECONDS:
        try:
            sent = clock.seconds()
            info = await redis.command("INFO", "server")
            return _found(str(info), clock.seconds() - sent, address)
        except Outage:
            await deferLater(clock, 0.2, lambda: None)
    last = next((each.detail for each in reversed(outages) if each is not None), "no answer")
    why = f"Redis at {address}: {redis.refusal or last}"
    wanted = "LOTUS_GUARD_STATE: the address, user and password of a Redis that runs"
    return fault(NAME, why, f"{wanted} (calls go on without it)")


def _found(info: str, seconds: float, address: RedisAddress) -> Finding:
    lines = dict(line.partition(":")[::2] for line in info.splitlines())
    version = lines.get("redis_version", "0")
    numbers = tuple(int(part) for part in version.split(".")[:2] if part.isdecimal())
    if numbers < OLDEST:
        return fault(NAME, f"Redis {version} at {address}", "Redis 6.2 or newer")
    if seconds > SLOW_SECONDS:
        seen = f"Redis at {address} takes {1000 * seconds:.0f} ms to answer"
        return warning(NAME, seen, "a Redis nearby: each capped token waits for it")
    return ok(NAME, f"Redis {version} answers at {address} in {1000 * seconds:.1f} ms")
