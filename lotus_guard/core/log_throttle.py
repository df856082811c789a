"""Log lines that strangers can cause are written once a minute, with how often it happened."""

from collections.abc import Callable, Hashable

from attrs import define, field

QUIET_SECONDS = 60.0


@define
class LogThrottle:
    """Decides which lines may be written now, and counts those that may not.

    A line is named in our own words, of which there are few: each name is kept for good.
    """

    now: Callable[[], float]
    """Seconds of a clock that never runs backwards."""
    seconds: float = QUIET_SECONDS
    _written: dict[Hashable, tuple[float, int]] = field(init=False, factory=dict)
    """When each line was written last, and how often it was left out since."""

    def more(self, *name: Hashable) -> str | None:
        """What to add to a line that may be written now; None where it may not.

        The addition counts the lines that were left out: empty where there are none.
        """
        last, left_out = self._written.get(name, (None, 0))
        if last is not None and self.now() - last < self.seconds:
            self._written[name] = (last, left_out + 1)
            return None
        self._written[name] = (self.now(), 0)
        return f" (and {left_out} more since the line before)" if left_out else ""
