"""Redis, and what can be there in its place; `tests/real/test_redis.py` asks a real one."""

from collections.abc import Callable

import pytest
from pytest_twisted import ensureDeferred

from lotus_guard.check.finding import Level
from lotus_guard.check.redis import check_redis, check_redis_at, judge
from lotus_guard.memory.redis_address import read_redis_address
from tests.check.checked_stack import CheckedStack, context_of
from tests.real.processes import free_port
from tests.world import World, reactor

ADDRESS = read_redis_address("redis://localhost:6379")


@pytest.mark.parametrize(
    ("version", "seconds", "level"),
    [
        ("7.2.4", 0.001, Level.OK),
        ("6.2.0", 0.001, Level.OK),
        ("6.0.16", 0.001, Level.FAULT),
        ("7.2.4", 0.2, Level.WARNING),
    ],
)
def test_redis_must_be_new_enough_and_near(version: str, seconds: float, level: Level) -> None:
    info = f"# Server\r\nredis_version:{version}\r\nos:Linux\r\n"
    assert judge(info, seconds, ADDRESS).level is level


def test_what_says_no_version_is_too_old() -> None:
    assert judge("nonsense", 0.0, ADDRESS).level is Level.FAULT


def nobody(_world: World) -> str:
    return f"http://127.0.0.1:{free_port()}"


@pytest.mark.parametrize(
    ("serve", "scheme", "words"),
    [
        (nobody, "redis", "connection refused"),
        (lambda world: world.serve(b"HTTP/1.1 400 Bad Request\r\n\r\n"), "redis", "is not a Redis"),
        (lambda world: world.serve(b"+PONG\r\n"), "rediss", "speaks no TLS"),
        (lambda world: world.serve(abort=True), "redis", "it may want TLS"),
        (lambda world: world.serve(abort=True), "rediss", "no TLS certificate that can be trusted"),
    ],
    ids=["nobody", "http", "no TLS", "plain breaks off", "TLS breaks off"],
)
@ensureDeferred
async def test_what_is_there_in_its_place(
    world: World,
    monkeypatch: pytest.MonkeyPatch,
    serve: Callable[[World], str],
    scheme: str,
    words: str,
) -> None:
    monkeypatch.setattr("lotus_guard.check.redis.SECONDS", 0.5)
    address = serve(world).replace("http", scheme)
    (found,) = await check_redis_at(read_redis_address(address), reactor)
    assert (found.name, found.level) == ("redis", Level.FAULT)
    assert words in found.seen
    assert "LOTUS_GUARD_STATE" in found.wanted


@ensureDeferred
async def test_with_a_state_file_there_is_nothing_to_check(stack: CheckedStack) -> None:
    assert await check_redis(context_of(stack)) == []
