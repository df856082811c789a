"""What a token, a webhook and a push take of a guard, of another one beside it, and of Redis."""

import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

from attrs import frozen

from bench.costs import Costs
from bench.hinting import webhook
from bench.measured import Policies, Used, World, difference, each_of, world
from bench.traffic import Ask, make_ask
from bench.wire import Request, ask_over, push_request, token_request
from lotus_guard.core.model import RoomId
from lotus_guard.rules import RULES
from lotus_guard.rules.push import write_push

LIMIT, QUALITY = "io.lotus.voice_limit", "io.lotus.room_quality"
KINDS: Mapping[str, Mapping[str, Any]] = {
    "open": {},
    "sources": {QUALITY: {"allow_camera": False}},
    "limit": {QUALITY: {"allow_camera": False}, LIMIT: {"max_users": 1000}},
}
FULL: Mapping[str, Any] = {LIMIT: {"max_users": 4}}
ROOMS = 192
"""Rooms of each kind that are asked about."""
NEWCOMERS = 3
"""Rounds of newcomers, each a part of its own."""
STILL = {
    "LOTUS_GUARD_RECONCILE_INTERVAL": "600",
    "LOTUS_GUARD_SEAT_HOLD": "600",
    "LOTUS_GUARD_DEADLINE": "20",
}
"""No pass falls into a measurement of requests, and none of them is given up as late."""
OPENED = "lotus_guard_fail_open_total"


@frozen
class Traffic:
    """Requests for the rooms of each kind, by the round in which a user comes."""

    asks: Mapping[str, Sequence[Sequence[Ask]]]

    def all(self) -> list[Ask]:
        """All of them."""
        return [ask for rounds in self.asks.values() for each in rounds for ask in each]

    def policies(self) -> Policies:
        """The policies of their rooms."""
        kinds = {**KINDS, "full": FULL}
        return {ask.room: kinds[ask.kind] for ask in self.all()}


def traffic(kinds: Sequence[str], rooms: int, users: int) -> Traffic:
    """Make the requests of so many users in each room."""
    made: dict[str, list[list[Ask]]] = {}
    number = 0
    for kind in kinds:
        made[kind] = []
        for user in range(users):
            numbers = range(number, number + rooms)
            rooms_of = [f"!{kind}{each}:bench" for each in range(rooms)]
            made[kind].append(
                [make_ask(n, kind, room, user) for n, room in zip(numbers, rooms_of, strict=True)]
            )
            number += rooms
    return Traffic(made)


def _requests(asks: Sequence[Ask]) -> list[Request]:
    return [token_request(ask) for ask in asks]


def _asking(made: World, rounds: Sequence[Sequence[Ask]], status: int = 200) -> Used:
    port = made.guards[0].port
    parts = [partial(ask_over, port, _requests(each), status) for each in rounds]
    return each_of(made, parts)


def beat(made: World) -> None:
    for guard in made.guards:
        guard.heartbeat()


def requests(guards: int) -> Iterator[tuple[str, Used]]:
    """Measure each kind of request at the first of so many guards."""
    kinds = (*KINDS, "full")
    load = traffic(kinds, ROOMS, 1 + NEWCOMERS)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        made = World(Path(name), load.all(), load.policies())
        with world(made, guards, **STILL):
            for kind in KINDS:
                rounds, third = load.asks[kind][0], ROOMS // 3
                parts = [rounds[at : at + third] for at in range(0, ROOMS, third)]
                yield f"token, {kind}, first", _asking(made, parts)
            ask_over(made.guards[0].port, _requests(load.asks["full"][0]), 403)
            beat(made)
            for kind in KINDS:
                beat(made)
                ask_over(made.guards[0].port, _requests(load.asks[kind][0]), 200)
                yield f"token, {kind}, newcomer", _asking(made, load.asks[kind][1:])
                beat(made)
                yield f"token, {kind}, again", _asking(made, load.asks[kind][1:])
            beat(made)
            yield "token, refused", _asking(made, load.asks["full"][1:], 403)
            yield from _hints(made, load)
            opened = {
                k: v for k, v in made.guards[0].metrics().items() if k.startswith(OPENED) and v
            }
            assert not opened, f"some tokens were not judged: {opened}"


