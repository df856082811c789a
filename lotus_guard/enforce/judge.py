"""Has every rule judge the recipient of a token, each rule on its own.

A rule has its own look-ups, its own deadline and its own counters, and ends in a value: what it
found, or nothing where something of ours failed and it had to let the call through. So neither the
outage nor the slowness of one skips or delays the verdict of another.
"""

from collections.abc import Coroutine, Sequence
from collections.abc import Set as AbstractSet
from typing import Any

from attrs import define
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.power import PowerLevels
from lotus_guard.core.seats import Occupancy
from lotus_guard.enforce.deferreds import ignoring
from lotus_guard.enforce.everywhere import Everywhere
from lotus_guard.enforce.finding import NO_MEDIA, Finding, Findings, WantedSeat
from lotus_guard.enforce.patience import Patience
from lotus_guard.enforce.policies import AllPolicies, Known, Policies
from lotus_guard.enforce.ports import Bug, Now, Outage, Records
from lotus_guard.enforce.recipient import Recipient
from lotus_guard.enforce.seating import Question, SeatDesk
from lotus_guard.rules.rule import (
    Allow,
    AnyRule,
    Fact,
    Facts,
    P,
    Refuse,
    Rule,
    StandingRule,
    Verdict,
)

_log = Logger()


_Asked = Finding | Outage | Coroutine[Any, Any, Finding | Outage]
"""What a rule found, or why it could find nothing; or what finds that out, not yet begun."""
_Asking = _Asked | Deferred[Finding | Outage]
"""The same, begun where several are waited for."""

