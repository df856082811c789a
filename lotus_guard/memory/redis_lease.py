"""Which of several guards runs the live loop: a key in Redis that runs out.

The leader renews it each second. It counts the lease as its own from the moment it *sent* the
renewal, for less time than Redis keeps it: so a guard that was paused, or cut off, has stopped
leading by its own clock before another can begin, and asks before every single step. The term,
which grows with each change, names a leader's time in the log.

Where Redis is away for longer than a lease nobody can know who leads. Then each guard works alone:
it narrows, which several may do at once and which needs nothing that the others know; it removes
nobody, because it does not know whom the others gave a seat.
"""

from math import inf
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from lotus_guard.enforce.ports import Now, Outage
from lotus_guard.memory.redis_keys import Keyspace
from lotus_guard.memory.redis_scripts import LEAD, STEP_DOWN

_log = Logger()

RENEW_SECONDS = 1.0
"""How often the guard that runs the live loop says that it still does."""
SECONDS = 4.0
"""How long Redis keeps the key."""
SETTLE_SECONDS = 10.0
"""For so long after Redis was away nobody is put out. A guard connects again within
`redis_connection.LONGEST_DELAY` and asks once a second whether it is back."""
MARGIN = 0.5
"""By how many seconds less the leader counts on it."""


@define(eq=False)
class Lease:
    """This guard's part in the question who leads."""

    keys: Keyspace
    now: Now
    _until: float = field(default=-1.0, init=False)
    _term: int = field(default=0, init=False)
    _failing_since: float | None = field(default=None, init=False)
    """Since when Redis does not say who leads; None while it does."""
    _failed: float = field(default=-inf, init=False)
    """When it last did not."""

    def leads(self) -> bool:
        """Whether this guard runs the live loop at this moment."""
        return self._holds() or self.is_alone()

    def may_remove(self) -> bool:
        """Whether it also knows whom the other guards gave seats.

        Each gave them by what it knew itself while Redis was away, and tells the others a moment
        after it is back (`RedisSeats.reunite`).
        """
        return self._holds() and self.now() - self._failed > SETTLE_SECONDS

    def _holds(self) -> bool:
        return self.now() < self._until

    def is_alone(self) -> bool:
        """Whether Redis has been asked and said nothing for longer than any lease lasts.

        Not having asked is another matter: a guard that was paused must ask first.
        """
        since = self._failing_since
        has_just_asked = self.now() - self._failed < 3 * RENEW_SECONDS
        return since is not None and self.now() - since > SECONDS and has_just_asked

    async def renew(self) -> bool:
        """Ask Redis for the lead, or for more of it; returns whether it has answered."""
        sent = self.now()
        wanted = (self.keys.instance, int(SECONDS * 1000))
        try:
            term: Any = await self.keys.script(LEAD, ("leader", "term"), wanted)
        except Outage:
            self._failed = self.now()
            if self._failing_since is None:
                self._failing_since = sent
            return False
        self._failing_since = None
        self._take(int(term), sent)
        return True

    def _take(self, term: int, sent: float) -> None:
        if term and term != self._term:
            _log.info("This guard now runs the live loop (term {term})", term=term)
        if not term and self._term:
            _log.info("Another guard now runs the live loop")
        self._term = term
        self._until = sent + SECONDS - MARGIN if term else -1.0

    async def step_down(self) -> None:
        """Stop leading, so that another guard need not wait for the lease to run out."""
        self._until = -1.0
        if not self._term:
            return
        self._term = 0
        try:
            await self.keys.script(STEP_DOWN, ("leader",), (self.keys.instance,))
        except Outage:
            return
