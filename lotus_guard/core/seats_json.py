"""The seats of one Matrix room: what is known of them, written down, read back and merged.

Written as JSON, for a book that several guards share:

    {"looks": {alias: [at, [identity, ...]]},
     "holds": {person: [since, until, is_grace, {awaited identity: asked}]},
     "standing": {person: at}, "returning": {person: until}, "unwatched": [alias, ...],
     "limited": [from, to], "firm": {person: {awaited identity: asked}},
     "put_out": {identity: at}}

A guard of another release may share the book: what has been added (`limited`, `firm`, `put_out`)
may be missing, and every doubt is for the people.

Times in a document are seconds of the clock that the guards share, to the microsecond;
`clock_offset` is how far that one is ahead of the clock of this guard.
"""

from collections.abc import Callable, Mapping
from typing import Any

from attrs import Factory, define, field, frozen

from lotus_guard.core.model import Identity, LiveKitRoom

Person = str
"""A user id where the user is known, else the identity: one head to count."""


@frozen
class Hold:
    """A seat kept for somebody who is not there, from `since` until `until`."""

    since: float
    until: float
    is_grace: bool = False
    """Kept for one who was there and has gone, not for a token."""
    awaits: Mapping[Identity, float] = field(factory=dict)
    """Whom its tokens name, and when each was issued: it is used up by their coming in. Empty, for
    a seat that is kept for no token we know: anybody of the person's uses it up."""
    firm: Mapping[Identity, float] = field(
        default=Factory(lambda self: self.awaits, takes_self=True)
    )
    """When those were issued last that were asked for by one who was not there: on the way in, they
    keep the seat whatever another device of the person's does."""


@frozen
class Look:
    """Who was in a LiveKit room when we asked at `at`."""

    at: float
    people: frozenset[Identity]


@define
class Table:
    """The seats of one Matrix room."""

    looks: dict[LiveKitRoom, Look] = field(factory=dict)
    holds: dict[Person, Hold] = field(factory=dict)
    unseated: dict[Person, float] = field(factory=dict)
    """When we first saw those who came in without a seat."""
    returning: dict[Person, float] = field(factory=dict)
    """Until when those may come back whom we lost sight of all at once."""
    unwatched: set[LiveKitRoom] = field(factory=set)
    """LiveKit rooms of which a look failed: who is new in the next one may have been there."""
    limited: tuple[float, float] | None = None
    """From when until when the live loop has known of a limit in every look."""
    put_out: dict[Identity, float] = field(factory=dict)
    """When those were put out to whom no token has been given since."""


def write_table(table: Table, clock_offset: float) -> dict[str, Any]:
    """Write a table as what JSON can hold."""

    def shared(at: float) -> float:
        return round(at + clock_offset, 6)

    return {
        "looks": {a: [shared(k.at), sorted(k.people)] for a, k in table.looks.items()},
        "holds": {
            p: [shared(h.since), shared(h.until), h.is_grace, _moved(h.awaits, shared)]
            for p, h in table.holds.items()
        },
        "standing": {p: shared(at) for p, at in table.unseated.items()},
        "returning": {p: shared(at) for p, at in table.returning.items()},
        "unwatched": sorted(table.unwatched),
        "limited": table.limited and [shared(at) for at in table.limited],
        "firm": {p: _moved(h.firm, shared) for p, h in table.holds.items() if h.firm != h.awaits},
        "put_out": {i: shared(at) for i, at in table.put_out.items()},
    }


def read_table(document: Mapping[str, Any], clock_offset: float) -> Table:
    """Read a table back; raises KeyError, ValueError or TypeError for what is none."""

    def ours(at: float) -> float:
        return round(at - clock_offset, 6)

    looks = {
        LiveKitRoom(a): Look(ours(at), frozenset(map(Identity, people)))
        for a, (at, people) in document["looks"].items()
    }
    firm = document.get("firm", {})
    holds = {
        p: Hold(
            ours(since),
            ours(until),
            bool(grace),
            _moved(awaits, ours),
            _moved(firm.get(p, awaits), ours),
        )
        for p, (since, until, grace, awaits) in document["holds"].items()
    }
    limited = document.get("limited")
    return Table(
        looks,
        holds,
        {p: ours(at) for p, at in document["standing"].items()},
        {p: ours(at) for p, at in document["returning"].items()},
        {LiveKitRoom(a) for a in document["unwatched"]},
        (ours(limited[0]), ours(limited[1])) if limited else None,
        _moved(document.get("put_out", {}), ours),
    )


def _moved(
    awaits: Mapping[Identity, float], clock: Callable[[float], float]
) -> dict[Identity, float]:
    return {Identity(identity): clock(asked) for identity, asked in sorted(awaits.items())}


def merged(one: Table, other: Table) -> Table:
    """Unite two tables of a room that were changed apart from each other.

    Every doubt is for the people: a seat that either knows of is kept, for as long as either says;
    somebody stands only where both say so. The newer look at each LiveKit room counts.
    """
    return Table(
        _united(one.looks, other.looks, lambda a, b: max(a, b, key=_newer)),
        _united(one.holds, other.holds, _longer),
        _common(one.unseated, other.unseated),
        _united(one.returning, other.returning, max),
        one.unwatched | other.unwatched,
        _both_limited(one.limited, other.limited),
        _common(one.put_out, other.put_out),
    )


def _both_limited(
    one: tuple[float, float] | None, other: tuple[float, float] | None
) -> tuple[float, float] | None:
    return (max(one[0], other[0]), min(one[1], other[1])) if one and other else None


def _newer(look: Look) -> tuple[float, list[Identity]]:
    return look.at, sorted(look.people)


def _longer(one: Hold, other: Hold) -> Hold:
    return Hold(
        max(one.since, other.since),
        max(one.until, other.until),
        # Whoever hangs up frees a seat kept for grace alone.
        one.is_grace and other.is_grace,
        _united(one.awaits, other.awaits, max),
        _united(one.firm, other.firm, max),
    )


def _common(one: Mapping[Any, float], other: Mapping[Any, float]) -> dict[Any, float]:
    return {key: min(at, other[key]) for key, at in one.items() if key in other}


def _united(one: Mapping[Any, Any], other: Mapping[Any, Any], choose: Any) -> dict[Any, Any]:
    both = {key: choose(value, other[key]) for key, value in one.items() if key in other}
    return {**one, **other, **both}
