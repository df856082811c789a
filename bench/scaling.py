"""What one guard, ten workers and a Redis cluster hold, from the unit costs: the tables of
`docs/scaling.md`.

    python -m bench.scaling [--people 4] [--seconds 20] [--seed 1] [--write]

The same unit costs and the same seed print the same tables. With `--write` they take the place of
those in the page.
"""

import argparse
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from bench.capacity import (
    KINDS,
    Deployment,
    Load,
    capacity,
    crowded,
    tokens_alone,
    webhooks_alone,
)
from bench.costs import Costs, read
from bench.queueing import Play
from bench.tables import markdown

PAGE = Path(__file__).resolve().parents[1] / "docs" / "scaling.md"
DEPLOYMENTS = (
    Deployment("one guard, polling", is_pushed=False),
    Deployment("one guard, pushes and webhooks"),
    Deployment("two workers, one Redis", workers=2),
    Deployment("ten workers, one Redis", workers=10),
    Deployment("ten workers, Redis cluster of three", workers=10, shards=3, is_built=False),
    Deployment("ten workers, the loop in ten parts", workers=10, loop_parts=10, is_built=False),
    Deployment(
        "ten workers, loop and news by room, cluster of three",
        workers=10,
        shards=3,
        loop_parts=10,
        is_news_apart=True,
        is_built=False,
    ),
)
NOT_BUILT = "*"
"""Behind the name of what the guard cannot do yet."""
REMEDIES: Mapping[str, str] = {
    "the leader's core": "fewer live rooms a guard: a second stack, with a LiveKit of its own; a "
    "longer `LOTUS_GUARD_RECONCILE_INTERVAL`, where webhooks come",
    "another worker's core": "fewer workers: each hears all the news of the others",
    "Redis' core": "a Redis of its own for the guards; not built: a cluster",
    "Synapse's core": "Synapse's workers for `/_synapse/admin` and `/_matrix/client`, or a second "
    "homeserver",
    "LiveKit's core": "fewer workers: each lists LiveKit's rooms; a longer "
    "`LOTUS_GUARD_RECONCILE_INTERVAL`",
    "the turns of a pass": "LiveKit nearer to the guard",
    "the rooms that a guard remembers": "a second stack: beyond this, rooms are forgotten and "
    "asked about again",
    "the look-ups of policies": "the Synapse module and LiveKit's webhooks; or a higher "
    "`LOTUS_GUARD_POLICY_RATE`",
    "the look-ups of members": "the Synapse module; or a higher `LOTUS_GUARD_POLICY_RATE`",
}
"""By what is full, what to do."""


def rounded(value: float) -> str:
    """A number of two digits that mean something."""
    if value <= 0:
        return "0"
    digits = len(str(int(value))) - 2
    return f"{round(value, -digits):,.0f}" if value >= 10 else f"{value:.1f}"


def milliseconds(seconds: float) -> str:
    """A time of two digits or three."""
    return f"{seconds * 1000:.0f}" if seconds >= 0.1 else f"{seconds * 1000:.2g}"


def _name(there: Deployment) -> str:
    return there.name + ("" if there.is_built else NOT_BUILT)


def holds(load: Load, costs: Costs) -> str:
    """What each deployment holds, all at once, and of one thing alone."""
    heads = ("", "live rooms", "people", "tokens/s then", "webhooks/s then")
    alone = [f"tokens/s alone: {kind}" for kind in KINDS]
    rows = []
    for there in DEPLOYMENTS:
        rooms = capacity(there, load, costs).rooms
        rates = (load.tokens_a_second(rooms), load.webhooks_a_second(rooms))
        together = (rooms, rooms * load.people, *rates)
        most = [tokens_alone(there, costs, kind) for kind in KINDS]
        most.append(webhooks_alone(there, costs, "open"))
        rows.append((_name(there), *map(rounded, (*together, *most))))
    return markdown((*heads, *alone, "webhooks/s alone"), rows)


