"""Two things in trouble at once: one case for each pair of facts and each pair of faults.

A verdict rests on four things: the limit's look-up, the sources' look-up, LiveKit's attendance, and
the Redis that several guards share. Whatever two of them do, and whether a policy is known from
before or not, the verdict is the one of docs/failures.md, in time.
"""

import time
from collections.abc import Iterator
from itertools import combinations, product
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve, field, frozen
from twisted.internet import reactor as _reactor
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.task import deferLater

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.deferreds import gather_bounded
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.agents import Agents
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.model_redis import Memory, ModelRedis, Words
from tests.test_failure_classes import FAULTS
from tests.world import Got, World

reactor: Any = _reactor
LIMIT, SOURCES, ATTENDANCE, REDIS = "limit", "sources", "attendance", "redis"
MARKS = {LIMIT: LIMIT_EVENT.encode(), SOURCES: SOURCES_EVENT.encode(), ATTENDANCE: b"ListPart"}
HTTP_FAULTS = ("refused", "hangs before headers", "hangs in the body", "5xx", "garbage")
DEADLINE = 0.8
"""Seconds, where a neighbour hangs: so long each such case takes at least."""
CALM_DEADLINE = 4.0
"""Where none does: a loaded machine that takes its time is no neighbour that hangs."""
AT_ONCE = 12  # cases; more would themselves be the load that makes a verdict late
NEWCOMERS = ("bob", "carol", "dave")  # a try each, for a machine that is busy at a moment
SLACK = 2.0  # seconds that a loaded machine may add
HELD = ["microphone", "screen_share", "screen_share_audio"]
PAIRS = list(combinations((LIMIT, SOURCES, ATTENDANCE, REDIS), 2))
ROUND_TRIP = DEADLINE / 4  # `redis_connection.SHARE`


@define
class LameRedis(ModelRedis):
    """Redis as a guard sees it that is slow, hangs, or is away."""

    fault: str = ""
    _rests_until: float = 0.0

    async def script(self, script: Any, keys: Words, arguments: Words) -> Any:
        if self.fault == "slow":
            await deferLater(reactor, 0.7 * ROUND_TRIP, lambda: None)
        elif self.fault:
            await self.fail()
        return await super().script(script, keys, arguments)

    async def fail(self) -> None:
        """Fail as `redis_connection.Redis` does, which asks nothing for a second after that."""
        if time.monotonic() >= self._rests_until:
            if self.fault == "hangs":
                await deferLater(reactor, ROUND_TRIP, lambda: None)
            self._rests_until = time.monotonic() + 1.0
        raise Outage(Reason.TIMEOUT, "made up")


def faults_of(fact: str) -> tuple[str, ...]:
    return ("away", "hangs", "slow") if fact == REDIS else HTTP_FAULTS


@frozen
class Astray:
    """Leads the requests for some facts to neighbours that are in trouble."""

    agent: Any
    faults: dict[str, str]
    """What each of them does; nothing as long as it is empty."""
    places: dict[str, str]
    """Where the neighbour with each fault listens."""

    def request(self, method: bytes, uri: bytes, *more: Any) -> Deferred[Any]:
        for fact, fault in self.faults.items():
            if fact in MARKS and MARKS[fact] in uri:
                uri = self.places[fault].encode() + b"/" + uri.split(b"/", 3)[3]
        return self.agent.request(method, uri, *more)  # type: ignore[no-any-return]


