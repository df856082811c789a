"""The last hour in minutes: how much was refused, changed and left unguarded, and how many people.

A minute, as JSON:

    {"at": 1790000040, "refused": 3, "changed": 12, "unguarded": 0, "observed": 0, "people": 41}

`at` is when it began, in seconds since 1970. `changed` counts tokens and live calls. `unguarded`
counts tokens let out without a rule, not running calls. `observed` says how many of the decisions
changed nothing, because their rule only observes. `people` is the most that were in calls at once,
null where nobody looked. Minutes in which the guard did not run are left out.
"""

from collections import deque
from collections.abc import Callable
from typing import Any

from attrs import asdict, define, field

from lotus_guard.rules.decision import Deed, Ruling

MINUTES = 60
_COUNTED = {
    Deed.REFUSED: "refused",
    Deed.CHANGED: "changed",
    Deed.STEP: "changed",
    Deed.FAIL_OPEN: "unguarded",
}


@define
class Minute:
    """What happened in one minute."""

    at: int
    """When it began, in seconds since 1970."""
    refused: int = 0
    changed: int = 0
    unguarded: int = 0
    observed: int = 0
    people: int | None = None


@define(eq=False)
class LastHour:
    """Counts by the minute, and keeps `MINUTES` of them."""

    epoch: Callable[[], float]
    """Seconds since 1970; may be set back."""
    _minutes: deque[Minute] = field(init=False, factory=lambda: deque(maxlen=MINUTES))
    """Newest last, each later than the one before."""

    def decided(self, ruling: Ruling, observed: bool) -> None:
        """Count a decision."""
        name = _COUNTED.get(ruling.deed)
        if name is None:
            return
        minute = self._minute()
        setattr(minute, name, getattr(minute, name) + 1)
        minute.observed += observed

    def saw(self, people: int) -> None:
        """Take note of how many people are in calls now."""
        minute = self._minute()
        minute.people = max(people, minute.people or 0)

    def minutes(self) -> list[dict[str, Any]]:
        """List the minutes of the last hour in which the guard ran, oldest first."""
        oldest = self._begun() - 60 * (MINUTES - 1)
        return [asdict(each) for each in self._minutes if each.at >= oldest]

    def _begun(self) -> int:
        """When the minute began that is now."""
        return int(self.epoch() // 60) * 60

    def _minute(self) -> Minute:
        """The minute that is now; the last one, where the clock was set back by less than two."""
        at = self._begun()
        while self._minutes and self._minutes[-1].at - at > 60:
            self._minutes.pop()  # the clock was wrong: so long a minute would never end
        if not self._minutes or self._minutes[-1].at < at:
            self._minutes.append(Minute(at))
        return self._minutes[-1]
