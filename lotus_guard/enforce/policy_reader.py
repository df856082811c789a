"""How the live loop finds the policies of a room: within its share of Synapse's time.

A pass asks about each room, for only so does a change take one interval at most where nobody
pushes. Where the pace allows no more look-ups, what is known is enforced all the same, and changes
are noticed later. Where Synapse is out, it is not asked about each room, so that it
delays a pass by some deadlines and not by one for each room.
"""

from itertools import chain
from typing import TypeVar

from attrs import define, field
from twisted.internet.defer import CancelledError, ensureDeferred

from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import RoomId
from lotus_guard.core.power import PowerLevels
from lotus_guard.enforce.deferreds import ignoring
from lotus_guard.enforce.events import Events
from lotus_guard.enforce.outage_check import OutageCheck
from lotus_guard.enforce.policies import AllPolicies, Policies, PolicyJournal
from lotus_guard.enforce.ports import Bug, Now, Outage, Records
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.enforce.remembered import MOST_ROOMS, Remembered
from lotus_guard.enforce.room_rules import RoomRule, RoomRules
from lotus_guard.enforce.turn import Turn
from lotus_guard.rules.rule import P

V = TypeVar("V")

LONGEST_POLL = 30.0
"""Seconds that a pass may spend on looking up policies: half of what it may last."""


@define(eq=False)
class PolicyReader:
    """Finds policies for the live loop."""

    policies: AllPolicies
    limiter: RateLimiter
    records: Records
    journal: PolicyJournal
    now: Now
    interval: float
    """Seconds between passes."""
    unasked: int = field(default=0, init=False)
    """How many policies this pass has taken as they were, for the pace allowed no more look-ups."""
    checks: dict[str, OutageCheck] = field(init=False)
    """Whether Synapse answers, for each type of event."""
    power_check: OutageCheck = field(init=False)
    """The same for the power levels."""
    _doubts: LruDict[RoomId, tuple[str, ...]] = field(
        init=False, factory=lambda: LruDict(MOST_ROOMS)
    )
    """What was complained of last in each room."""
    _asked: int = field(default=0, init=False)
    """How many policies this pass has looked up."""

    def __attrs_post_init__(self) -> None:
        self.checks = {
            each.asked.event: OutageCheck(each.ask_neutrally, self.now)
            for each in self.policies.events
        }
        self.power_check = OutageCheck(self.policies.powers.ask_neutrally, self.now)

    def begin(self) -> None:
        """A pass begins."""
        for check in (*self.checks.values(), self.power_check):
            check.begin()
        self._asked = self.unasked = 0

    async def read(self, room: RoomId, turn: Turn) -> RoomRules:
        """Find what is known of all policies of a room, each event on its own."""
        asked = [ensureDeferred(self._of_event(each, room, turn)) for each in self.policies.events]
        try:
            found = [each for waiting in asked for each in await waiting]
        finally:
            for waiting in asked:
                ignoring(waiting, CancelledError)
                waiting.cancel()
        known = {each.rule.name: each for each in found if isinstance(each, RoomRule)}
        in_order = [known[each.rule.name] for each in self.policies if each.rule.name in known]
        has_bug = any(isinstance(each, Bug) for each in found)
        return RoomRules(in_order, is_whole=len(known) == len(found), has_bug=has_bug)

    async def with_power(self, known: RoomRules, room: RoomId, turn: Turn) -> RoomRules:
        """Add the room's power levels to rules that need them, and drop those where they are out.

        What was known before an outage serves; nothing is taken from anybody by levels that are
        not known at all.
        """
        powers = self.policies.powers
        try:
            power = await self._value(powers, self.power_check, room, turn)
        except Outage as outage:
            last = powers.last(room)
            if last is None:
                for each in known.needing_power:
                    self.records.not_enforced(each.rule.name, outage)
                return known.without_power()
            return known.with_power(last, is_certain=False)
        self._doubt(room, known, power)
        return known.with_power(power)

    def _doubt(self, room: RoomId, known: RoomRules, power: PowerLevels) -> None:
        """Complain once of policies that make no sense with a room's power levels."""
        found = [each.rule.doubts(each.known.policy, power) for each in known.needing_power]
        doubts = tuple(dict.fromkeys(chain(*found)))  # rules that share an event say the same
        if doubts != (self._doubts.get(room) or ()):
            self._doubts.put(room, doubts)
            for doubt in doubts:
                self.journal.complained(room, doubt)

    async def _of_event(self, events: Events, room: RoomId, turn: Turn) -> list[RoomRule | Outage]:
        """Find the policies of the rules that read an event, or why nothing is known of them."""
        outage: Outage | None = None
        try:
            await self._value(events, self.checks[events.asked.event], room, turn)
        except Outage as failure:
            outage = failure
        readers = [each for each in self.policies if each.events is events]
        return [await self._of_rule(each, room, outage) for each in readers]

    async def _of_rule(
        self, policies: Policies[P], room: RoomId, outage: Outage | None
    ) -> RoomRule | Outage:
        async def read() -> P:
            if outage:
                raise outage
            return policies.taken(room)

        try:
            return RoomRule(policies.rule, await policies.known(room, read()))
        except Outage as failure:
            self.records.not_enforced(policies.rule.name, failure)
            return failure

    async def _value(
        self, remembered: Remembered[V], check: OutageCheck, room: RoomId, turn: Turn
    ) -> V:
        """Find what Synapse has, asking it where that is due; raises Outage.

        Where nobody pushes, a pass always asks: only so does a change take one interval at most.
        """
        age, last = remembered.age(room), remembered.last(room)
        is_told = remembered.freshness.is_told()
        asks = not remembered.is_fresh(room) or (turn.is_poll and not is_told)
        if asks and turn.is_poll and last is not None and self._may_wait(age):
            return last
        try:
            if asks and check.outage:
                raise check.outage
            if asks and turn.is_poll:
                self._asked += 1
                turn.excuse(await self.limiter.turn())
            return await remembered.get(room, 0.0 if asks else None, in_background=True)
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