@define(eq=False)
class Case:
    """A guard of its own in front of a room of its own: at most one person, and no camera."""

    world: World
    number: int
    wanted: dict[str, str]
    is_known: bool
    places: dict[str, str]
    faults: dict[str, str] = field(factory=dict)
    redis: LameRedis = field(factory=lambda: LameRedis(Memory()))
    url: str = ""
    policies: tuple[Any, ...] = ()

    @property
    def room(self) -> RoomId:
        return RoomId(f"!room{self.number}:sandbox")

    @property
    def deadline(self) -> float:
        hangs = any(
            fact != REDIS and fault.startswith("hangs") for fact, fault in self.wanted.items()
        )
        return DEADLINE if hangs else CALM_DEADLINE

    def start(self) -> None:
        homeserver = self.world.sandbox.homeserver
        homeserver.add_room(self.room, "@admin:sandbox")
        homeserver.set_state(self.room, LIMIT_EVENT, {"max_users": 1})
        homeserver.set_state(self.room, SOURCES_EVENT, {"allow_camera": False})
        state = str(self.world.directory / f"state{self.number}.sqlite")
        if REDIS in self.wanted:
            state = "redis://model"
        fast = {"LOTUS_GUARD_DEADLINE": str(self.deadline), "LOTUS_GUARD_STATE": state}
        self.world.start_guard(self.redis, self.lead, **fast)
        self.url = self.world.url
        self.policies = (
            self.world.guard.live.candidates.policies.of("limit"),
            self.world.guard.live.candidates.policies.of("sources"),
        )

    def lead(self, agents: Agents) -> Agents:
        return evolve(
            agents,
            synapse=Astray(agents.synapse, self.faults, self.places),
            livekit=Astray(agents.livekit, self.faults, self.places),
        )

    async def run(self) -> list[str]:
        """Return what is wrong, in words."""
        await self.seat_alice()
        self.faults.update(self.wanted)
        self.redis.fault = self.wanted.get(REDIS, "")
        for name in NEWCOMERS:
            begun = time.monotonic()
            alice, newcomer = await gatherResults([self.ask("alice"), self.ask(name)])
            wrong = list(self.judge(alice, newcomer))
            if time.monotonic() - begun > self.deadline + SLACK:
                wrong.append("late")
            if not wrong:
                return []
        return [f"{self.wanted}, {'known' if self.is_known else 'unknown'}: {w}" for w in wrong]

    async def seat_alice(self) -> None:
        """Let alice in: by the guard, where it is to know the policies from before."""
        base = self.url if self.is_known else self.world.sandbox.addresses.authorization
        for _ in NEWCOMERS:
            first = await self.world.ask("alice", self.room, base=base)
            if all(each.last(self.room) for each in self.policies) or not self.is_known:
                break
        self.world.sandbox.sfu.join(first.json()["jwt"])

    def ask(self, name: str) -> Deferred[Got]:
        return ensureDeferred(self.world.ask(name, self.room, base=self.url))

    def judge(self, alice: Got, newcomer: Got) -> Iterator[str]:
        """Compare with docs/failures.md: an outage opens its own rule, unless a policy is known."""
        # That LiveKit hangs can be a client's doing: who was there a moment ago still counts.
        hangs = self.wanted.get(ATTENDANCE, "hangs").startswith("hangs") and self.is_known
        is_seen = ATTENDANCE not in self.wanted or hangs
        has_limit = (LIMIT not in self.wanted or self.is_known) and is_seen
        has_sources = SOURCES not in self.wanted or self.is_known
        if alice.status != 200:
            yield "who is in the call was refused"
            return
        if newcomer.status != (403 if has_limit else 200):
            yield f"one too many: {newcomer.status}"
        for got in (alice, newcomer):
            if got.status == 200 and (got.sources == HELD) is not has_sources:
                yield f"sources: {got.sources}"


@pytest.mark.parametrize("is_known", [True, False], ids=["known", "unknown"])
@pytest.mark.parametrize("pair", PAIRS, ids="+".join)
@pytest_twisted.ensureDeferred
async def test_two_things_in_trouble(world: World, pair: tuple[str, str], is_known: bool) -> None:
    places = {fault: FAULTS[fault][0](world) for fault in HTTP_FAULTS}
    cases = [
        Case(world, number, dict(zip(pair, faults, strict=True)), is_known, places)
        for number, faults in enumerate(product(*map(faults_of, pair)))
    ]
    for case in cases:
        case.start()
    found = await gather_bounded(AT_ONCE, (case.run() for case in cases))
    assert [wrong for each in found for wrong in each] == []
