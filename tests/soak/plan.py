"""What a soak does and when, from a seed: the same seed gives the same faults and policies.

What people do in between depends on the machine; the faults and the policies do not.
"""

from collections.abc import Sequence
from random import Random

from attrs import frozen

FAULTS = (
    "kill a guard",
    "pause Redis",
    "empty Redis",
    "restart Redis",
    "restart LiveKit",
    "Synapse hangs",
    "Synapse fails",
    "webhooks dropped",
    "webhooks doubled",
    "webhooks delayed",
)
FIRST_FAULT = 20.0
"""Seconds in which everybody arrives first."""
QUIET_END = 20.0
"""Seconds at the end without a new fault."""
EVERY = (6.0, 14.0)
"""Seconds between the beginnings of two faults."""


@frozen
class Fault:
    """Something goes wrong, for a while."""

    at: float
    kind: str
    seconds: float
    number: int
    """Which guard, where that matters."""


@frozen
class Rule:
    """A room gets another policy."""

    at: float
    room: int
    cap: int | None
    camera: bool


@frozen
class Plan:
    """All that is laid down before a soak."""

    seed: int
    seconds: float
    faults: Sequence[Fault]
    rules: Sequence[Rule]


def make_plan(seed: int, seconds: float, rooms: int, guards: int, faulty: bool = True) -> Plan:
    """Lay down the faults and policies of a soak."""
    dice = Random(seed)
    faults: list[Fault] = []
    at = FIRST_FAULT
    while faulty and at < seconds - QUIET_END:
        kind = dice.choice(FAULTS)
        faults.append(Fault(at, kind, dice.uniform(2.0, 6.0), dice.randrange(guards)))
        at += faults[-1].seconds + dice.uniform(*EVERY)
    rules = [Rule(0.0, room, dice.choice([None, 2, 3, 4]), True) for room in range(rooms)]
    for room in range(rooms):
        when = dice.uniform(5.0, 30.0)
        while when < seconds - 5.0:
            rules.append(Rule(when, room, dice.choice([None, 1, 2, 3, 4, 5]), dice.random() < 0.5))
            when += dice.uniform(15.0, 45.0)
    return Plan(seed, seconds, faults, sorted(rules, key=lambda rule: rule.at))