_AT_HAND = (Finding, Outage)
_NOTHING = Facts()


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
            rule, last = policies.rule, policies.ahead(room)
            if last is None:
                continue
            if last.restricts and Fact.ATTENDANCE in rule.needs:
                self.desk.look_ahead(room)
            if rule.needs_power(last):
                self.policies.powers.ahead(room)

    async def findings(self, recipient: Recipient) -> Findings:
        """What each rule found.

        Ends with the first refusal by a rule that is not only observed: what the others find does
        not matter then, and nobody waits for it. So it is no rule's letting through either that one
        of them could not find out: who is outside may be the reason.
        """
        found: list[Finding] = []
        keeps_seat = False
        asked = self._ask_all(recipient)
        try:
            for rule, asking in asked:
                finding = asking if isinstance(asking, _AT_HAND) else await asking
                counts = Fact.ATTENDANCE in rule.needs and not recipient.is_for_data
                if isinstance(finding, Outage):
                    keeps_seat |= counts
                    self.records.failed_open(rule.name, finding, recipient.room, recipient.person)
                    continue
                keeps_seat |= counts and not finding.is_certain
                found.append(finding)
                if isinstance(finding.verdict, Refuse) and not finding.is_observed:
                    break
        finally:
            _give_up(asked)
        return Findings(found, keeps_seat)

    def _ask_all(self, recipient: Recipient) -> list[tuple[AnyRule, _Asking]]:
        """Ask all rules that have something to say.

        What has to be waited for is begun for all of them together. Where it is one of them only,
        as for most tokens, it is awaited as it is: a Deferred of its own would cost as much again.
        """
        asked: list[tuple[AnyRule, _Asking]] = []
        if recipient.user is not None:
            # At /sfu/get it is the token that first says who asks (docs/facts.md, lk-jwt-service:
            # identities): until then nobody may have been known as whom the room can be read.
            self.everywhere.suggest(recipient.room, recipient.user)
            for rule in self.everywhere.rules:
                asked.append((rule, self._ask_everywhere(rule, recipient)))
        for policies in self.policies.judging:
            answer = self._ask(policies, recipient)
            if answer is not None:
                asked.append((policies.rule, answer))
        if sum([not isinstance(each, _AT_HAND) for _, each in asked]) < 2:
            return asked
        return [
            (rule, each if isinstance(each, _AT_HAND) else ensureDeferred(each))
            for rule, each in asked
        ]

    def _ask_everywhere(self, rule: StandingRule, recipient: Recipient) -> _Asked:
        """Ask a rule that holds in every room; by facts at hand, what it finds is there at once."""
        try:
            verdict = self.everywhere.at_once(rule, recipient)
        except Exception as failure:
            return _outage_of(rule, failure)
        if verdict is None:
            return self._of_everywhere(rule, recipient)
        return Finding(rule, None, verdict, rule.name in self.observed)

    async def _of_everywhere(self, rule: StandingRule, recipient: Recipient) -> Finding | Outage:
        """Ask a rule that holds in every room; why, where it has to let the call through."""
        try:
            verdict = await self.everywhere.judged(rule, recipient, self._patience(recipient))
        except CancelledError:
            raise
        except Exception as failure:
            return _outage_of(rule, failure)
        return Finding(rule, None, verdict, rule.name in self.observed)

    def _patience(self, recipient: Recipient) -> Patience:
        return Patience(self.clock, self.now, recipient.due)

    def _ask(self, policies: Policies[P], recipient: Recipient) -> _Asked | None:
        """Ask one rule; by a policy and facts at hand, what it finds is there at once.

        None where it has nothing to say, as its policy restricts nothing.
        """
        at_hand = policies.at_hand(recipient.room)
        if at_hand is None:
            return self._alone(policies, recipient, None)
        if not at_hand.restricts:
            return None
        try:
            found = self._at_once(policies, at_hand, recipient)
        except Exception as failure:
            return _outage_of(policies.rule, failure)
        return found or self._alone(policies, recipient, at_hand)

    def _at_once(self, policies: Policies[P], policy: P, recipient: Recipient) -> Finding | None:
        """What a rule finds by facts at hand; None where something must be waited for."""
        rule, power = policies.rule, None
        if rule.needs_power(policy):
            power = self.policies.powers.at_hand(recipient.room)
            if power is None:
                return None
        if Fact.ATTENDANCE not in rule.needs:
            return self._judged(rule, Known(policy, True), recipient, power)
        question = _question(policies, policy, recipient, power)
        judged = None if recipient.is_for_data else self.desk.at_once(recipient, question)
        return judged and self._seated(rule, policy, power, *judged)

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
                return await self._counted(policies, known.policy, recipient, power)
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
            return await powers.get(room, patience=self._patience(recipient).share(0.5))
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
            facts = _NOTHING if power is None else Facts(power=power)
            verdict = rule.judge(known.policy, recipient.who, facts)
        is_observed = rule.name in self.observed
        return Finding(rule, known.policy, verdict, is_observed, is_certain=known.is_certain)

    async def _counted(
        self, policies: Policies[P], policy: P, recipient: Recipient, power: PowerLevels | None
    ) -> Finding:
        """Ask a rule that needs to know who is there; raises Outage."""
        rule = policies.rule
        if recipient.is_for_data:
            return Finding(rule, policy, NO_MEDIA, rule.name in self.observed)
        question = _question(policies, policy, recipient, power)
        return self._seated(rule, policy, power, *await self.desk.judged(recipient, question))

    def _seated(
        self, rule: Rule[P], policy: P, power: PowerLevels | None, verdict: Verdict, at: float
    ) -> Finding:
        """What a rule found that knows who is there by the look that was begun then."""
        is_exempt = isinstance(verdict, Allow) and verdict.is_exempt
        wanted = WantedSeat(None if is_exempt else rule.seats(policy), at, power)
        return Finding(rule, policy, verdict, rule.name in self.observed, wanted)

    async def _asked(self, policies: Policies[P], recipient: Recipient) -> Known[P]:
        """Ask for a policy that is not at hand; raises Outage.

        One that is known to restrict is waited for half the time: the other half is for what the
        rule needs besides. Where that is who is there, the look is begun at once.
        """
        rule, room, patience = policies.rule, recipient.room, self._patience(recipient)
        last = policies.last(room)
        if last is not None and last.restricts:
            patience = patience.share(0.5)
            if Fact.ATTENDANCE in rule.needs:
                power = self.policies.powers.last(room)
                self.desk.foresee(recipient, _question(policies, last, recipient, power))
        return await policies.known(room, policies.get(room, patience=patience))


def _give_up(asked: Sequence[tuple[AnyRule, _Asking]]) -> None:
    """End whatever still runs, and what never began."""
    for _, asking in asked:
        if isinstance(asking, _AT_HAND):
            continue
        if isinstance(asking, Coroutine):
            asking.close()
        elif not asking.called:
            ignoring(asking, CancelledError)
            asking.cancel()


def _outage_of(rule: AnyRule, failure: Exception) -> Outage:
    """Why a rule lets the call through, by the failure that is being handled."""
    if isinstance(failure, Outage):
        return failure
    _log.failure("The {rule} rule failed", rule=rule.name)
    return Bug()


def _question(
    policies: Policies[P], policy: P, recipient: Recipient, power: PowerLevels | None
) -> Question:
    rule = policies.rule

    def judge(occupancy: Occupancy) -> Verdict:
        return rule.judge(policy, recipient.who, Facts(occupancy, power=power))

    return Question(judge, policies.since(recipient.room), rule.is_strict(policy))
