"""What each part of a deployment has to do for so many live rooms, and which part is full first.

Pure: unit costs (`bench.unit_costs`) and a load go in. CPU is in seconds a second, so 1 is a whole
core; each process here has one thread that works, and so one core at the most.
"""

from collections.abc import Mapping

from attrs import evolve, field, frozen

from bench.costs import Costs
from lotus_guard.enforce.candidates import MOST_ROOMS
from lotus_guard.enforce.change_watch import LOOK_SECONDS, REST_SECONDS
from lotus_guard.enforce.policy_reader import LONGEST_POLL
from lotus_guard.enforce.room_queue import AT_ONCE
from lotus_guard.rules import RULES, by_event
from lotus_guard.run.config import variables
from lotus_guard.run.members import SHARE

BUSY = 0.7
"""A core counts as full from here on: what waits in front of it grows fast then."""
NOTICED = 60.0
"""Seconds within which a policy, or somebody's leaving the room, is to be noticed by polling."""
LOOKUPS = len(by_event(RULES))
"""Look-ups at the homeserver for each room."""
KINDS = ("open", "sources", "limit")


def _default(name: str) -> float:
    return float(next(each.default for each in variables() if each.name == f"LOTUS_GUARD_{name}"))


INTERVAL, RATE, POLL = map(_default, ("RECONCILE_INTERVAL", "POLICY_RATE", "POLICY_POLL"))


@frozen
class Load:
    """What people do; the rates follow from how many live rooms there are."""

    people: float = 4.0
    """In each live room."""
    stay: float = 1200.0
    """Seconds that somebody is in a call."""
    tokens: float = 2.0
    """That somebody gets for that: one to come in, one to come back."""
    webhooks: float = 6.0
    """That LiveKit sends of each who comes and goes: of coming, tracks and leaving."""
    pushes: float = 0.01
    """A second, of policies and memberships that change in a hundred live rooms."""
    mix: Mapping[str, float] = field(factory=lambda: {"open": 0.8, "sources": 0.1, "limit": 0.1})
    """The share of the rooms of each kind, by their policies."""
    refused: float = 0.02
    """The share of the tokens."""
    distance: float = 0.003
    """Seconds until LiveKit answers, besides its work."""

    def comings(self, rooms: float) -> float:
        """How many people come in a second."""
        return rooms * self.people / self.stay

    def tokens_a_second(self, rooms: float) -> float:
        """How many tokens are asked for in a second."""
        return self.comings(rooms) * self.tokens

    def webhooks_a_second(self, rooms: float) -> float:
        """How many webhooks come in a second."""
        return self.comings(rooms) * self.webhooks

    def events(self, rooms: float, is_pushed: bool = True) -> Mapping[str, float]:
        """What happens in a second, by the names of the unit costs.

        With pushes one in `people` newcomers is the first of their room; without, what is known of
        a room is too old for nearly every token, and all is looked up as for the first.
        """
        found: dict[str, float] = {}
        tokens = self.tokens_a_second(rooms)
        for kind, share in self.mix.items():
            mine = tokens * share * (1.0 - self.refused)
            first = mine / (self.people * self.tokens) if is_pushed else mine
            newcomers = max(0.0, mine / self.tokens - first)
            found[f"token, {kind}, first"] = first
            found[f"token, {kind}, newcomer"] = newcomers
            found[f"token, {kind}, again"] = mine - first - newcomers
            found[f"webhook, {kind}"] = self.webhooks_a_second(rooms) * share
        found["a person there"] = tokens * self.mix["limit"] * max(0.0, self.people - 4.0)
        found["token, refused"] = tokens * self.refused
        found["push"] = self.pushes * rooms / 100.0
        return found


@frozen
class Deployment:
    """Which processes there are."""

    name: str
    workers: int = 1
    shards: int = 1
    """Redis servers that share the keys; each piece of news goes to all of them."""
    is_pushed: bool = True
    """Synapse's module and LiveKit's webhooks tell of changes."""
    loop_parts: int = 1
    """So many workers share the live loop; the guard has 1."""
    is_news_apart: bool = False
    """Workers hear only what concerns rooms that are theirs; the guard has one channel for all."""
    is_built: bool = True

    @property
    def has_redis(self) -> bool:
        """Whether its state is in Redis."""
        return self.workers > 1


