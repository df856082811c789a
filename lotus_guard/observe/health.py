"""How each thing that the guard depends on did lately, told without asking it."""

from collections.abc import Callable
from enum import StrEnum
from typing import Any

from attrs import define, field

from lotus_guard.enforce.condition import described
from lotus_guard.enforce.ports import NotAsked, Now, Outage, Reason

TROUBLE_SECONDS = 60.0
"""Trouble that nothing good has followed counts for so long; later nobody knows."""


class Dependency(StrEnum):
    """What the guard talks to."""

    UPSTREAM = "upstream"
    SYNAPSE = "synapse"
    LIVEKIT = "livekit"
    STORE = "store"


@define
class _Course:
    """The last good and the last bad news of one dependency."""

    good: float | None = None
    bad: float | None = None
    detail: str = ""
    failing: float | None = None
    """Since when the news has been bad."""


@define(eq=False)
class Health:
    """Keeps the last news of every dependency."""

    now: Now
    _courses: dict[str, _Course] = field(init=False, factory=dict)
    _remarks: dict[str, Callable[[], str]] = field(init=False, factory=dict)
    _watched: list[Callable[[], dict[str, Any]]] = field(init=False, factory=list)

    def __attrs_post_init__(self) -> None:
        self._courses = {name: _Course() for name in Dependency}

    def noter(self, name: Dependency) -> Callable[[Outage | None], None]:
        """Make a function that takes the end of each exchange: an Outage, or None."""

        def note(outage: Outage | None) -> None:
            if isinstance(outage, NotAsked) and outage.reason is not Reason.BUSY:
                return  # no news of it: what happened before, and the remark on it, say all
            # What a client can cause is no trouble of ours.
            is_fine = outage is None or outage.reason is Reason.OVERSIZED
            self.note(name, None if is_fine else str(outage))

        return note

    def note(self, name: Dependency, trouble: str | None) -> None:
        """Take note that something did well, or of its trouble."""
        course = self._courses[name]
        if trouble is None:
            course.good, course.failing = self.now(), None
        else:
            course.bad, course.detail = self.now(), trouble
            course.failing = course.bad if course.failing is None else course.failing

    def remark(self, name: Dependency, tell: Callable[[], str]) -> None:
        """Add a remark on a dependency; while it is not empty, it is trouble."""
        self._remarks[name] = tell

    def watch(self, describe: Callable[[], dict[str, Any]]) -> None:
        """Add something that describes itself as `dependencies` does."""
        self._watched.append(describe)

    def dependencies(self) -> list[dict[str, Any]]:
        """Describe every dependency: name, state, seconds since it last did well, and why.

        `down` are the seconds since the first failure that no success has followed; null or left
        out where there is none.
        """
        return [self._describe(name, course) for name, course in self._courses.items()] + [
            describe() for describe in self._watched
        ]

    def _describe(self, name: str, course: _Course) -> dict[str, Any]:
        now, remark = self.now(), self._remarks.get(name, str)()
        is_bad = course.bad is not None and (course.good is None or course.bad > course.good)
        state = "ok" if course.good is not None else "unknown"
        if is_bad and course.bad is not None:
            state = "trouble" if now - course.bad <= TROUBLE_SECONDS else "unknown"
        age = None if course.good is None else round(now - course.good, 1)
        detail = course.detail if is_bad else ""
        if remark:
            state, detail = "trouble", f"{detail}; {remark}" if detail else remark
        down = None if course.failing is None else round(now - course.failing, 1)
        return {**described(name, state, age, detail), "down": down}