def full(load: Load, costs: Costs) -> str:
    """What is full first in each deployment, what would be next, and what to do."""
    rows = []
    for there in DEPLOYMENTS:
        first = capacity(there, load, costs)
        second = capacity(there, load, costs, without=(first.part,))
        rows.append(
            (
                _name(there),
                f"{first.part}, at {rounded(first.rooms)} rooms",
                REMEDIES[first.part],
                f"{second.part}, at {rounded(second.rooms)}",
            )
        )
    return markdown(("", "full first", "what to do then", "next"), rows)


def crowds(costs: Costs, people: Sequence[int] = (2, 4, 20, 200)) -> str:
    """How many live rooms with so many people are held."""
    rows = []
    for there in DEPLOYMENTS:
        if there.is_built:
            limits = [capacity(there, crowded(Load(), each), costs) for each in people]
            rows.append(
                (there.name, *(f"{rounded(limit.rooms)} ({limit.part})" for limit in limits))
            )
    return markdown(("", *(f"{each} people a room" for each in people)), rows)


def played(load: Load, costs: Costs, seconds: float, seed: int) -> str:
    """Each deployment at what it holds, request by request."""
    heads = ("", "rooms", "leader busy", "another worker busy", "Redis busy")
    rows = []
    for there in DEPLOYMENTS:
        rooms = int(capacity(there, load, costs).rooms)
        found = Play(there, load, rooms, costs, seed).run(seconds)
        busy = [found.busy.get(name) for name in PLAYED]
        rows.append(
            (
                _name(there),
                rounded(rooms),
                *("–" if each is None else f"{each:.0%}" for each in busy),
                milliseconds(found.p50),
                milliseconds(found.p99),
                f"{max(found.passes, default=0.0):.1f}",
            )
        )
    return markdown((*heads, "token p50, ms", "p99, ms", "longest pass, s"), rows)


PLAYED = ("the leader's core", "another worker's core", "Redis' core")


REQUESTS = {
    **{
        f"token, {kind}, {who}": f"a token, {kind}: {words}"
        for kind in KINDS
        for who, words in (
            ("first", "the first of its room"),
            ("newcomer", "a newcomer"),
            ("again", "somebody who is known"),
        )
    },
    "token, refused": "a token that is refused",
    **{f"webhook, {kind}": f"a webhook, verified and forwarded: room is {kind}" for kind in KINDS},
    "push": "a push",
}
"""What is asked of a guard, by the names of the unit costs."""
OTHERS: Mapping[str, tuple[str, float, str]] = {
    "pass": ("a pass, besides its rooms", 1e6, "µs"),
    "pass, open, polled": ("a room in a pass, open, polled", 1e6, "µs"),
    "pass, open, pushed": ("a room in a pass, open, pushed", 1e6, "µs"),
    "pass, sources, polled": ("a room in a pass, sources, polled", 1e6, "µs"),
    "pass, sources, pushed": ("a room in a pass, sources, pushed", 1e6, "µs"),
    "pass, limit, polled": ("a room in a pass, limit, polled", 1e6, "µs"),
    "pass, limit, pushed": ("a room in a pass, limit, pushed", 1e6, "µs"),
    "pass, limit, a person": ("a person more in such a room", 1e6, "µs"),
    "pass, open: Redis": ("what Redis does for a room in a pass, open", 1e6, "µs"),
    "pass, sources: Redis": ("the same, sources", 1e6, "µs"),
    "pass, limit: Redis": ("the same, limit", 1e6, "µs"),
    "pass, sources: commands": ("its commands, sources", 1.0, "commands"),
    "pass, limit: commands": ("its commands, limit", 1.0, "commands"),
    "pass, another worker": ("a room in a pass, in a worker that does not lead", 1e6, "µs"),
    "Redis, a listener": ("Redis: each listener of a piece of news", 1e6, "µs"),
    "a person there": ("a person more in a room with a limit, for each token there", 1e6, "µs"),
    "a person there: with Redis": ("the same with Redis", 1e6, "µs"),
    "a person there: Redis": ("the same in Redis", 1e6, "µs"),
    "Synapse, a policy": ("Synapse: a policy", 1e6, "µs"),
    "Synapse, a membership": ("Synapse: a membership", 1e6, "µs"),
    "LiveKit, a room listed": ("LiveKit: a room in its list", 1e6, "µs"),
    "LiveKit, a look at a room": ("LiveKit: who is in a room", 1e6, "µs"),
    "bytes, a participant": ("a person in LiveKit's answer", 1.0, "bytes"),
    "memory, a worker": ("a worker in memory", 2.0**-20, "MiB"),
    "memory, a live room: leader": ("a live room in the leader's memory", 2.0**-10, "KiB"),
    "memory, a live room: another worker": ("a live room in another's", 2.0**-10, "KiB"),
    "memory, a person": ("a person who was given a token, for an hour", 2.0**-10, "KiB"),
    "yardstick": ("the yardstick: a million turns of a loop of Python", 1000.0, "ms"),
}
"""The other unit costs: in words, and how they are shown."""


