"""Which of several guards leads: one at a time by every clock, and nobody by guessing."""

from typing import Any

import pytest_twisted
from attrs import define

from lotus_guard.memory.redis_keys import Keyspace
from lotus_guard.memory.redis_lease import SECONDS, Lease
from tests.model_redis import Memory, ModelRedis


@define
class Times:
    at: float = 100.0

    def __call__(self) -> float:
        return self.at


@pytest_twisted.ensureDeferred
async def test_a_lease_is_over_for_its_holder_before_another_can_have_it() -> None:
    clock = Times()
    memory = Memory(clock)
    one, two = (Lease(Keyspace(ModelRedis(memory), "t:", name), clock) for name in "ab")
    await one.renew()
    await two.renew()
    assert (one.leads(), two.leads(), memory.get("t:term")) == (True, False, "1")
    while clock.at < 100.0 + SECONDS + 0.5:
        clock.at += 0.1
        await two.renew()
        assert not (one.leads() and two.leads())
    assert (one.leads(), two.leads(), memory.get("t:term")) == (False, True, "2")
    await two.step_down()
    await one.renew()
    assert (one.leads(), two.leads(), memory.get("t:term")) == (True, False, "3")


@pytest_twisted.ensureDeferred
async def test_a_renewal_counts_from_when_it_was_sent() -> None:
    clock = Times()
    memory = Memory(clock)

    class Slow(ModelRedis):
        async def script(self, *arguments: Any) -> Any:
            found = await super().script(*arguments)
            clock.at += 3.0
            return found

    lease = Lease(Keyspace(Slow(memory), "t:", "a"), clock)
    await lease.renew()
    assert lease.leads()
    clock.at += 0.6
    assert not lease.leads()


@pytest_twisted.ensureDeferred
async def test_without_redis_one_is_alone_only_when_no_lease_can_be_alive() -> None:
    clock = Times()
    server = ModelRedis(Memory(clock))
    lease = Lease(Keyspace(server, "t:", "a"), clock)
    await lease.renew()
    server.is_away = True
    for _ in range(7):
        clock.at += 1.0
        await lease.renew()
        assert lease.leads() == (clock.at < 103.5 or clock.at > 105.0)
        assert not lease.may_remove(), "others may give seats that it does not hear of"
    clock.at += 10.0
    assert not lease.leads(), "it was paused: another may lead by now"
    server.is_away = False
    await lease.renew()
    assert lease.leads()
    assert not lease.may_remove(), "the others may still have seats to tell of"
    clock.at += 1.0
    assert lease.may_remove()
    assert not lease.is_alone()
