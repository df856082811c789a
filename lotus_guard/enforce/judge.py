"""Has every rule judge the recipient of a token, each rule on its own.

A rule has its own look-ups, its own deadline and its own counters, and ends in a value: what it
found, or nothing where something of ours failed and it had to let the call through. So neither the
outage nor the slowness of one skips or delays the verdict of another.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import CancelledError, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.deferreds import ignoring
from lotus_guard.enforce.policies import AllPolicies, Known, Policies
from lotus_guard.enforce.ports import Bug, Now, Outage, Records
from lotus_guard.enforce.recipient import Recipient
from lotus_guard.enforce.seating import Judging, SeatDesk, in_time
from lotus_guard.rules.rule import Allow, Fact, Facts, P, Policy, Refuse, Rule, Verdict

_log = Logger()


@frozen
class Finding:
    """What a rule found about a recipient."""

    rule: Rule[Any]
    policy: Policy
    verdict: Verdict
    is_observed: bool = False
    """Whether the rule only tells what it would do."""
    seats: int | None = None
    """How many seats the room has, where the rule has one taken for them."""
    at: float = 0.0
    """When the look behind the verdict was begun, where there was one."""
    is_certain: bool = True
    """Whether the rule said no less for want of a policy that is certain."""


@frozen
class Findings:
    """What the rules found about a recipient."""

    each: Sequence[Finding]
    """In the order of the rules, without those that let the call through."""
    keeps_seat: bool = False
    """Whether seats may be counted that could not be given out now: whoever comes in all the same
    must have one."""


@define(eq=False)
class Judge:
    """Has the rules judge."""

    policies: AllPolicies
    desk: SeatDesk
    records: Records
    clock: IReactorTime
    now: Now
    observed: AbstractSet[str]
    """The rules that decide and record, and change nothing."""

    def ahead(self, room: RoomId) -> None:
        """Begin the look-ups for a request while upstream works on it."""
        for policies in self.policies:
            policies.ahead(room)
        if self.policies.seats(room) is not None:
            self.desk.look_ahead(room)

    async def findings(self, recipient: Recipient) -> Findings:
        """What each rule found.

        Ends with the first refusal by a rule that is not only observed: what the others find does
        not matter then, and nobody waits for it.
        """
        found: list[Finding] = []
        keeps_seat = False
        asked = [ensureDeferred(self._alone(policies, recipient)) for policies in self.policies]
        try:
            for policies, waiting in zip(self.policies, asked, strict=True):
                finding = await waiting
                counts = Fact.ATTENDANCE in policies.rule.needs
                keeps_seat |= counts and (finding is None or not finding.is_certain)
                if finding is None:
                    continue
                found.append(finding)
                if isinstance(finding.verdict, Refuse) and not finding.is_observed:
                    break
        finally:
            for waiting in [each for each in asked if not each.called]:
                ignoring(waiting, CancelledError)
                waiting.cancel()
        return Findings(found, keeps_seat)

    async def _alone(self, policies: Policies[P], recipient: Recipient) -> Finding | None:
        """Ask one rule; None where it had to let the call through."""
        rule = policies.rule.name
        try:
            return await self._finding(policies, recipient)
        except CancelledError:
            raise
        except Outage as failure:
            outage = failure
        except Exception:
            _log.failure("The {rule} rule failed", rule=rule)
            outage = Bug()
        self.records.failed_open(rule, outage, recipient.room, recipient.person)
        return None

    async def _finding(self, policies: Policies[P], recipient: Recipient) -> Finding:
        """Ask one rule; raises Outage."""
        rule = policies.rule
        if Fact.ATTENDANCE in rule.needs:
            return await self._seated(policies, recipient)
        policy = (await self._known(policies, recipient)).policy
        verdict = rule.judge(policy, recipient.who, Facts())
        return Finding(rule, policy, verdict, rule.name in self.observed)

    async def _seated(self, policies: Policies[P], recipient: Recipient) -> Finding:
        """Ask a rule that needs to know who is there; raises Outage."""
        rule = policies.rule
        is_observed = rule.name in self.observed
        known = await self._known(policies, recipient)
        if known.policy.restricts:
            judging = _judging(rule, known.policy, recipient)
            verdict, at = await self.desk.judged(recipient, judging)
            return Finding(rule, known.policy, verdict, is_observed, rule.seats(known.policy), at)
        # Where it is not certain there may be a limit by now, which must not put them out.
        return Finding(rule, known.policy, Allow(), is_observed, is_certain=known.is_certain)

    async def _known(self, policies: Policies[P], recipient: Recipient) -> Known[P]:
        """Find a policy; raises Outage.

        One that is known to restrict is waited for half the time: the other half is for what the
        rule needs besides. Where that is who is there, the look is begun at once.
        """
        rule, room = policies.rule, recipient.room
        policy = policies.at_hand(room)
        if policy is not None:
            return Known(policy, True)
        last = policies.last(room)
        if last is None or not last.restricts:
            share = 1.0
        else:
            share = 0.5
            if Fact.ATTENDANCE in rule.needs:
                self.desk.foresee(recipient, _judging(rule, last, recipient))
        asked = in_time(recipient, self.clock, self.now, policies.get(room), share)
        return await policies.known(room, asked)


def _judging(rule: Rule[P], policy: P, recipient: Recipient) -> Judging:
    return lambda occupancy: rule.judge(policy, recipient.who, Facts(occupancy))
