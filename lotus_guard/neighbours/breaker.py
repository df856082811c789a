"""Whether a neighbour is asked at all: a breaker that opens when it fails, and closes by itself.

    closed ──failures in a row──▶ doubted ──the question fails──▶ open ──back-off over──▶ probed
      ▲                              │                             ▲                        │
      └──────── it answers ──────────┴──── (each time longer) ─────┴─── the question fails ─┘
      └──────────────────────────── it answers ─────────────────────────────────────────────┘

Failures alone never open it: rooms are the clients', and one whose state takes long to read may be
somebody's doing. They only make us *ask the neighbour a question of our own*, in which nothing is a
client's; its answer decides. The same question is the probe by which it comes back, so that no
client's room can keep the breaker open either.
"""

from enum import StrEnum

from attrs import define, field


class State(StrEnum):
    """What the breaker does with a call."""

    CLOSED = "closed"
    DOUBTED = "doubted"
    """Calls go through; the question is being asked."""
    OPEN = "open"
    PROBED = "probed"
    """No call goes through; the question is being asked."""


@define(eq=False)
class Breaker:
    """One neighbour's breaker. `now` is in seconds, `chance` from 0 to 1."""

    enough: int = 5
    """Failures in a row after which we doubt."""
    first: float = 0.5
    """Seconds of the first back-off; each further one is twice as long."""
    most: float = 2.0
    """Seconds of the longest; so short that it is not away for us long after it is back."""
    state: State = field(default=State.CLOSED, init=False)
    failures: int = field(default=0, init=False)
    until: float = field(default=0.0, init=False)
    """When the back-off is over."""
    _wait: float = field(default=0.0, init=False)

    @property
    def lets_through(self) -> bool:
        """Whether the neighbour may be asked."""
        return self.state in (State.CLOSED, State.DOUBTED)

    def failed(self) -> bool:
        """Take note of a failed call; tells whether the question is to be asked now."""
        if self.state is not State.CLOSED:
            return False  # of a call that was begun before
        self.failures += 1
        if self.failures < self.enough:
            return False
        self.state = State.DOUBTED
        return True

    def succeeded(self) -> bool:
        """Take note of a call that did well; tells whether the breaker closes by it."""
        if self.state is State.CLOSED and not self.failures:
            return False
        closes = not self.lets_through
        if self.state is State.PROBED:
            return False  # the question's answer is on its way
        self._close()
        return closes

    def is_due(self, now: float) -> bool:
        """Whether the question is to be asked now: once, when the back-off is over."""
        if self.state is not State.OPEN or now < self.until:
            return False
        self.state = State.PROBED
        return True

    def answered(self, fine: bool, now: float, chance: float) -> bool:
        """Take note of how the question went; tells whether the breaker opens or closes by it."""
        if self.state not in (State.DOUBTED, State.PROBED):
            return False
        changes = self.state is (State.PROBED if fine else State.DOUBTED)
        if fine:
            self._close()
            return changes
        self._wait = min(self.most, 2 * self._wait) if self._wait else self.first
        self.until = now + self._wait * (0.75 + 0.25 * chance)
        self.state = State.OPEN
        return changes

    def _close(self) -> None:
        self.state, self.failures, self._wait = State.CLOSED, 0, 0.0
