"""A server's clock, told by the `Date` of its answers (RFC 9110, 6.6.1), and ours beside it."""

from collections.abc import Callable
from email.utils import parsedate_to_datetime
from functools import lru_cache

from attrs import define, field

MOST_APART = 30.0
"""Clocks that are farther apart are worth a word: LiveKit takes tokens for a minute around their
times, and pushes are believed for a minute."""
MOST_FOLLOWED = 86_400.0
"""No clock is followed that is farther from ours: what we sign would be of use too much later."""
_RESOLUTION = 1.0  # a Date has whole seconds


@lru_cache(maxsize=8)
def _epoch_of(date: str) -> float:
    return parsedate_to_datetime(date).timestamp()


def seconds_ahead(date: str, sent: float, got: float) -> tuple[float, float] | None:
    """Between what bounds a server is ahead of us, in seconds; None where its `Date` says no time.

    `sent` and `got`: when the question went out and the answer came in, in seconds since 1970 by
    our clock.
    """
    try:
        at = _epoch_of(date)
    except (ValueError, TypeError, OverflowError):
        return None
    return at - max(sent, got), at + _RESOLUTION - min(sent, got)


@define(eq=False)
class ServerClock:
    """One server's clock as it was last seen."""

    name: str
    ours: Callable[[], float]
    """Seconds since 1970."""
    ahead: float | None = field(default=None, init=False)
    """By how many seconds it is ahead of ours; None until it has told."""
    followed: float = field(default=0.0, init=False)
    """How far ahead of ours is what `epoch` gives: with this much it takes what we sign."""

    def epoch(self) -> float:
        """Seconds since 1970 by the clock that the server takes for right."""
        return self.ours() + self.followed

    def told(self) -> float:
        """Seconds since 1970 by the server's own clock, as far as it has told; within a second."""
        return self.ours() + (self.ahead or 0.0)

    def saw(self, date: str, sent: float) -> None:
        """Take in the `Date` of an answer to a question that went out at `sent` (`ours`)."""
        bounds = seconds_ahead(date, sent, self.ours())
        if bounds is None:
            return
        low, high = bounds
        if self.ahead is None or not low <= self.ahead <= high:
            self.ahead = (low + high) / 2

    def trouble(self) -> str:
        """A sentence on how far the clocks are apart, where that is too far; else nothing."""
        if self.ahead is None or abs(self.ahead) <= MOST_APART:
            return ""
        way = "behind" if self.ahead > 0 else "ahead of"
        return f"this machine's clock is {abs(self.ahead):.0f} s {way} {self.name}'s"

    def candidate(self, enough: float) -> float:
        """The offset to follow once it has refused ours; `enough`: seconds that matter."""
        if self.ahead is None or abs(self.ahead) > MOST_FOLLOWED:
            return self.followed
        return self.ahead if abs(self.ahead - self.followed) > enough else self.followed
