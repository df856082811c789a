"""Has every rule judge the recipient of a token, each rule on its own.

A rule has its own look-ups, its own deadline and its own counters, and ends in a value: what it
found, or nothing where something of ours failed and it had to let the call through. So neither the
outage nor the slowness of one skips or delays the verdict of another.
"""

from collections.abc import Coroutine, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from attrs import define, frozen
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.deferreds import ignoring
from lotus_guard.enforce.policies import AllPolicies, Known, Policies
from lotus_guard.enforce.ports import Now, Outage, Reason, Records
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
    seats: int | None = None
    """How many seats the room has, where the rule has one taken for them."""
    at: float = 0.0
    """When the look behind the verdict was begun, where there was one."""


Inquiry = Finding | Deferred[Finding | None] | Coroutine[Any, Any, Finding | None]
"""A rule that was asked: its finding, at once or later; None where it opens."""


@define(eq=False)
class Judge:
    """Has the rules judge."""

    policies: AllPolicies
    desk: SeatDesk
    records: Records
    clock: IReactorTime
    now: Now

    def ahead(self, room: RoomId) -> None:
        """Begin the look-ups for a request while upstream works on it."""
        for policies in self.policies:
            policies.ahead(room)
        if self.policies.seats(room) is not None:
            self.desk.look_ahead(room)

    async def findings(self, recipient: Recipient, observed: AbstractSet[str]) -> Sequence[Finding]:
        """What each rule found, in the order of the rules, without those that let the call through.

        Ends with the first refusal by a rule that is not only observed: what the others find does
        not matter then, and nobody waits for it.
        """
        found: list[Finding] = []
        inquiries = self._inquiries(recipient)
        try:
            for inquiry in inquiries:
                finding = inquiry if isinstance(inquiry, Finding) else await inquiry
                if finding is None:
                    continue
                found.append(finding)
                if isinstance(finding.verdict, Refuse) and finding.rule.name not in observed:
                    break
        finally:
            for inquiry in inquiries:
                _give_up(inquiry)
        return found

    def _inquiries(self, recipient: Recipient) -> Sequence[Inquiry]:
        """Begin to ask every rule.

        A rule whose policy is at hand and that needs nothing else answers at once, for a Deferred
        costs as much as a rule. The first of the others needs no Deferred of its own either.
        """
        inquiries: list[Inquiry] = []
        is_first = True
        for policies in self.policies:
            policy = policies.at_hand(recipient.room)
            if policy is not None and not _needs_look(policies.rule, policy):
                inquiries.append(_found(policies.rule, policy, recipient))
                continue
            asked = self._alone(policies, policy, recipient)
            inquiries.append(asked if is_first else ensureDeferred(asked))
            is_first = False
        return inquiries

    async def _alone(
        self, policies: Policies[P], policy: P | None, recipient: Recipient
    ) -> Finding | None:
        """Ask one rule; None where it had to let the call through."""
        rule = policies.rule.name
        try:
            if Fact.ATTENDANCE in policies.rule.needs:
                return await self._seated(policies, policy, recipient)
            known = await self._known(policies, policy, recipient)
            return _found(policies.rule, known.policy, recipient)
        except CancelledError:
            raise
        except Outage as failure:
            outage = failure
        except Exception:
            _log.failure("The {rule} rule failed", rule=rule)
            outage = Outage(Reason.BUG, "see the traceback in the log")
        self.records.failed_open(rule, outage, recipient.room, recipient.person)
        return None

    async def _seated(
        self, policies: Policies[P], policy: P | None, recipient: Recipient
    ) -> Finding:
        """Ask a rule that needs to know who is there; raises Outage."""
        rule, last = policies.rule, policies.last(recipient.room)
        if policy is None and last is not None and last.restricts:
            self.desk.foresee(recipient, _judging(rule, last, recipient))
        try:
            known = await self._known(policies, policy, recipient)
            if known.policy.restricts:
                judging = _judging(rule, known.policy, recipient)
                verdict, at = await self.desk.judged(recipient, judging)
                return Finding(rule, known.policy, verdict, rule.seats(known.policy), at)
            if not known.is_certain:  # there may be a limit by now: it must not put them out
                await self.desk.keep(recipient)
            return Finding(rule, known.policy, Allow())
        except Outage:
            await self.desk.keep(recipient)
            raise

    async def _known(
        self, policies: Policies[P], policy: P | None, recipient: Recipient
    ) -> Known[P]:
        """Find the policy where it is not at hand; raises Outage.

        One that is known to restrict is waited for half the time: the other half is for what it
        asks for.
        """
        if policy is not None:
            return Known(policy, True)
        room = recipient.room
        share = 0.5 if policies.restricts(room) else 1.0
        asked = in_time(recipient, self.clock, self.now, policies.get(room), share)
        return await policies.known(room, asked)


def _give_up(inquiry: Inquiry) -> None:
    """End an inquiry that nobody waits for any more; one that has ended takes no notice."""
    if isinstance(inquiry, Deferred):
        ignoring(inquiry, CancelledError)
        inquiry.cancel()
    elif isinstance(inquiry, Coroutine):
        inquiry.close()


def _needs_look(rule: Rule[P], policy: P) -> bool:
    return Fact.ATTENDANCE in rule.needs and policy.restricts


def _found(rule: Rule[P], policy: P, recipient: Recipient) -> Finding:
    return Finding(rule, policy, rule.judge(policy, recipient.who, Facts()))


def _judging(rule: Rule[P], policy: P, recipient: Recipient) -> Judging:
    return lambda occupancy: rule.judge(policy, recipient.who, Facts(occupancy))
