"""Gives way: what has a lot to do does it in small pieces, so that tokens are served in between.

All that the guard does is done by one reactor. It serves sockets and timers in rounds, and whoever
waits for a token waits for some six of these rounds: a pass over thousands of rooms must leave each
of them short.
"""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

V = TypeVar("V")

LEAST_HOLD, MOST_HOLD = 0.001, 0.01
"""Seconds for which a room of a pass waits while somebody waits for a token."""
PIECE = 50
"""Rooms that are gone through before others have their turn: some 12 µs each (measured)."""


async def in_pieces(items: Iterable[V], clock: IReactorTime) -> list[V]:
    """List all items, giving way after each `PIECE` of them."""
    found: list[V] = []
    rest = iter(items)
    while piece := list(islice(rest, PIECE)):
        found += piece
        if len(piece) == PIECE:
            await deferLater(clock, 0, lambda: None)
    return found


@define(eq=False)
class Turnstile:
    """Lets the rooms of a pass in one by one: one in each of the reactor's rounds at the most.

    While somebody waits for a token, the next one waits as well: for its share of the time that
    the pass has, and `LEAST_HOLD` in any case.
    """

    clock: IReactorTime
    is_awaited: Callable[[], bool] = lambda: False
    """Whether somebody waits for a token."""
    _until: float = field(init=False, default=0.0)
    """When all should have been let in, by the clock."""
    _left: int = field(init=False, default=0)
    """How many rooms are still to come in this pass."""
    _waiting: deque[Deferred[None]] = field(init=False, factory=deque)

    def begin(self, rooms: int, seconds: float) -> None:
        """A pass begins: so many rooms, to be let in within so many seconds."""
        self._left, self._until = rooms, self.clock.seconds() + seconds

    def turn(self) -> Deferred[None]:
        """Wait for one's turn, which may be given up by cancelling."""
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        if len(self._waiting) == 1:
            self.clock.callLater(0, self._look)
        return turn

    def _look(self) -> None:
        """Let the next one in, at once or after the longest time that they can wait."""
        self.clock.callLater(self._hold(), self._let_in) if self.is_awaited() else self._let_in()

    def _let_in(self) -> None:
        if not self._waiting:  # everybody has given up
            return
        turn = self._waiting.popleft()
        self._left -= 1
        if self._waiting:
            self.clock.callLater(0, self._look)
        turn.callback(None)

    def _hold(self) -> float:
        share = (self._until - self.clock.seconds()) / max(1, self._left)
        return min(max(share, LEAST_HOLD), MOST_HOLD)
