"""Decisions that wait to be written, bounded for each kind and rule."""

from collections import deque
from itertools import chain

from attrs import define, field

from lotus_guard.rules.decision import Decision, Deed

MOST_DECISIONS = 5_000
"""Decisions of one kind and rule that are kept: a flood of one leaves those of the others."""
MOST_WAITING = 20
"""Decisions of one kind and rule that may wait to be written; the oldest are dropped.

They wait for a fraction of a second, so what is not written is part of a flood of hundreds a
second, which would push itself out again soon (`MOST_DECISIONS`).
"""


@define
class WaitingDecisions:
    """What has been decided and is not written yet."""

    _waiting: dict[tuple[Deed, str], deque[Decision]] = field(init=False, factory=dict)
    """By kind and rule."""

    def __bool__(self) -> bool:
        return bool(self._waiting)

    def add(self, decision: Decision) -> None:
        """Add a decision."""
        key = (decision.ruling.deed, decision.ruling.rule)
        waiting = self._waiting.get(key)
        if waiting is None:
            waiting = self._waiting[key] = deque(maxlen=MOST_WAITING)
        waiting.append(decision)

    def in_order(self) -> list[Decision]:
        """All of them, oldest first."""
        return sorted(chain(*self._waiting.values()), key=lambda decision: decision.at)
