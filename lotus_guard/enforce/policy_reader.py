"""How the live loop finds the policies of a room: within its share of Synapse's time.

A pass asks about each room, for only so does a change take one interval at most where nobody
pushes. Where the pace allows no more look-ups, what is known is enforced all the same, and changes
are noticed later. Where Synapse is out, it is not asked about each room, so that it
delays a pass by some deadlines and not by one for each room.
"""

from collections.abc import Callable

from attrs import define, field
from twisted.internet.defer import CancelledError, ensureDeferred

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.deferreds import ignoring
from lotus_guard.enforce.outage_check import OutageCheck
from lotus_guard.enforce.policies import AllPolicies, Known, Policies
from lotus_guard.enforce.ports import Bug, Now, Outage, Records
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.enforce.room_rules import RoomRule, RoomRules
from lotus_guard.enforce.turn import Turn
from lotus_guard.rules.rule import P

LONGEST_POLL = 30.0
"""Seconds that a pass may spend on looking up policies: half of what it may last."""


@define(eq=False)
class PolicyReader:
    """Finds policies for the live loop."""

    policies: AllPolicies
    pushing: Callable[[], bool]
    """Whether Synapse tells us of changed policies by itself."""
    limiter: RateLimiter
    records: Records
    now: Now
    interval: float
    """Seconds between passes."""
    unasked: int = field(default=0, init=False)
    """How many policies this pass has taken as they were, for the pace allowed no more look-ups."""
    checks: dict[str, OutageCheck] = field(init=False)
    """Whether Synapse answers, for each rule."""
    _asked: int = field(default=0, init=False)
    """How many policies this pass has looked up."""

    def __attrs_post_init__(self) -> None:
        self.checks = {
            each.rule.name: OutageCheck(each.ask_neutrally, self.now) for each in self.policies
        }

    def begin(self) -> None:
        """A pass begins."""
        for check in self.checks.values():
            check.begin()
        self._asked = self.unasked = 0

    async def read(self, room: RoomId, turn: Turn) -> RoomRules:
        """Find what is known of all policies of a room, each on its own."""
        asked = [ensureDeferred(self._alone(each, room, turn)) for each in self.policies]
        try:
            found = [await waiting for waiting in asked]
        finally:
            for waiting in asked:
                ignoring(waiting, CancelledError)
                waiting.cancel()
        known = [each for each in found if isinstance(each, RoomRule)]
        has_bug = any(isinstance(each, Bug) for each in found)
        return RoomRules(known, is_whole=len(known) == len(found), has_bug=has_bug)

    async def _alone(self, policies: Policies[P], room: RoomId, turn: Turn) -> RoomRule | Outage:
        """Find the policy of one rule, or why nothing is known of it."""
        rule = policies.rule
        try:
            return RoomRule(rule, await self._known(policies, room, turn))
        except CancelledError:
            raise
        except Outage as failure:
            outage = failure
        self.records.not_enforced(rule.name, outage)
        return outage

    async def _known(self, policies: Policies[P], room: RoomId, turn: Turn) -> Known[P]:
        """Find a policy; raises Outage."""
        age, last = policies.age(room), policies.last(room)
        # Where nobody pushes, a pass always asks: only so does a change take one interval at most.
        asks = (
            age is None
            or age > policies.freshness.max_age()
            or policies.is_outdated(room)
            or (turn.is_poll and not self.pushing())
        )
        if asks and turn.is_poll and last is not None and self._may_wait(age):
            return Known(last, True)
        return await policies.known(room, self._look_up(policies, room, asks, turn))

    async def _look_up(self, policies: Policies[P], room: RoomId, asks: bool, turn: Turn) -> P:
        """Ask Synapse, unless it is out; raises Outage."""
        check = self.checks[policies.rule.name]
        try:
            if asks and check.outage:
                raise check.outage
            if asks and turn.is_poll:
                self._asked += 1
                turn.excuse(await self.limiter.turn())
            return await policies.get(room, 0.0 if asks else None, in_background=True)
        except Outage as failure:
            if not isinstance(failure, Bug):
                await check.is_out()
            raise

    def _may_wait(self, age: float | None) -> bool:
        """Whether a policy of that age need not be read in this pass.

        However many rooms have one, what is known is enforced in each pass; with more rooms than
        the pace allows look-ups, changes are only noticed later.
        """
        is_spent = self._asked >= self.limiter.rate * self.interval
        may_wait = is_spent and age is not None and age <= LONGEST_POLL
        self.unasked += may_wait
        return may_wait
