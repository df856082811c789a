"""A deployment played through, request by request: who waits for whom, and for how long.

What `bench.capacity` works out, this shows with requests that come at random (a seed repeats
them): each worker and each Redis does one thing after the other, in the order in which it is asked.
Nothing is measured here: every time comes from the unit costs.
"""

import heapq
import itertools
import random
from collections.abc import Callable, Sequence
from functools import partial

from attrs import define, field, frozen

from bench.capacity import (
    INTERVAL,
    Deployment,
    Load,
    in_pass,
    look_seconds,
)
from bench.costs import Costs
from lotus_guard.enforce.room_queue import AT_ONCE

Work = Callable[[], None]


@define
class Station:
    """What does one thing after the other."""

    free_at: float = 0.0
    busy: float = 0.0

    def serve(self, now: float, seconds: float) -> float:
        """Take a piece of work; returns when it is done."""
        self.busy += seconds
        self.free_at = max(now, self.free_at) + seconds
        return self.free_at


@frozen
class Result:
    """What came of it."""

    busy: dict[str, float]
    """The share of the time in which each did something: the leader, another worker, Redis."""
    p50: float
    p99: float
    """Seconds from a token's answer by upstream to the guard's, as half and all but one in a
    hundred had it. What neighbours take is not in it."""
    passes: Sequence[float]
    """How long each pass of the live loop took."""


@define(eq=False)
class Play:
    """One deployment, its rooms and its load."""

    there: Deployment
    load: Load
    rooms: int
    costs: Costs
    seed: int = 1
    now: float = field(default=0.0, init=False)
    workers: list[Station] = field(init=False)
    shards: list[Station] = field(init=False)
    tokens: list[float] = field(factory=list, init=False)
    _passes: list[float] = field(factory=list, init=False)
    _due: list[tuple[float, int, Work]] = field(factory=list, init=False)
    _order: "itertools.count[int]" = field(factory=itertools.count, init=False)
    _chance: random.Random = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self.workers = [Station() for _ in range(self.there.workers)]
        self.shards = [Station() for _ in range(self.there.shards if self.there.has_redis else 0)]

    def run(self, seconds: float) -> Result:
        """Play so many seconds."""
        for name, rate in self.load.events(self.rooms, self.there.is_pushed).items():
            if rate:
                self._arrive(name, rate)
        for part in range(self.there.loop_parts):
            self._at(INTERVAL * part / self.there.loop_parts, partial(self._pass, part))
        for number in range(self.there.loop_parts, self.there.workers):
            self._list(number)
        while self._due and self._due[0][0] <= seconds:
            self.now, _, work = heapq.heappop(self._due)
            work()
        return self._result(seconds)

    def _result(self, seconds: float) -> Result:
        busy = {"the leader's core": self.workers[0].busy / seconds}
        if self.there.has_redis:
            busy["another worker's core"] = self.workers[-1].busy / seconds
            busy["Redis' core"] = max(each.busy for each in self.shards) / seconds
        took = sorted(self.tokens) or [0.0]
        p99 = took[int(len(took) * 0.99)]
        return Result(busy, took[len(took) // 2], p99, self._passes)

    def _at(self, when: float, work: Work) -> None:
        heapq.heappush(self._due, (when, next(self._order), work))

    def _arrive(self, name: str, rate: float) -> None:
        """Let something come at random, so many times a second."""

        def come() -> None:
            self._at(self.now + self._chance.expovariate(rate), come)
            self._ask(name)

        self._at(self._chance.expovariate(rate), come)

    def _ask(self, name: str) -> None:
        """Do what one request takes: half of its work, what Redis does for it, the other half."""
        begun, worker = self.now, self._chance.randrange(self.there.workers)
        where = ": with Redis" if self.there.has_redis else ""
        half = self.costs[name + where] / 2
        station = self.workers[worker]

        def answered() -> None:
            self._at(station.serve(self.now, half), over)

        def over() -> None:
            if name.startswith("token"):
                self.tokens.append(self.now - begun)

        def asked() -> None:
            if not self.shards:
                answered()
                return
            self._at(self._in_redis(name), answered)
            self._tell(name, worker)

        self._at(station.serve(self.now, half), asked)

    def _in_redis(self, name: str) -> float:
        shard = self._chance.choice(self.shards)
        return shard.serve(self.now, self.costs[f"{name}: Redis"])

    def _tell(self, name: str, teller: int) -> None:
        """Let the others hear the news of it, each at a cost."""
        apart = self.there.is_news_apart
        listeners = 1 if apart else self.there.workers
        telling = self.costs[f"{name}: news"] * (listeners - 2) * self.costs["Redis, a listener"]
        for shard in [self._chance.choice(self.shards)] if apart else self.shards:
            shard.serve(self.now, telling)
        others = [number for number in range(self.there.workers) if number != teller]
        for number in [self._chance.choice(others)] if apart else others:
            self.workers[number].serve(self.now, self.costs[f"{name}: another worker"])

    # The live loop.

    def _list(self, number: int) -> None:
        """Let a worker that does not lead ask LiveKit for its rooms."""
        self.workers[number].serve(self.now, self.rooms * self.costs["pass, another worker"])
        self._at(self.now + INTERVAL, lambda: self._list(number))

    def _pass(self, part: int) -> None:
        """Begin a pass: all open rooms are gone over at once, the others wait for LiveKit each."""
        begun, station = self.now, self.workers[part]
        mine = self.rooms / self.there.loop_parts
        kinds = {kind: round(mine * share) for kind, share in self.load.mix.items()}
        rooms = [kind for kind in kinds if kind != "open" for _ in range(kinds[kind])]
        under_way = [0]

        def turn() -> None:
            if rooms:
                kind = rooms.pop()
                if self.shards:
                    self._chance.choice(self.shards).serve(
                        self.now, self.costs[f"pass, {kind}: Redis"]
                    )
                done = station.serve(self.now, in_pass(kind, self.load, self.costs))
                self._at(done + look_seconds(self.load, self.costs), turn)
                return
            under_way[0] -= 1
            if not under_way[0]:
                self._passes.append(self.now - begun)
                self._at(max(self.now, begun + INTERVAL), lambda: self._pass(part))

        open_rooms = kinds["open"] * self.costs["pass, open, pushed"]
        opened = station.serve(self.now, self.costs["pass"] + open_rooms)
        for _ in range(AT_ONCE):
            under_way[0] += 1
            self._at(opened, turn)
