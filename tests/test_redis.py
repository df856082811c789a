"""The shared book on the model of Redis: the contract, and what happens when Redis is away."""

import random
from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import deferLater

from lotus_guard.memory.redis_scripts import (
    Script,
    Version,
    is_redis,
    read_redis_address,
    read_version,
)
from lotus_guard.run.config import Faulty, read_config
from tests.contract.redis import ROOM, Guard, RedisContract
from tests.model_redis import Memory, ModelRedis, Words
from tests.test_docs import GOOD


def test_versions_are_read_as_they_are_written() -> None:
    version = Version("l", 3, "w")
    assert read_version(str(version)) == version
    assert read_version(str(Version())) == Version()
    assert Version("l", 4, "x").follows(version)
    assert not version.follows(version)
    assert not Version("m", 4, "x").follows(version)


# --- the address ---------------------------------------------------------------------------------


def test_an_address_says_where_redis_is() -> None:
    address = read_redis_address("rediss://me:p%40ss@redis.example:6380/3?prefix=x:&ca=/c.pem")
    assert (address.host, address.port, address.database) == ("redis.example", 6380, 3)
    assert (address.user, address.password, address.prefix) == ("me", "p@ss", "x:")
    assert (address.is_tls, address.ca) == (True, "/c.pem")
    for shown in (repr(address), str(address)):
        assert "p@ss" not in shown
    assert read_redis_address("redis://localhost", "other").password == "other"
    assert is_redis("redis://h")
    assert not is_redis("/var/lib/state.sqlite")


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("redis-sentinel://:secret@h:26379,i:26379/mymaster", "does not ask Sentinel"),
        ("redis+sentinel://h/mymaster", "does not ask Sentinel"),
        ("redis+unix:///run/redis.sock", "by TCP only"),
        ("unix:///run/redis.sock", "by TCP only"),
        ("unix:/run/redis.sock", "by TCP only"),
        ("redis+socket://:secret@/run/redis.sock", "by TCP only"),
        ("rediss+cluster://h", "no cluster"),
        ("sqlite:///var/lib/state.sqlite", "by its path alone"),
        ("file:///var/lib/state.sqlite", "by its path alone"),
        ("memcached://h", "names no Redis"),
        ("redis://:secret@h:6379,i:6379", "host or port"),
        ("REDIS-SENTINEL://h", "does not ask Sentinel"),
    ],
)
def test_another_kind_of_address_gets_a_sentence(address: str, words: str) -> None:
    with pytest.raises(Faulty) as raised:
        read_config({**GOOD, "LOTUS_GUARD_STATE": address})
    (line,) = raised.value.faults
    assert line.startswith("LOTUS_GUARD_STATE: it")
    assert words in line
    assert "redis://[user:password@]host" in line
    assert "secret" not in line


def test_a_scheme_in_capitals_is_the_same() -> None:
    assert read_redis_address("REDISS://H").is_tls


def test_an_odd_address_is_refused_without_showing_it() -> None:
    for odd in (
        "redis://",
        "redis://:secret@",
        "redis://:secret@h:port",
        "redis://:secret@h/zero",
        "redis://:secret@h?colour=red",
        "redis://:secret@h?ca=/c.pem",
    ):
        with pytest.raises(ValueError, match=r"^it") as raised:
            read_redis_address(odd)
        assert "secret" not in str(raised.value)


# --- the model -----------------------------------------------------------------------------------


class SlowRedis(ModelRedis):
    """Answers after some turns of the reactor, in any order among the guards."""

    dice = random.Random(7)

    async def script(self, script: Script, keys: Words, arguments: Words) -> object:
        await deferLater(reactor, self.dice.random() / 500, lambda: None)
        return await super().script(script, keys, arguments)


class TestModel(RedisContract):
    """The contract on the model."""

    def setup_method(self) -> None:
        self.memory = Memory()

    async def connect(self) -> ModelRedis:
        return ModelRedis(self.memory)

    async def flush(self) -> None:
        self.memory.flush()


class TestSlowModel(TestModel):
    """The same where guards come in between one another."""

    async def connect(self) -> ModelRedis:
        return SlowRedis(self.memory)


@pytest_twisted.ensureDeferred
async def test_with_redis_away_seats_are_given_alone_and_united_later() -> None:
    memory = Memory()
    servers = [ModelRedis(memory), ModelRedis(memory)]
    one, two = (Guard(server, name) for server, name in zip(servers, "ab", strict=True))
    assert await one.admit("ann", 2)
    for server in servers:
        server.is_away = True
    assert await one.admit("bob", 2)
    assert not await one.admit("carl", 2)
    assert await two.admit("dora", 2), "guard two knows of nobody: calls go on"
    for server in servers:
        server.is_away = False
    assert await two.taken() == ["@ann:s", "@dora:s"]
    assert await one.taken() == ["@ann:s", "@bob:s", "@dora:s"]
    assert await two.taken() == ["@ann:s", "@bob:s", "@dora:s"]
    assert not await two.admit("carl", 3)


@pytest_twisted.ensureDeferred
async def test_a_redis_that_fails_over_to_an_older_state_loses_no_seat() -> None:
    memory = Memory()
    one, two = (Guard(ModelRedis(memory), name) for name in "ab")
    assert await one.admit("ann", 2)
    old = {key: dict(value) for key, value in memory.keys.items()}
    assert await one.admit("bob", 2)
    memory.keys = old
    assert not await one.admit("carl", 2)
    assert not await two.admit("carl", 2)


@pytest_twisted.ensureDeferred
async def test_guards_whose_clocks_differ_judge_a_seat_alike() -> None:
    memory = Memory()
    one, two = (Guard(ModelRedis(memory, lead), name) for lead, name in ((0.0, "a"), (900.0, "b")))
    assert await one.admit("ann", 1, at=1000.0)
    assert not await two.admit("bob", 1, at=159.0)  # 1059 by the first one's clock
    assert await two.admit("bob", 1, at=160.0)


@pytest_twisted.ensureDeferred
async def test_a_piece_of_work_that_fails_fails_alone() -> None:
    one = Guard(ModelRedis(Memory()), "a")

    def broken(_seats: object) -> None:
        raise KeyError("x")

    asked: list[Any] = [
        ensureDeferred(one.book.change(ROOM, broken)),
        ensureDeferred(one.admit("ann", 1)),
    ]
    failed: list[type[BaseException]] = []
    asked[0].addErrback(lambda failure: failed.append(failure.type))
    await gatherResults(asked)
    assert failed == [KeyError]
    assert await one.taken() == ["@ann:s"]
