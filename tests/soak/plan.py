"""What a soak does and when, from a seed: the same one gives the same faults, policies, attacks.

What people do in between depends on the machine; these do not.
"""

from collections.abc import Iterator, Sequence
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
ATTACKS = (
    "invented rooms",
    "disguise",
    "drawer",
    "churn",
    "slots",
    "webhooks",
    "big names",
    "odd bodies",
    "unused tokens",
    "trickle",
)
"""What a hostile client tries, one after the other (`tests.soak.hostile`)."""
CAMERAS = ("disguise", "drawer", "slots", "big names")
"""Attacks that are to bring a camera into a room that forbids it."""
FIRST_ATTACK = 10.0
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
class Attack:
    """A hostile client tries something, for a while."""

    at: float
    number: int
    """Which client."""
    kind: str
    seconds: float
    room: int
    """In which room, where that matters."""


@frozen
class Plan:
    """All that is laid down before a soak."""

    seed: int
    seconds: float
    faults: Sequence[Fault]
    rules: Sequence[Rule]
    attacks: Sequence[Attack] = ()


def make_plan(
    seed: int, seconds: float, rooms: int, guards: int, faulty: bool = True, hostile: int = 0
) -> Plan:
    """Lay down the faults and policies of a soak, and what so many hostile clients do."""
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
    rules.sort(key=lambda rule: rule.at)
    attacks = [
        attack for number in range(hostile) for attack in _attacks(seed, seconds, rules, number)
    ]
    return Plan(seed, seconds, faults, rules, sorted(attacks, key=lambda attack: attack.at))


def _attacks(seed: int, seconds: float, rules: Sequence[Rule], number: int) -> Iterator[Attack]:
    """Lay down what one hostile client does: each kind in turn, each client from another on."""
    dice = Random(f"{seed}:attacks:{number}")
    at, turn = FIRST_ATTACK + dice.uniform(0.0, 5.0), number
    while at < seconds - QUIET_END:
        kind, lasts = ATTACKS[turn % len(ATTACKS)], dice.uniform(7.0, 14.0)
        yield Attack(at, number, kind, lasts, _target(rules, at, kind, dice))
        at += lasts + dice.uniform(2.0, 6.0)
        turn += 1


def _target(rules: Sequence[Rule], at: float, kind: str, dice: Random) -> int:
    """Choose a room; for a camera one that forbids it then, if there is any."""
    now = {rule.room: rule for rule in rules if rule.at <= at}
    rooms = sorted(now)
    if kind in CAMERAS:
        rooms = [room for room in rooms if not now[room].camera] or rooms
    return dice.choice(rooms)
