"""The holds of one room, and whose are alive at a moment: asked for several times of each token.

Holds run out in any order, and a verdict may rest on a look from before others did. So what was
counted is kept with the span of time in which nobody's hold runs out: in it the same people have a
seat. A new hold changes the count by one, and is not counted anew with hundreds of others.
"""

from collections.abc import ItemsView, Iterator, KeysView, Mapping, MutableMapping, ValuesView
from math import inf
from typing import Protocol, TypeVar

Person = str
"""A user id where the user is known, else the identity: one head to count."""


class RunsOut(Protocol):
    """Whatever is held until a moment."""

    @property
    def until(self) -> float:
        """Until when it is held."""
        ...


H = TypeVar("H", bound=RunsOut)


class Holds(MutableMapping[Person, H]):
    """The hold of each person."""

    def __init__(self, holds: Mapping[Person, H] = {}) -> None:
        self._holds: dict[Person, H]
        self._alive = set[Person]()
        self._since, self._before = inf, -inf
        """From when on and until before when `_alive` is right; at first never."""
        if isinstance(holds, Holds):
            self._holds, self._alive = dict(holds._holds), set(holds._alive)
            self._since, self._before = holds._since, holds._before
        else:
            self._holds = dict(holds)

    def alive(self, at: float) -> set[Person]:
        """Everybody whose hold is alive then; not to be changed, and right until the next hold."""
        if not self._since <= at < self._before:
            alive = {person for person, hold in self._holds.items() if hold.until > at}
            dead = (hold.until for hold in self._holds.values() if hold.until <= at)
            self._alive, self._since = alive, max(dead, default=-inf)
            self._before = min((self._holds[each].until for each in alive), default=inf)
        return self._alive

    def __setitem__(self, person: Person, hold: H) -> None:
        self._holds[person] = hold
        if hold.until >= self._before:
            self._alive.add(person)
        elif hold.until <= self._since:
            self._alive.discard(person)
        else:  # it runs out within the span
            self._since, self._before = inf, -inf

    def __delitem__(self, person: Person) -> None:
        del self._holds[person]
        self._alive.discard(person)

    def __getitem__(self, person: Person) -> H:
        return self._holds[person]

    def get(self, person: Person, default: H | None = None) -> H | None:  # type: ignore[override]
        """A person's hold, without the detour of a failed look-up."""
        return self._holds.get(person, default)

    # What a mapping does by one look-up for each entry: guards with a Redis copy and compare with
    # each token.

    def keys(self) -> KeysView[Person]:
        """Everybody who has one."""
        return self._holds.keys()

    def values(self) -> ValuesView[H]:
        """All holds."""
        return self._holds.values()

    def items(self) -> ItemsView[Person, H]:
        """Everybody, with their hold."""
        return self._holds.items()

    def __eq__(self, other: object) -> bool:
        return self._holds == (other._holds if isinstance(other, Holds) else other)

    __hash__ = None  # type: ignore[assignment]

    def __iter__(self) -> Iterator[Person]:
        return iter(self._holds)

    def __len__(self) -> int:
        return len(self._holds)

    def __contains__(self, person: object) -> bool:
        return person in self._holds

    def __repr__(self) -> str:
        return f"Holds({self._holds!r})"