def _hints(made: World, load: Traffic) -> Iterator[tuple[str, Used]]:
    guard = made.guards[0]
    for kind in ("open", "sources", "limit"):
        beat(made)
        parts = [_webhooks(guard.port, "/sfu_webhook", each, 200) for each in load.asks[kind][1:]]
        yield f"webhook, {kind}", each_of(made, parts)
    parts = [_pushes(guard.admin, each) for each in load.asks["open"][1:]]
    yield "push", each_of(made, parts)


def _webhooks(port: int, path: str, asks: Sequence[Ask], status: int) -> Callable[[], int]:
    def post() -> int:
        made = []
        for ask in asks:
            body, headers = webhook("participant_left", ask, ask.number)
            made.append(Request(path, body, headers))
        return ask_over(port, made, status)

    return post


def _pushes(port: int, asks: Sequence[Ask]) -> Callable[[], int]:
    def post() -> int:
        # A push must be newer than the one before for its room.
        bodies = [
            write_push(RoomId(each.room), {LIMIT: None, QUALITY: None}, RULES) for each in asks
        ]
        return ask_over(port, [push_request(body) for body in bodies], 204)

    return post


def alone() -> Costs:
    """Measure one guard with its state in a file."""
    return {name: found["guard"] for name, found in requests(1)}


def shared() -> Costs:
    """Measure two guards on one Redis: the one that is asked, and what the other hears of it."""
    costs: dict[str, float] = {}
    for name, found in requests(2):
        costs[f"{name}: with Redis"] = found["guard"]
        costs[f"{name}: another worker"] = found["other"]
        costs[f"{name}: Redis"] = found["redis"]
        costs[f"{name}: commands"] = found["commands"]
        costs[f"{name}: news"] = found["news"]
        costs[f"{name}: bytes"] = found["in"] + found["out"]
    return costs


def people(few: int = 4, many: int = 204) -> Costs:
    """Measure what one more person in a room adds to a token there, who is seated as well."""
    costs = {"a person there: another worker": 0.0, "a person there: news": 0.0}
    for where, guards in (("", 1), (": with Redis", 2)):
        found = [newcomers(guards, present) for present in (few, many)]
        each = difference(found[1], found[0], 1.0 / (many - few))
        costs[f"a person there{where}"] = max(0.0, each["guard"])
        if guards > 1:
            costs["a person there: Redis"] = max(0.0, each["redis"])
    return costs


def newcomers(guards: int, present: int, rooms: int = 16, users: int = 24) -> Used:
    """Measure tokens for rooms in which so many people are already."""
    load = traffic(["limit"], rooms, users)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        made = World(Path(name), load.all(), load.policies(), present)
        with world(made, guards, **STILL):
            beat(made)
            rounds, at = load.asks["limit"], users // 4
            batches = [list(chain(*rounds[n : n + at])) for n in range(0, users, at)]
            ask_over(made.guards[0].port, _requests(batches[0]), 200)
            beat(made)
            return _asking(made, batches[1:])


def remembered(rooms: int = 16, users: int = 200) -> float:
    """Measure the bytes that a guard keeps of each person whom it gave a token."""
    load = traffic(["sources"], rooms, users)
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        made = World(Path(name), load.all(), load.policies())
        with world(made, 1, **STILL):
            guard, rounds = made.guards[0], load.asks["sources"]
            half = users // 2
            for number, each in enumerate(rounds):
                if number == half:
                    before = guard.rss()
                ask_over(guard.port, _requests(each), 200)
            return max(0.0, guard.rss() - before) * 1024 * 1024 / (half * rooms)
