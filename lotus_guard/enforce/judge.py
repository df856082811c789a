"""Has every rule judge the recipient of a token, each rule on its own.

A rule has its own look-ups, its own deadline and its own counters, and ends in a value: what it
found, or nothing where something of ours failed and it had to let the call through. So neither the
outage nor the slowness of one skips or delays the verdict of another.
"""

from collections.abc import Sequence
from collections.abc import Set as AbstractSet

from attrs import define, frozen
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lotus_guard.core.model import RoomId, Source, UserId
from lotus_guard.core.power import PowerLevels
from lotus_guard.core.seats import Occupancy
from lotus_guard.enforce.deferreds import ignoring
from lotus_guard.enforce.everywhere import Everywhere
from lotus_guard.enforce.policies import AllPolicies, Known, Policies
from lotus_guard.enforce.ports import Bug, Now, Outage, Records
from lotus_guard.enforce.recipient import Recipient
from lotus_guard.enforce.seating import Question, SeatDesk, in_time
from lotus_guard.rules.rule import (
    Allow,
    AnyRule,
    Fact,
    Facts,
    Forbid,
    P,
    Policy,
    Refuse,
    Rule,
    StandingRule,
    Verdict,
)

_log = Logger()


NO_MEDIA = Forbid(frozenset(Source))
"""What a rule that counts seats says of slots in which nobody has one."""


@frozen
class WantedSeat:
    """A seat that a rule has taken for somebody."""

    seats: int | None
    """How many seats the room has for them; None for any number."""
    at: float
    """When the look behind the verdict was begun."""
    power: PowerLevels | None = None
    """The room's power levels, where the rule was told."""


