"""The seats of one Matrix room as JSON, for a Redis that several guards share:

    {"looks": {alias: [at, [identity, ...]]},
     "holds": {person: [since, until, is_grace, {awaited identity: asked}]},
     "standing": {person: at}, "returning": {person: until}, "unwatched": [alias, ...],
     "limited": [from, to], "firm": {person: {awaited identity: asked}},
     "put_out": {identity: at}}

An alias is the name of a LiveKit room; `standing` are the unseated. A guard of another release may
share the document: what has been added (`limited`, `firm`, `put_out`) may be missing, and every
doubt is for the people.

Times in a document are seconds of the clock that the guards share, to the microsecond;
`clock_offset` is how far that one is ahead of the clock of this guard.
"""

from collections.abc import Callable, Mapping
from typing import Any

from lotus_guard.core.model import Identity, LiveKitRoom
from lotus_guard.core.seat_table import Hold, Look, Table


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
    """Read a table back.

    Raises KeyError, ValueError, TypeError or AttributeError for what is none.
    """

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
