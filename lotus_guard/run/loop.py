"""The live loop's passes: what belongs to each, and how none of them can end the loop."""

from math import inf
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.logger import Logger

from lotus_guard.enforce.change_watch import ChangeWatch
from lotus_guard.enforce.condition import described
from lotus_guard.enforce.deferreds import with_timeout
from lotus_guard.enforce.live import Live
from lotus_guard.enforce.member_watch import MemberWatch
from lotus_guard.enforce.ports import Now, Outage
from lotus_guard.enforce.room_resolver import RoomResolver
from lotus_guard.neighbours.bulkhead import Backend
from lotus_guard.run.clocks import Clocks

_log = Logger()

LATE_PASSES, LATE_SECONDS = 5, 10.0
"""A loop without a good pass for so many intervals and seconds is in trouble."""
LOOKS = 4
"""So many times in an interval it is looked whether a pass is due. A LoopingCall whose work takes
longer than its interval leaves out what fell due meanwhile: with one look in an interval a pass of
2.1 s would have the next begin 4 s after it did."""
PASS_SECONDS = 60.0
"""After so many seconds a pass is given up: nothing in it takes that long unless it is stuck."""


@frozen
class Loop:
    """What a pass goes through."""

    live: Live
    members: MemberWatch | None
    """None where calls are not for members only."""
    resolver: RoomResolver
    changes: ChangeWatch
    backends: tuple[Backend, ...]

    async def run_pass(self) -> None:
        """Probe the neighbours that are out, work on all rooms, look for unknown ones."""
        for backend in self.backends:
            backend.probe_if_due()
        there = await self.live.run_pass()
        if self.members is not None:
            self.members.begin_round(self.live.candidates.occupied(self.live.counts))
        self.changes.watch(self.live.overdue)
        self.resolver.begin(there)


def describe_loop(live: Live, now: Now) -> dict[str, Any]:
    """Describe the live loop as `lotus_guard.observe.health` describes what it depends on."""
    if live.last_good is None:
        return described("loop", "unknown", None, "no complete pass yet")
    age = round(now() - live.last_good, 1)
    late = age > LATE_PASSES * live.interval + LATE_SECONDS
    return described(
        "loop", "trouble" if late else "ok", age, "passes keep failing" if late else ""
    )


@define(eq=False)
class LoopTick:
    """What the LoopingCall calls: a LoopingCall stops for good at its first error, so none here."""

    loop: Loop
    clocks: Clocks
    running: Deferred[Any] | None = None
    turned: float = 0.0
    """When a pass was last begun or over."""
    _begun: float = field(init=False, default=-inf)
    _is_stopped: bool = field(init=False, default=False)

    def __call__(self) -> Deferred[Any]:
        """Make one pass; the Deferred fires when it is over and never fails."""
        self._begun = self.turned = self.clocks.now()
        self.running = with_timeout(PASS_SECONDS, self.clocks.reactor, self.loop.run_pass())
        return self.running.addErrback(self._note).addBoth(self._over)

    def if_due(self) -> Deferred[Any]:
        """Make one pass, where an interval has passed since the last one was begun."""
        interval = self.loop.live.interval
        is_due = self.clocks.now() - self._begun > interval - interval / LOOKS / 2
        return self() if is_due else succeed(None)

    def stop(self) -> None:
        """End a pass under way, which is no failure of it."""
        self._is_stopped = True
        if self.running is not None:
            self.running.cancel()

    def is_turning(self) -> bool:
        """Whether passes begin and end, whatever they see.

        This, and not the age of the last good pass, is what the watchdog rests on: with LiveKit or
        Synapse away no pass is good, and a guard that hands tokens through must not be killed for
        it. A pass ends within `PASS_SECONDS`.
        """
        return self.clocks.now() - self.turned <= PASS_SECONDS + LATE_SECONDS

    def _over(self, _result: object) -> None:
        self.turned = self.clocks.now()

    def _note(self, failure: Any) -> None:
        if failure.check(Outage):
            self.loop.live.note(failure.value)
        elif not (self._is_stopped and failure.check(CancelledError)):
            _log.failure("A pass of the live loop failed", failure)
