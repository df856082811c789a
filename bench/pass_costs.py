"""What a room takes in a pass of the live loop and in memory, and a listener of Redis."""

import tempfile
from functools import partial
from pathlib import Path

from bench.candidates import redis
from bench.costs import Costs
from bench.measured import Guarded, Used, World, cheapest, person, used, world
from bench.request_costs import KINDS, beat, remembered, traffic
from bench.tools import say
from bench.wire import Server
from tests.real.processes import until

PASSES = {
    "LOTUS_GUARD_RECONCILE_INTERVAL": "0.5",
    "LOTUS_GUARD_POLICY_RATE": "86400",
    "LOTUS_GUARD_POLICY_POLL": "3600",
    "LOTUS_GUARD_MEMBERS": "off",
}
LISTED = 'lotus_guard_livekit_calls_total{method="ListRooms"}'
PAUSE = 1.0
"""Seconds between two looks at the metrics, which cost CPU themselves."""
PASSED = "lotus_guard_live_pass_seconds_count"


def _passed(guard: Guarded, count: float) -> bool:
    return guard.metrics()[PASSED] >= count


def listeners(few: int = 1, many: int = 21, messages: int = 4000) -> Costs:
    """Measure what one more listener takes of Redis, for each piece of news."""
    took = {}
    for count in (few, many):
        with tempfile.TemporaryDirectory(prefix="bench-") as name, redis(Path(name)) as (at, pid):
            server = Server(at, pid)
            took[count] = min(server.told(count, messages) for _ in range(3)) / messages
    return {"Redis, a listener": (took[many] - took[few]) / (many - few)}


def _pass(made: World, passes: int = 4) -> Used:
    """What a pass takes, in the cheapest of some stretches of passes."""
    leader = made.guards[0]
    found = []
    for _ in range(3):
        done = leader.metrics()[PASSED]
        before, listed = used(made), [g.metrics()[LISTED] for g in made.guards]
        until("passes", partial(_passed, leader, done + passes), 300.0, pause=PAUSE)
        after = used(made)
        counts = [g.metrics()[LISTED] - b for g, b in zip(made.guards, listed, strict=True)]
        each = {name: (after[name] - before[name]) / counts[0] for name in before}
        each["other"] *= counts[0] / counts[1]
        found.append(each)
    return cheapest(found)


def _listed(guard: Guarded, count: float) -> bool:
    return guard.metrics()[LISTED] >= count


def passes(kind: str, rooms: int, present: int = 4) -> dict[str, Used]:
    """Measure a pass over so many rooms of a kind, by polling and with pushes."""
    load = traffic([kind], rooms, 1)
    found = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        made = World(Path(name), load.all()[:1], load.policies(), present)
        with world(made, 2, **PASSES):
            leader = made.guards[0]
            until("two passes", partial(_passed, leader, 2), 300.0, pause=PAUSE)
            found["polled"] = _pass(made)
            beat(made)
            seen = leader.metrics()[PASSED]
            until("two more", partial(_passed, leader, seen + 2), 300.0, pause=PAUSE)
            beat(made)
            found["pushed"] = _pass(made)
    return found


def all_passes(few: int = 20, rooms: int = 300, more: int = 40) -> Costs:
    """Measure passes over rooms of each kind, and with more people in them."""
    say("passes: few")
    base = passes("open", few)["pushed"]
    costs = {"pass": base["guard"]}
    for kind in KINDS:
        say(f"passes: {kind}")
        found = passes(kind, rooms)
        for how, each in found.items():
            costs[f"pass, {kind}, {how}"] = (each["guard"] - base["guard"]) / (rooms - few)
        pushed = found["pushed"]
        costs[f"pass, {kind}: Redis"] = (pushed["redis"] - base["redis"]) / (rooms - few)
        if kind != "open":
            commands = pushed["commands"] - base["commands"]
            costs[f"pass, {kind}: commands"] = commands / (rooms - few)
    say("passes: more people")
    many = passes("limit", rooms // 3, more)["pushed"]["guard"]
    each_room = (many - base["guard"]) / (rooms // 3 - few)
    costs["pass, limit, a person"] = (each_room - costs["pass, limit, pushed"]) / (more - 4)
    return {name: max(0.0, value) for name, value in costs.items()}


def memory(few: int = 20, many: int = 1000) -> Costs:
    """Measure what a live room adds to a worker's memory, and to one's work that does not lead."""
    found = {rooms: _at_size(rooms) for rooms in (few, many)}
    leader, other, listing = ((found[many][at] - found[few][at]) / (many - few) for at in range(3))
    return {
        "memory, a person": remembered(),
        "memory, a worker": found[few][0],
        "memory, a live room: leader": leader,
        "memory, a live room: another worker": other,
        "pass, another worker": max(0.0, listing),
        "bytes, a participant": float(len(person(1).SerializeToString())),
    }


def _at_size(rooms: int, lists: int = 3) -> tuple[float, float, float]:
    """The bytes of the leader and of another worker, and what a list of all rooms takes of that."""
    load = traffic(["open"], rooms, 1)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        made = World(Path(name), load.all()[:1], load.policies())
        with world(made, 2, **PASSES):
            leader, other = made.guards
            beat(made)
            until("two passes", partial(_passed, leader, 2), 300.0, pause=PAUSE)
            each = []
            for _ in range(lists):
                listed, before = other.metrics()[LISTED], other.cpu()
                until("two lists", partial(_listed, other, listed + 2), 60.0, pause=2 * PAUSE)
                taken = other.cpu() - before
                each.append(taken / (other.metrics()[LISTED] - listed))
            return leader.rss() * 2.0**20, other.rss() * 2.0**20, min(each)
