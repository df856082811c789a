"""Memory: what stays of two hours in which 100,000 users come and go in 10,000 rooms.

The real composition on a clock that is turned by hand (`bench.simulated`): an hour takes some
minutes. A call lasts three minutes or so; each user asks for a token, some at both endpoints,
joins, and hangs up; some are refused; policies change under way. Synapse's module and LiveKit's
webhooks tell of one half of the calls, the other half is polled. Resident memory is read at each
tenth of the run.

    python -m bench.memory [--users 100000] [--rooms 10000] [--hours 2] [--json FILE]
"""

import argparse
import heapq
import itertools
import os
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from twisted.internet import reactor as _reactor
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import deferLater, react
from twisted.logger import ILogObserver, LogEvent, globalLogBeginner
from zope.interface import implementer

from bench import targets
from bench.simulated import CHANGES, CHANGES_AFTER, POLICIES, Simulation, room_name
from bench.tables import markdown, number
from bench.tools import finish, rss, say

STEP = 0.1
"""Seconds by which the clock is turned at a time."""
TENTHS = 10
HEARTBEAT = 10.0
STAY = 60.0
"""Seconds that a user stays, on average."""
ARRIVE = 20.0
"""Seconds within which a room's users come."""
DEPARTURE = 20.0
"""Seconds after which LiveKit ends a room that is empty."""
MOST_SLOPE = 5.0
"""MiB an hour, over the second half of the run, that still count as flat."""


@frozen
class Options:
    """How much is simulated."""

    users: int = 100_000
    rooms: int = 10_000
    hours: float = 2.0
    budget: float = 300.0
    """Seconds after which the run is ended, however far it is."""


@define(eq=False)
class Crowd:
    """Who comes when, and leaves when."""

    options: Options
    world: Simulation
    chance: random.Random = field(factory=lambda: random.Random(7))
    joined: int = 0
    _due: list[tuple[float, int, Callable[[], None]]] = field(factory=list)
    _order: Any = field(factory=itertools.count)

    def __attrs_post_init__(self) -> None:
        seconds = 3600.0 * self.options.hours
        for room in range(self.options.rooms):
            self.at(seconds * room / self.options.rooms, partial(self._begin, room))
        self.at(0.0, self._beat)

    def at(self, when: float, work: Callable[[], None]) -> None:
        """Do something at a moment of the simulation."""
        heapq.heappush(self._due, (when, next(self._order), work))

    def go_on(self) -> None:
        """Do what is due."""
        now = self.world.clock.seconds()
        while self._due and self._due[0][0] <= now:
            heapq.heappop(self._due)[2]()

    def _beat(self) -> None:
        self.world.heartbeat()
        self.at(self.world.clock.seconds() + HEARTBEAT, self._beat)

    def _begin(self, room: int) -> None:
        now, each = self.world.clock.seconds(), self.options.users // self.options.rooms
        for index in range(each):
            user = room * each + index
            arrives = now + self.chance.uniform(0.0, ARRIVE)
            self.at(arrives, partial(self._come, room, user))
        self.world.begun[room_name(room)] = now
        if room % len(POLICIES) == CHANGES:
            self.at(now + CHANGES_AFTER, lambda: self.world.push(room))

    def _come(self, room: int, user: int) -> None:
        stays = self.chance.expovariate(1.0 / STAY)

        def join(token: str) -> None:
            self.joined += 1
            livekit_room, identity = self.world.join(token)
            leaves = self.world.clock.seconds() + stays
            self.at(leaves, lambda: self._leave(room, livekit_room, identity))

        if user % 3 == 0:
            self.world.ask(room, user, legacy=True)
        self.world.ask(room, user, legacy=False, on_token=join)

    def _leave(self, room: int, livekit_room: str, identity: str) -> None:
        there = self.world.sfu.rooms.get(livekit_room, {})
        if identity in there:
            self.world.sfu.leave(livekit_room, identity)
        if not there:
            now = self.world.clock.seconds()
            self.at(now + DEPARTURE, lambda: self._end(room, livekit_room))

    def _end(self, room: int, livekit_room: str) -> None:
        if self.world.sfu.rooms.get(livekit_room) == {}:
            self.world.end(room, livekit_room)


