"""Two tables of a room's seats that were changed apart from each other become one.

Every doubt is for the people: a seat that either knows of is kept, for as long as either says;
somebody is unseated only where both say so. The newer look at each LiveKit room counts.
"""

from collections.abc import Callable, Mapping
from typing import TypeVar

from lotus_guard.core.model import Identity
from lotus_guard.core.seat_table import Hold, Look, Table

K = TypeVar("K", bound=str)
V = TypeVar("V")


def merged(one: Table, other: Table) -> Table:
    """Unite two tables; whichever is named first, and however often, the result is the same."""
    return Table(
        _united(one.looks, other.looks, lambda a, b: max(a, b, key=_newer)),
        _united(one.holds, other.holds, longer_hold),
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


def longer_hold(one: Hold, other: Hold) -> Hold:
    """Unite two holds of one person."""
    return Hold(
        max(one.since, other.since),
        max(one.until, other.until),
        # Whoever hangs up frees a seat kept for grace alone.
        one.is_grace and other.is_grace,
        _united(one.awaits, other.awaits, max),
        _united(one.firm, other.firm, max),
    )


def _common(one: Mapping[K, float], other: Mapping[K, float]) -> dict[K, float]:
    return {key: min(at, other[key]) for key, at in one.items() if key in other}


def _united(one: Mapping[K, V], other: Mapping[K, V], choose: Callable[[V, V], V]) -> dict[K, V]:
    both = {key: choose(value, other[key]) for key, value in one.items() if key in other}
    return {**one, **other, **both}
