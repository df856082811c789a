"""Whom the watch over members looks at, how often, and when again."""

from collections.abc import Callable

from attrs import frozen
from twisted.internet.interfaces import IReactorTime

from lotus_guard.core.model import RoomId, UserId
from lotus_guard.enforce.rate_limiter import RateLimiter


@frozen
class Subject:
    """A user in a room's calls."""

    room: RoomId
    user: UserId


@frozen
class Pace:
    """How many are looked up in a second."""

    rounds: RateLimiter
    arrivals: RateLimiter
    """For those who come in, and for who was found outside: they wait in no round's way."""


@frozen
class LookAgain:
    """What has a user looked at again who was put out: they may be back with the same token."""

    look: Callable[[], None]
    clock: IReactorTime
    is_poll: bool = False

    def again(self, seconds: float) -> None:
        """Look at them again, at once or later."""
        self.clock.callLater(seconds, self.look)

    def excuse(self, seconds: float) -> None:
        """Nothing to excuse: nobody waits for it."""