async def simulate(reactor: Any, options: Options) -> dict[str, Any]:
    """Run the simulation; returns the memory at each tenth."""
    begun, end = time.monotonic(), 3600.0 * options.hours
    marks: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        world = Simulation(Path(name))
        crowd = Crowd(options, world)
        marks.append(_mark(world, crowd))
        while world.clock.seconds() < end and time.monotonic() - begun < options.budget:
            crowd.go_on()
            world.clock.advance(STEP)
            await deferLater(reactor, 0.0, lambda: None)
            if world.clock.seconds() % 1.0 < STEP:
                await _written(reactor, world)
            if world.clock.seconds() >= end * len(marks) / TENTHS:
                marks.append(_mark(world, crowd))
                say(f"memory: {len(marks) - 1}0 %, {marks[-1]['rss']:.1f} MiB")
        stopped = world.service.stopService()
        for _ in range(200):
            world.clock.advance(STEP)
            await deferLater(reactor, 0.0, lambda: None)
        await stopped
    return {
        "users": options.users,
        "rooms": options.rooms,
        "hours": options.hours,
        "complete": len(marks) > TENTHS,
        "took": time.monotonic() - begun,
        "marks": marks,
        "slope": slope(marks),
    }


async def _written(reactor: Any, world: Simulation) -> None:
    """Wait for the thread that writes the state file: its time is not compressed."""
    while world.is_writing():
        await deferLater(reactor, 0.001, lambda: None)


def _mark(world: Simulation, crowd: Crowd) -> dict[str, Any]:
    """Note how things stand."""
    sample = world.guard.metrics.registry.get_sample_value
    narrowed = {"step": "narrow", "outcome": "done"}
    return {
        "at": world.clock.seconds(),
        "rss": rss(os.getpid()),
        "joined": crowd.joined,
        "there": sum(len(people) for people in world.sfu.rooms.values()),
        "calls": len(world.sfu.rooms),
        "refused": world.answers.get(403, 0),
        "other": sum(n for status, n in world.answers.items() if status not in (200, 403)),
        "steps": int(sample("lotus_guard_live_steps_total", narrowed) or 0),
        "aliases": sum(1 for _ in world.guard.memory.directory.bindings()),
        "identities": sum(1 for _ in world.guard.memory.directory.users()),
        "seats": len(world.guard.memory.seats.rooms()),
    }


def slope(marks: list[dict[str, Any]]) -> float | None:
    """The growth in MiB an hour over the second half of the run, by least squares."""
    half = [mark for mark in marks if mark["at"] >= marks[-1]["at"] / 2]
    if len(half) < 3:
        return None
    xs, ys = [mark["at"] / 3600.0 for mark in half], [mark["rss"] for mark in half]
    return statistics.linear_regression(xs, ys).slope


@implementer(ILogObserver)
def _forget(_event: LogEvent) -> None:
    """Keep nothing of what is logged."""


def run(options: Options) -> dict[str, Any]:
    """Simulate in this process; it ends with the reactor."""
    # Until a log is begun Twisted keeps the last 65,536 lines in memory.
    globalLogBeginner.beginLoggingTo([_forget], redirectStandardIO=False)
    found: dict[str, Any] = {}

    async def main(reactor: Any) -> None:
        found.update(await simulate(reactor, options))

    try:
        react(lambda reactor: ensureDeferred(main(reactor)), _reactor=_reactor)
    except SystemExit as ended:
        if ended.code:
            raise
    found["targets"] = [
        targets.at_most("growth over the second half", found["slope"], MOST_SLOPE, " MiB/h")
    ]
    return found


def shown(found: dict[str, Any]) -> str:
    """Write the results as Markdown."""
    heads = ("minute", "RSS MiB", "joined so far", "there", "calls", "refused", "narrowed")
    names = ("joined", "there", "calls", "refused", "steps", "aliases", "identities", "seats")
    rows = [
        (
            number(mark["at"] / 60.0, 0),
            number(mark["rss"], 1),
            *(number(mark[name], 0) for name in names),
        )
        for mark in found["marks"]
    ]
    more = ("aliases known", "identities known", "rooms with seats")
    note = (
        f"{found['users']:,} users in {found['rooms']:,} rooms within {found['hours']:g} h, "
        f"simulated in {found['took']:.0f} s; the memory includes the simulation's own."
    )
    cut = "" if found["complete"] else "\n\nCut short: not all have come and gone."
    return f"{note}{cut}\n\n{markdown((*heads, *more), rows)}\n"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--users", type=int, default=100_000)
    parser.add_argument("--rooms", type=int, default=10_000)
    parser.add_argument("--hours", type=float, default=2.0)
    parser.add_argument("--budget", type=float, default=300.0)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    options = Options(args.users, args.rooms, args.hours, args.budget)
    found = finish(lambda: run(options), args.json)
    print(shown(found))
    print(targets.shown(found["targets"]))


if __name__ == "__main__":
    main()
