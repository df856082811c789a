"""A bounded number of places, shared out fairly among those who want them.

Whoever asks gets one, or waits in a line of their own, which is bounded. The rule (after Choudhury
and Hahne, "Dynamic queue length thresholds for shared-memory packet switches", 1998): one gets
another place only while they have fewer than are free. So one alone gets half of all places, two
get a third each, and there is always one left for whoever comes new, until very many are there.

How heavy the load is, is told by `spread`, to which nobody contributes more than `cap`: one alone
can make a line of their own long, and never the load heavy.
"""

from collections import Counter, deque
from collections.abc import Callable, Hashable
from typing import Generic, TypeVar

from attrs import define, field, frozen

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


@frozen
class Bounds:
    """How much there is, and how much of it one may have at the most."""

    most: int
    """Places."""
    each: int
    """Places that one may have, however many are free."""
    crowd: int
    """The same for one who stands for many; there need be no more than one free."""
    line: int
    """The weight of what one may have in their line."""
    waiting: int
    """The weight of all lines together."""
    cap: int
    """So many places of one count in `spread`."""


@define(eq=False)
class Shares(Generic[K, T]):
    """Who has how many places, and who waits for one."""

    bounds: Bounds
    is_crowd: Callable[[K], bool] = lambda _who: False
    """Whether one stands for many; in `spread` they still count as one."""
    used: int = field(default=0, init=False)
    """Places that somebody has."""
    spread: int = field(default=0, init=False)
    """The same, of nobody more than `cap`."""
    waiting: int = field(default=0, init=False)
    """The weight of all lines."""
    _has: dict[K, int] = field(factory=dict, init=False)
    _lines: dict[K, deque[tuple[T, int]]] = field(factory=dict, init=False)
    _weights: Counter[K] = field(factory=Counter, init=False)
    _turns: deque[K] = field(factory=deque, init=False)
    """Everybody who has a line, whose turn is next first."""

    def has(self, who: K) -> int:
        """How many places one has."""
        return self._has.get(who, 0)

    def enter(self, who: K) -> bool:
        """Take a place, if one may have it at once; `leave` gives it back."""
        has = self._has.get(who, 0)
        if who in self._lines or not self._may_have_more(who, has):
            return False
        self._take(who, has)
        return True

    def wait(self, who: K, ticket: T, weight: int = 1) -> tuple[bool, T | None]:
        """Wait in line for a place; returns whether the line is not too long for that.

        Also returns the ticket of somebody else that had to go from its line to make room.
        """
        bound = self.bounds.waiting if self.is_crowd(who) else self.bounds.line
        if self._weights[who] + weight > bound:
            return False, None
        dropped = None
        if self.waiting + weight > self.bounds.waiting:
            dropped = self._drop_for(who, weight)
            if dropped is None:
                return False, None
        self._wait(who, ticket, weight)
        return True, dropped

    def leave(self, who: K) -> None:
        """Return a place; `admit` then finds who gets it."""
        had = self._has[who]
        self.used -= 1
        self.spread -= had <= self.bounds.cap
        if had == 1:
            del self._has[who]
        else:
            self._has[who] = had - 1

    def admit(self) -> T | None:
        """Take a place for whoever may have one next, in turn; returns their ticket, or None."""
        for _ in range(len(self._turns) if self.used < self.bounds.most else 0):
            who = self._turns[0]
            self._turns.rotate(-1)
            has = self.has(who)
            if self._may_have_more(who, has):
                ticket, weight = self._lines[who].popleft()
                self._lighten(who, weight)
                self._take(who, has)
                return ticket
        return None

    def give_up(self, who: K, ticket: T) -> None:
        """Take a ticket out of its line, if it is still there."""
        line = self._lines.get(who, deque())
        for number, (waits, weight) in enumerate(line):
            if waits is ticket:
                del line[number]
                self._lighten(who, weight)
                return

    def _may_have_more(self, who: K, has: int) -> bool:
        bounds = self.bounds
        free = bounds.most - self.used
        if self.is_crowd(who):
            return has < bounds.crowd and free > 0
        return has < free and has < bounds.each

    def _take(self, who: K, has: int) -> None:
        self._has[who] = has + 1
        self.used += 1
        self.spread += has < self.bounds.cap

    def _wait(self, who: K, ticket: T, weight: int) -> None:
        if who not in self._lines:
            self._lines[who] = deque()
            self._turns.append(who)
        self._lines[who].append((ticket, weight))
        self._weights[who] += weight
        self.waiting += weight

    def _drop_for(self, who: K, weight: int) -> T | None:
        """Take the newest ticket from the heaviest line, where that is heavier than one's own."""
        heaviest, had = max(self._weights.items(), key=lambda entry: entry[1])
        ticket, freed = self._lines[heaviest][-1]
        if had <= self._weights[who] + weight or freed < weight:
            return None
        self._lines[heaviest].pop()
        self._lighten(heaviest, freed)
        return ticket

    def _lighten(self, who: K, weight: int) -> None:
        self.waiting -= weight
        self._weights[who] -= weight
        if not self._lines[who]:
            del self._lines[who], self._weights[who]
            self._turns.remove(who)


@define(eq=False)
class Arrivals(Generic[K]):
    """Whether what came in lately came from many, or most of it from one."""

    seconds: float = 1.0
    """How long a window is; this one and the one before it count."""
    many: int = 8
    """So many must have come."""
    most: int = 10_000
    """Origins that are told apart in a window."""
    _since: float = field(default=0.0, init=False)
    _counts: dict[K, int] = field(factory=dict, init=False)
    _totals: list[int] = field(factory=lambda: [0, 0], init=False)
    """Arrivals in this window and in the one before it."""
    _heaviest: list[int] = field(factory=lambda: [0, 0], init=False)
    """Arrivals of the one who came most often."""
    _origins: int = field(default=0, init=False)
    """How many came in the window before."""

    def count(self, who: K, now: float) -> None:
        """Count an arrival."""
        if now - self._since >= self.seconds:
            self._turn(now)
        counts = self._counts
        came = counts.get(who, 0) + 1
        if came > 1 or len(counts) < self.most:
            counts[who] = came
        self._totals[0] += 1
        if came > self._heaviest[0]:
            self._heaviest[0] = came

    def take_back(self, who: K, times: int) -> None:
        """Count so many arrivals less: they have turned out to be somebody else's.

        Those of the window before stay counted, and so does what was the most of one.
        """
        came = self._counts.get(who, 0)
        times = min(came, times)
        self._totals[0] -= times
        if came:
            self._counts[who] = came - times

    def share_of_others(self, now: float) -> float:
        """What share of it all came from others than the one who came most often.

        0.0 where it is not many who came, or where that one came more often than all others.
        """
        if now - self._since >= self.seconds:
            self._turn(now)
        if max(len(self._counts), self._origins) < self.many:
            return 0.0
        share = 1.0 - sum(self._heaviest) / max(1, sum(self._totals))
        return share if share >= 0.5 else 0.0

    def _turn(self, now: float) -> None:
        is_next = now - self._since < 2 * self.seconds
        self._origins = len(self._counts) if is_next else 0
        self._totals = [0, self._totals[0] if is_next else 0]
        self._heaviest = [0, self._heaviest[0] if is_next else 0]
        self._counts, self._since = {}, now