@frozen
class Finding:
    """What a rule found about a recipient."""

    rule: AnyRule
    policy: Policy | None
    """None for a rule that holds in every room."""
    verdict: Verdict
    is_observed: bool = False
    """Whether the rule only tells what it would do."""
    wanted: WantedSeat | None = None
    """The seat that the rule has taken for them, if any."""
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
    everywhere: Everywhere
    desk: SeatDesk
    records: Records
    clock: IReactorTime
    now: Now
    observed: AbstractSet[str]
    """The rules that decide and record, and change nothing."""

    @property
    def names(self) -> Sequence[str]:
        """The names of all rules, in the order in which their verdicts count."""
        return [
            *(rule.name for rule in self.everywhere.rules),
            *(policies.rule.name for policies in self.policies.judging),
        ]

    def ahead(self, room: RoomId, user: UserId | None = None) -> None:
        """Begin the look-ups for a request while upstream works on it.

        `user` is who asks by their own word.
        """
        if user is not None:
            self.everywhere.ahead(room, user)
        for policies in self.policies.judging:
            policies.ahead(room)
        if self.policies.counts(room):
            self.desk.look_ahead(room)
        if self.policies.needs_power(room):
            self.policies.powers.ahead(room)

    async def findings(self, recipient: Recipient) -> Findings:
        """What each rule found.

        Ends with the first refusal by a rule that is not only observed: what the others find does
        not matter then, and nobody waits for it. So it is no rule's letting through either that one
        of them could not find out: who is outside may be the reason.
        """
        found: list[Finding] = []
        keeps_seat = False
        if recipient.user is not None:
            # At /sfu/get it is the token that first says who asks (docs/facts.md, lk-jwt-service:
            # identities): until then nobody may have been known as whom the room can be read.
            self.everywhere.suggest(recipient.room, recipient.user)
        everywhere = self.everywhere.rules if recipient.user else ()
        judging = self.policies.judging
        rules: list[AnyRule] = [*everywhere, *(policies.rule for policies in judging)]
        asked = [
            *(ensureDeferred(self._of_everywhere(rule, recipient)) for rule in everywhere),
            *(self._begin(policies, recipient) for policies in judging),
        ]
        try:
            for rule, asking in zip(rules, asked, strict=True):
                finding = asking
                if isinstance(asking, Deferred):
                    finding = await asking
                    counts = Fact.ATTENDANCE in rule.needs and not recipient.is_for_data
                    keeps_seat |= counts and not _is_certain(finding)
                if isinstance(finding, Outage):
                    self.records.failed_open(rule.name, finding, recipient.room, recipient.person)
                if not isinstance(finding, Finding):
                    continue
                found.append(finding)
                if isinstance(finding.verdict, Refuse) and not finding.is_observed:
                    break
        finally:
            for asking in asked:
                if isinstance(asking, Deferred) and not asking.called:
                    ignoring(asking, CancelledError)
                    asking.cancel()
        return Findings(found, keeps_seat)

    async def _of_everywhere(self, rule: StandingRule, recipient: Recipient) -> Finding | Outage:
        """Ask a rule that holds in every room; why, where it has to let the call through."""
        try:
            work = self.everywhere.judged(rule, recipient)
            verdict = await in_time(recipient, self.clock, self.now, work)
        except CancelledError:
            raise
        except Exception as failure:
            return _outage_of(rule, failure)
        return Finding(rule, None, verdict, rule.name in self.observed)

    def _begin(
        self, policies: Policies[P], recipient: Recipient
    ) -> Finding | Deferred[Finding | Outage] | Outage | None:
        """Ask one rule; by a policy that is at hand, what it finds is there at once.

        None where it has nothing to say, as its policy restricts nothing.
        """
        rule, at_hand = policies.rule, policies.at_hand(recipient.room)
        if at_hand is not None and not at_hand.restricts:
            return None
        asks = at_hand is None or Fact.ATTENDANCE in rule.needs or rule.needs_power(at_hand)
        if at_hand is None or asks:
            return ensureDeferred(self._alone(policies, recipient, at_hand))
        try:
            return self._judged(rule, Known(at_hand, True), recipient, None)
        except Exception as failure:
            return _outage_of(policies.rule, failure)

    async def _alone(
        self, policies: Policies[P], recipient: Recipient, at_hand: P | None
    ) -> Finding | Outage:
        """Ask one rule; why, where it has to let the call through."""
        rule = policies.rule
        try:
            if at_hand is None:
                known = await self._asked(policies, recipient)
            else:
                known = Known(at_hand, True)
            power = await self._power(rule, known.policy, recipient)
            if known.policy.restricts and Fact.ATTENDANCE in rule.needs:
                return await self._seated(policies, known.policy, recipient, power)
            return self._judged(rule, known, recipient, power)
        except CancelledError:
            raise
        except Exception as failure:
            return _outage_of(rule, failure)

    async def _power(self, rule: Rule[P], policy: P, recipient: Recipient) -> PowerLevels | None:
        """The room's power levels, where a policy asks for them; None where they are not known.

        Then nobody is exempt: only a client whose room's levels cannot be read would gain by that.
        They are waited for half the time that is left, as a look may be needed besides.
        """
        if not rule.needs_power(policy):
            return None
        powers, room = self.policies.powers, recipient.room
        try:
            return await in_time(recipient, self.clock, self.now, powers.get(room), 0.5)
        except Outage:
            return powers.last(room)

    def _judged(
        self, rule: Rule[P], known: Known[P], recipient: Recipient, power: PowerLevels | None
    ) -> Finding:
        """Ask a rule that need not know who is there, or that counts nobody by its policy."""
        if Fact.ATTENDANCE in rule.needs:
            # Where it is not certain there may be a limit by now, which must not put them out.
            verdict: Verdict = Allow()
        else:
            verdict = rule.judge(known.policy, recipient.who, Facts(power=power))
        is_observed = rule.name in self.observed
        return Finding(rule, known.policy, verdict, is_observed, is_certain=known.is_certain)

    async def _seated(
        self, policies: Policies[P], policy: P, recipient: Recipient, power: PowerLevels | None
    ) -> Finding:
        """Ask a rule that needs to know who is there; raises Outage."""
        rule = policies.rule
        is_observed = rule.name in self.observed
        if recipient.is_for_data:
            return Finding(rule, policy, NO_MEDIA, is_observed)
        verdict, at = await self.desk.judged(
            recipient, _question(policies, policy, recipient, power)
        )
        is_exempt = isinstance(verdict, Allow) and verdict.is_exempt
        seats = None if is_exempt else rule.seats(policy)
        return Finding(rule, policy, verdict, is_observed, WantedSeat(seats, at, power))

    async def _asked(self, policies: Policies[P], recipient: Recipient) -> Known[P]:
        """Ask for a policy that is not at hand; raises Outage.

        One that is known to restrict is waited for half the time: the other half is for what the
        rule needs besides. Where that is who is there, the look is begun at once.
        """
        rule, room = policies.rule, recipient.room
        last = policies.last(room)
        if last is None or not last.restricts:
            share = 1.0
        else:
            share = 0.5
            if Fact.ATTENDANCE in rule.needs:
                power = self.policies.powers.last(room)
                self.desk.foresee(recipient, _question(policies, last, recipient, power))
        asked = in_time(recipient, self.clock, self.now, policies.get(room), share)
        return await policies.known(room, asked)


def _outage_of(rule: AnyRule, failure: Exception) -> Outage:
    """Why a rule lets the call through, by the failure that is being handled."""
    if isinstance(failure, Outage):
        return failure
    _log.failure("The {rule} rule failed", rule=rule.name)
    return Bug()


def _is_certain(finding: Finding | Outage) -> bool:
    return isinstance(finding, Finding) and finding.is_certain


def _question(
    policies: Policies[P], policy: P, recipient: Recipient, power: PowerLevels | None
) -> Question:
    rule = policies.rule

    def judge(occupancy: Occupancy) -> Verdict:
        return rule.judge(policy, recipient.who, Facts(occupancy, power=power))

    return Question(judge, policies.since(recipient.room), rule.is_strict(policy))