Demand = dict[str, float]
"""By part, the share of what it can do that is asked of it; 1 is all."""


def demand(there: Deployment, load: Load, rooms: float, costs: Costs) -> Demand:
    """What is asked of each part; a core is full at `BUSY`."""
    events = load.events(rooms, there.is_pushed)
    found = {
        "the leader's core": leader(there, load, rooms, costs),
        "another worker's core": worker(there, events, costs) + _listing(rooms, costs),
        "Redis' core": redis(there, load, rooms, costs),
        "Synapse's core": synapse(there, load, rooms, costs),
        "LiveKit's core": livekit(there, load, rooms, costs),
    }
    if not there.has_redis:
        del found["another worker's core"], found["Redis' core"]
    shares = {name: value / BUSY for name, value in found.items()}
    looks = rooms * _restricted(load) / there.loop_parts
    shares["the turns of a pass"] = looks * look_seconds(load, costs) / (AT_ONCE * INTERVAL)
    shares["the rooms that a guard remembers"] = rooms / MOST_ROOMS
    if not there.is_pushed:
        shares["the look-ups of policies"] = noticed(rooms, _restricted(load)) / NOTICED
        members = SHARE / 2 * RATE * NOTICED
        shares["the look-ups of members"] = rooms * load.people / members
    return shares


def worker(there: Deployment, events: Mapping[str, float], costs: Costs) -> float:
    """What a worker does that does not lead: its share of what is asked, and the others' news."""
    where = ": with Redis" if there.has_redis else ""
    own = sum(count * costs[name + where] for name, count in events.items()) / there.workers
    return own + heard(there, events, costs)


def heard(there: Deployment, events: Mapping[str, float], costs: Costs) -> float:
    """What the news of the other workers takes of a worker."""
    if not there.has_redis:
        return 0.0
    others = 1.0 - 1.0 / there.workers
    listeners = 1 if there.is_news_apart else there.workers - 1
    all_news = sum(count * costs[f"{name}: another worker"] for name, count in events.items())
    return all_news * others * listeners / (there.workers - 1)


def leader(there: Deployment, load: Load, rooms: float, costs: Costs) -> float:
    """What the worker does that runs the live loop, or a part of it."""
    mix = load.mix.items()
    passes = sum(rooms * share * in_pass(kind, load, costs) for kind, share in mix) / INTERVAL
    passes += costs["pass"] * there.loop_parts / INTERVAL
    if not there.is_pushed:
        more = costs["pass, open, polled"] - costs["pass, open, pushed"]
        passes += min(rooms / INTERVAL, (1.0 - SHARE) * RATE / LOOKUPS) * more
    own = worker(there, load.events(rooms, there.is_pushed), costs)
    return own + passes / there.loop_parts


def in_pass(kind: str, load: Load, costs: Costs) -> float:
    """What a room of a kind takes in one pass. By polling it takes more, and fewer have a turn."""
    people = 0.0 if kind == "open" else load.people - 4.0
    return costs[f"pass, {kind}, pushed"] + people * costs["pass, limit, a person"]


def _listing(rooms: float, costs: Costs) -> float:
    """Each worker asks LiveKit for its rooms in each interval, whether it leads or not."""
    return rooms * costs["pass, another worker"] / INTERVAL


def redis(there: Deployment, load: Load, rooms: float, costs: Costs) -> float:
    """What the busiest Redis server does; each piece of news goes to every server and worker."""
    if not there.has_redis:
        return 0.0
    events = load.events(rooms)
    passes = sum(rooms * load.mix[k] * costs[f"pass, {k}: Redis"] for k in KINDS) / INTERVAL
    keys = sum(count * costs[f"{name}: Redis"] for name, count in events.items())
    news = sum(count * costs[f"{name}: news"] for name, count in events.items())
    # The costs were measured with two listeners.
    listeners = 1 if there.is_news_apart else there.workers
    telling = news * (listeners - 2) * costs["Redis, a listener"]
    return (passes + keys) / there.shards + telling / (there.shards if there.is_news_apart else 1)


