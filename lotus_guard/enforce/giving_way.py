"""Gives way: what has a lot to do does it in small pieces, so that tokens are served in between.

All that the guard does is done by one reactor. It serves sockets and timers in rounds, and whoever
waits for a token waits for some six of these rounds: a pass over thousands of rooms must leave each
of them short.
"""

from collections import deque
from collections.abc import Callable, Iterable
from itertools import islice
from math import inf
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater

V = TypeVar("V")

HOLD = 0.001
"""Seconds between two rooms of a pass while somebody waits for a token. A thousand rooms at a
millisecond each are within what a pass may take (docs/overload.md)."""
PATIENCE, MOST_PATIENCE = 0.002, 0.005
"""So many seconds a room waits for the one before it, and while somebody waits for a token: where
the neighbours are slow it is they that are waited for, and several rooms can do so at once."""
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
    """Lets the rooms of a pass in one by one: the next where the one before is done, or slow.

    So a round of the reactor has the answers about one room in it and not about all that are asked
    about at once. While somebody waits for a token, the next room waits a moment more.
    """

    clock: IReactorTime
    is_awaited: Callable[[], bool] = lambda: False
    """Whether somebody waits for a token."""
    until: float = field(init=False, default=inf)
    """By the clock: from then on nobody is given way to. Whoever keeps a request for a token open
    must not make a pass late."""
    _inside: int = field(init=False, default=0)
    """How many rooms are being worked on."""
    _waiting: deque[Deferred[None]] = field(init=False, factory=deque)
    _next: IDelayedCall | None = field(init=False, default=None)
    """When the next one is let in."""

    def turn(self) -> Deferred[None]:
        """Wait for one's turn, which may be given up by cancelling; then `leave` is to follow."""
        turn: Deferred[None] = Deferred(self._waiting.remove)
        self._waiting.append(turn)
        self._await_next()
        return turn

    def leave(self) -> None:
        """One whose turn it was is done."""
        self._inside -= 1
        if self._next is not None and not self._inside:
            self._next.reset(self._hold())

    def _await_next(self) -> None:
        if self._next is None and self._waiting:
            self._next = self.clock.callLater(self._hold(), self._let_in)

    def _hold(self) -> float:
        """For how many seconds the next one waits at most, as things are."""
        if self.clock.seconds() >= self.until:
            return 0.0
        if self.is_awaited():
            return MOST_PATIENCE if self._inside else HOLD
        return PATIENCE if self._inside else 0.0

    def _let_in(self) -> None:
        self._next = None
        if not self._waiting:  # everybody has given up
            return
        turn = self._waiting.popleft()
        self._inside += 1
        self._await_next()
        turn.callback(None)
