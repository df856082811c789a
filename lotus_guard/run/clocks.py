"""Where the guard takes time and chance from; tests hand in their own."""

import time
from collections.abc import Callable
from secrets import token_bytes
from typing import Any

from attrs import frozen


@frozen
class Clocks:
    """The reactor, two clocks and a source of random bytes."""

    reactor: Any
    now: Callable[[], float]
    """Seconds that never run backwards."""
    epoch: Callable[[], float]
    """Seconds since 1970, as the tokens count them."""
    random: Callable[[int], bytes] = token_bytes
    """Gives so many random bytes."""

    def chance(self) -> float:
        """A random number from 0 to 1, without 1."""
        return int.from_bytes(self.random(4)) / 2**32


def clocks_of(reactor: Any) -> Clocks:
    """The clocks of this machine."""
    return Clocks(reactor, time.monotonic, time.time)


def keep_steady(reactor: Any) -> None:
    """Let a reactor that does not turn yet go by the clock that nobody sets.

    Twisted's goes by the time of day. Set back by ten minutes, that would hold all that waits up
    for as long, the live loop and every deadline with it; set forward, all would be late at once.
    """
    if not reactor.getDelayedCalls():  # those would be due in decades
        reactor.seconds = time.monotonic
