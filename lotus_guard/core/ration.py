"""What strangers can cause is said once a minute, with how often it happened meanwhile."""

from collections.abc import Callable, Hashable

from attrs import define, field

QUIET_SECONDS = 60.0


@define
class Ration:
    """Tells whether a thing may be said now, and how often it was not since it was said last.

    What is said must be named in our own words, of which there are few: each is kept for good.
    """

    now: Callable[[], float]
    """Seconds of a clock that never runs backwards."""
    seconds: float = QUIET_SECONDS
    _said: dict[Hashable, tuple[float, int]] = field(init=False, factory=dict)
    """When each was said last, and how often not since then."""

    def more(self, *what: Hashable) -> str | None:
        """Give what to add to a line that may be written now; None: it is only counted."""
        last, left_out = self._said.get(what, (None, 0))
        if last is not None and self.now() - last < self.seconds:
            self._said[what] = (last, left_out + 1)
            return None
        self._said[what] = (self.now(), 0)
        return f" (and {left_out} more since the line before)" if left_out else ""