def request_costs(costs: Costs) -> str:
    """The unit costs of what is asked of a guard."""
    heads = ("", "one guard, ms", "with Redis, ms", "each other worker, ms", "Redis, µs")
    rows = []
    for name, words in REQUESTS.items():
        times = [costs[name], costs[f"{name}: with Redis"], costs[f"{name}: another worker"]]
        counts = [costs[f"{name}: commands"], costs[f"{name}: bytes"]]
        redis = f"{costs[f'{name}: Redis'] * 1e6:.0f}"
        rows.append(
            (words, *(f"{t * 1000:.2f}" for t in times), redis, *(f"{c:,.0f}" for c in counts))
        )
    return markdown((*heads, "its commands", "its bytes"), rows)


def other_costs(costs: Costs) -> str:
    """The other unit costs."""
    rows = [
        (words, _shown(costs[name] * scale, unit)) for name, (words, scale, unit) in OTHERS.items()
    ]
    return markdown(("", "takes"), rows)


def _shown(value: float, unit: str) -> str:
    return f"{value:,.0f} {unit}" if value >= 100 else f"{value:.2g} {unit}"


def tables(load: Load, costs: Costs, seconds: float, seed: int) -> Iterator[tuple[str, str]]:
    """All tables, by the heading that they stand below in the page."""
    yield "What holds", holds(load, costs)
    yield "What is full first, and what to do then", full(load, costs)
    yield "Larger calls", crowds(costs)
    yield "Simulated", played(load, costs, seconds, seed)
    yield "Unit costs: requests", request_costs(costs)
    yield "Unit costs: everything else", other_costs(costs)


TABLE = re.compile(r"^\|.*\n(?:\|.*\n)+", re.MULTILINE)


def put_in(page: str, heading: str, table: str) -> str:
    """Write a table in the place of the first one below a heading; raises ValueError."""
    head, _, below = page.partition(f"## {heading}\n")
    found = TABLE.search(below)
    if found is None:
        raise ValueError(f"{heading}: no table")
    return f"{head}## {heading}\n{below[: found.start()]}{table}\n{below[found.end() :]}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--people", type=float, default=Load().people)
    parser.add_argument("--seconds", type=float, default=SECONDS)
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--write", action="store_true")
    args = parser.parse_args()
    load, page = crowded(Load(), args.people), PAGE.read_text()
    for heading, table in tables(load, read(), args.seconds, args.seed):
        print(f"## {heading}\n\n{table}\n")
        page = put_in(page, heading, table) if args.write else page
    if args.write:
        PAGE.write_text(page)


SECONDS, SEED = 20.0, 1


if __name__ == "__main__":
    main()