def synapse(there: Deployment, load: Load, rooms: float, costs: Costs) -> float:
    """What the homeserver does for the guard, in its one main process."""
    tokens = load.tokens_a_second(rooms)
    first = tokens / (load.people * load.tokens) if there.is_pushed else tokens
    policies, members = LOOKUPS * first, tokens
    if there.is_pushed:
        policies += LOOKUPS * rooms * _restricted(load) / POLL
        members += min(SHARE / 2 * RATE, load.comings(rooms))
    else:
        policies += min((1.0 - SHARE) * RATE, LOOKUPS * rooms / INTERVAL)
        members += min(SHARE / 2 * RATE, rooms * load.people / INTERVAL)
        members += min(SHARE / 2 * RATE, load.comings(rooms))
    return policies * costs["Synapse, a policy"] + members * costs["Synapse, a membership"]


def livekit(there: Deployment, load: Load, rooms: float, costs: Costs) -> float:
    """What LiveKit does for the guard: lists of rooms, and looks at who is in one."""
    listing = rooms * there.workers * costs["LiveKit, a room listed"] / INTERVAL
    looks = rooms * _restricted(load) / INTERVAL
    looks += load.webhooks_a_second(rooms) * _restricted(load)
    looks += load.tokens_a_second(rooms) * load.mix["limit"]
    return listing + looks * costs["LiveKit, a look at a room"]


def _restricted(load: Load) -> float:
    return 1.0 - load.mix["open"]


def look_seconds(load: Load, costs: Costs) -> float:
    """How long a look at a room takes from the guard, which nothing else keeps waiting."""
    return load.distance + costs["LiveKit, a look at a room"]


def counted(rooms: float) -> float:
    """After how many seconds Synapse's list tells of a changed room at the latest.

    Where the last round has just begun to have rooms looked at, with a second for each page.
    """
    return LOOK_SECONDS + REST_SECONDS + rooms / 1000


def noticed(rooms: float, restricted: float) -> float:
    """After how many seconds of polling a new policy is noticed in a room that had none.

    A pass asks about as many rooms with a policy as `Live` lets it, and about others in the rest;
    where that takes longer, Synapse's list of rooms tells of the change (`ChangeWatch`).
    """
    rate = (1.0 - SHARE) * RATE
    with_policy = min(rooms * restricted, rate * LONGEST_POLL / LOOKUPS)
    most = rate * INTERVAL / LOOKUPS
    of_others = max(1.0, rooms * (1.0 - restricted) / most)
    seconds = max(INTERVAL, LOOKUPS * (with_policy + most) / rate)
    return min(of_others * seconds, max(seconds, counted(rooms)))


@frozen
class Limit:
    """The most that a deployment holds."""

    rooms: float
    part: str
    """What is full then."""


def capacity(there: Deployment, load: Load, costs: Costs, without: tuple[str, ...] = ()) -> Limit:
    """Find how many live rooms a deployment holds, and what is full first."""

    def fullest(rooms: float) -> tuple[float, str]:
        shares = demand(there, load, rooms, costs)
        return max((value, name) for name, value in shares.items() if name not in without)

    low, high = 0.0, 1_000_000.0
    for _ in range(60):
        middle = (low + high) / 2
        low, high = (middle, high) if fullest(middle)[0] <= 1.0 else (low, middle)
    return Limit(low, fullest(high)[1])


def tokens_alone(there: Deployment, costs: Costs, kind: str) -> float:
    """How many tokens of newcomers a second a deployment gives where nothing else happens."""
    name = f"token, {kind}, newcomer"
    return _most(there, {name: 1.0}, costs)


def webhooks_alone(there: Deployment, costs: Costs, kind: str) -> float:
    """The same for webhooks of rooms of a kind."""
    return _most(there, {f"webhook, {kind}": 1.0}, costs)


def _most(there: Deployment, events: Mapping[str, float], costs: Costs) -> float:
    each = worker(there, events, costs)
    if there.has_redis:
        name = next(iter(events))
        listeners = 1 if there.is_news_apart else there.workers
        telling = costs[f"{name}: news"] * (listeners - 2) * costs["Redis, a listener"]
        shared = there.shards if there.is_news_apart else 1
        each = max(each, costs[f"{name}: Redis"] / there.shards + telling / shared)
    return BUSY / each


def crowded(load: Load, people: float) -> Load:
    """The same load with so many people in each room."""
    return evolve(load, people=people)
