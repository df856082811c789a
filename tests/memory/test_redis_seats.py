"""Seats that several guards share, on the model of Redis; and what happens when it is away."""

import random
from typing import Any

import pytest_twisted
from twisted.internet import reactor
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import deferLater

from lotus_guard.memory.redis_scripts import Script
from lotus_guard.memory.redis_seats import Version, read_version
from tests.contract.redis import ROOM, Guard, SeatsContract
from tests.model_redis import Memory, ModelRedis, Words


def test_versions_are_read_as_they_are_written() -> None:
    version = Version("l", 3, "w")
    assert read_version(str(version)) == version
    assert read_version(str(Version())) == Version()
    assert Version("l", 4, "x").follows(version)
    assert not version.follows(version)
    assert not Version("m", 4, "x").follows(version)


class SlowRedis(ModelRedis):
    """Answers after some turns of the reactor, in any order among the guards."""

    dice = random.Random(7)

    async def script(self, script: Script, keys: Words, arguments: Words) -> object:
        await deferLater(reactor, self.dice.random() / 500, lambda: None)
        return await super().script(script, keys, arguments)


class TestModel(SeatsContract):
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
        ensureDeferred(one.store.change(ROOM, broken)),
        ensureDeferred(one.admit("ann", 1)),
    ]
    failed: list[type[BaseException]] = []
    asked[0].addErrback(lambda failure: failed.append(failure.type))
    await gatherResults(asked)
    assert failed == [KeyError]
    assert await one.taken() == ["@ann:s"]
