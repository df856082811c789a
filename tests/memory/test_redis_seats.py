"""Seats that several guards share, on the model of Redis; and what happens when it is away."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest_twisted
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater

from lotus_guard.core.model import Identity
from lotus_guard.core.seats import Seating, Seats
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.memory.redis_scripts import Script
from tests.contract.redis import ROOM, Guard, SeatsContract
from tests.model_redis import Memory, ModelRedis, Words


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


class Wire(ModelRedis):
    """Does and answers what it is asked when it is told to, in order, or loses it."""

    def __init__(self, memory: Memory) -> None:
        super().__init__(memory)
        self.waiting: list[tuple[Callable[[], Any], Deferred[Any]]] = []

    async def script(self, script: Script, keys: Words, arguments: Words) -> Any:
        answer: Deferred[Any] = Deferred()
        ask = super().script
        self.waiting.append((lambda: ensureDeferred(ask(script, keys, arguments)), answer))
        return await answer

    def step(self, fate: str = "") -> None:
        """Do the next one; or it is lost before, or its answer after."""
        if not self.waiting:
            return
        work, answer = self.waiting.pop(0)
        if fate != "before":
            done = work()
        if fate:
            answer.errback(Outage(Reason.TIMEOUT, "lost"))
        else:
            done.chainDeferred(answer)


USERS, LIMIT = [f"u{number}" for number in range(6)], 3
STEPS = st.one_of(
    st.tuples(st.just("admit"), st.sampled_from("abc"), st.sampled_from(USERS)),
    st.tuples(st.just("look"), st.sampled_from("abc"), st.booleans()),
    st.tuples(st.just("hang up"), st.sampled_from("abc"), st.sampled_from(USERS)),
    *[st.tuples(st.just("go on"), st.sampled_from("abc"), st.just("")) for _ in range(3)],
)
FATES = st.tuples(
    st.just("go on"), st.sampled_from("abc"), st.sampled_from(["", "", "before", "after"])
)


@define(eq=False)
class House:
    """Three guards, and what they told those who asked."""

    memory: Memory = field(factory=Memory)
    guards: dict[str, Guard] = field(init=False)
    at: float = 100.0
    admitted: list[str] = field(factory=list)
    there: set[str] = field(factory=set)
    was_there: set[str] = field(factory=set)

    def __attrs_post_init__(self) -> None:
        self.guards = {name: Guard(Wire(self.memory), name) for name in "abc"}

    def take(self, verb: str, name: str, what: Any) -> None:
        """Take a step."""
        guard = self.guards[name]
        self.at += 1 / 64  # what is written is as precise as that
        guard.now = self.at
        if verb == "go on":
            guard.server.step(what)
        elif verb == "admit":
            ensureDeferred(guard.admit(what, LIMIT, self.at)).addCallback(self._told, what)
        elif verb == "look":
            self.there = set(self.admitted) if what else set()
            self.was_there |= self.there
            ensureDeferred(guard.saw(self.at, *sorted(self.there)))
        else:
            identity = Identity(f"@{what}:s:D")
            ensureDeferred(guard.store.change(ROOM, lambda seats: seats.hung_up(ROOM, identity)))

    def _told(self, is_admitted: bool, user: str) -> None:
        if is_admitted and user not in self.admitted:
            self.admitted.append(user)

    def settle(self) -> None:
        """Let all be answered, and each guard hear of what the others did."""
        for _ in range(4):
            for guard in self.guards.values():
                ensureDeferred(guard.store.change(ROOM, lambda _seats: None))
            while any(guard.server.waiting for guard in self.guards.values()):
                for guard in self.guards.values():
                    guard.server.step()

    def seated(self, guard: Guard) -> list[str]:
        return guard.seats.taken(ROOM, self.at)


@given(st.lists(STEPS, max_size=60))
def test_never_are_more_seated_than_the_limit_in_whatever_order_guards_come(
    steps: list[Any],
) -> None:
    house = House()
    for verb, name, what in steps:
        if verb != "hang up":
            house.take(verb, name, what)
    house.settle()
    assert len(house.admitted) <= LIMIT
    for guard in house.guards.values():
        assert house.seated(guard) == sorted(f"@{user}:s" for user in house.admitted)


@given(st.lists(STEPS, max_size=60))
def test_all_guards_know_the_same_seats_in_the_end(steps: list[Any]) -> None:
    house = House()
    for step in steps:
        house.take(*step)
    house.settle()
    one, *others = [guard.seats.table(ROOM) for guard in house.guards.values()]
    assert all(other == one for other in others)
    newcomer = Guard(Wire(house.memory), "d")
    house.guards["d"] = newcomer
    house.settle()
    assert newcomer.seats.table(ROOM) == one


@given(st.lists(st.one_of(STEPS, FATES), max_size=60))
def test_no_seat_is_lost_with_what_redis_or_the_way_to_it_loses(steps: list[Any]) -> None:
    house = House()
    for verb, name, what in steps:
        if verb != "hang up":
            house.take(verb, name, what)
    house.settle()
    for guard in house.guards.values():
        assert set(house.seated(guard)) >= {f"@{user}:s" for user in house.admitted}


@pytest_twisted.ensureDeferred
async def test_a_seat_that_has_run_out_is_gone_for_all_before_another_has_its_place() -> None:
    """A guard with an older look would count it as alive; it counts for sixty seconds."""
    memory = Memory()
    one, two = (Guard(ModelRedis(memory), name) for name in "ab")
    await two.saw(100.0)
    assert await one.admit("ann", 1, at=100.0)
    await one.saw(158.5)
    two.now = 160.5
    await two.saw(160.5)
    is_second = await two.admit("bob", 1, at=160.5)
    one.now = 161.0
    identity = Identity("@ann:s:D")
    again = await one.store.change(
        ROOM,
        lambda seats: seats.admit(ROOM, "@ann:s", identity, 1, 158.5, 161.0),
        lambda seating: seating.slack,
    )
    assert [is_second, again.admitted].count(True) == 1


@pytest_twisted.ensureDeferred
async def test_of_rooms_that_are_over_nothing_is_kept() -> None:
    memory = Memory()
    one, two = (Guard(ModelRedis(memory), name) for name in "ab")
    await one.saw(100.0)
    assert await one.admit("ann", 2, at=100.0)
    assert await two.admit("bob", 2, at=100.0)
    one.store.sweep(120.0)
    assert one.store.is_certain(ROOM)
    one.store.sweep(10_000.0)
    assert not one.store.is_certain(ROOM), "it is asked for anew"
    assert await one.taken(100.0) == ["@ann:s", "@bob:s"]


def test_who_needs_no_seat_lets_nobody_in_who_is_asked_for_with_them() -> None:
    house = House()
    house.take("admit", "a", "u0")
    house.settle()
    house.take("look", "a", True)
    for user in ("u1", "u2", "u0"):  # these go together, after the look
        house.take("admit", "a", user)
    house.take("go on", "a", "")
    house.take("admit", "b", "u3")
    for _ in range(2):  # the first time it hears of the look
        house.take("go on", "b", "")
    house.settle()
    assert len(house.admitted) == LIMIT
    assert "u3" in house.admitted


def test_of_one_who_asks_two_guards_at_once_both_tokens_are_awaited() -> None:
    house = House()
    house.take("admit", "c", "u0")
    house.settle()
    for name, device in (("a", "PHONE"), ("b", "LAPTOP")):
        work = partial(_admit_on, Identity(f"@u1:s:{device}"))
        ensureDeferred(house.guards[name].store.change(ROOM, work, lambda seating: seating.slack))
    before = [guard.again for guard in house.guards.values()]
    for name in "ab":
        house.take("go on", name, "")
    assert [guard.again for guard in house.guards.values()] == before
    house.settle()
    for guard in house.guards.values():
        awaits = guard.seats.table(ROOM).holds["@u1:s"].awaits
        assert set(awaits) == {"@u1:s:PHONE", "@u1:s:LAPTOP"}


def _admit_on(identity: Identity, seats: Seats) -> Seating:
    return seats.admit(ROOM, "@u1:s", identity, LIMIT, 101.0, 101.0)
