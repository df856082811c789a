"""The token that goes out: upstream's own, or one that says less."""

from collections.abc import Callable, Iterable, Sequence
from collections.abc import Set as AbstractSet

from attrs import define, field, frozen

from lotus_guard.core.model import Grant, Source
from lotus_guard.core.narrow import narrow
from lotus_guard.core.token import Token, lifetime, restrain, sign
from lotus_guard.enforce.finding import NO_MEDIA, Finding
from lotus_guard.enforce.ports import Records
from lotus_guard.enforce.recipient import Recipient
from lotus_guard.rules.plan import forbids_any
from lotus_guard.rules.rule import Allow, Verdict
from lotus_guard.rules.rulings import Cut, token_changed


@frozen
class Pass:
    """The token goes out; `token` replaces it where rights were taken away."""

    token: str | None = None
    decision: str = ""
    """The id of the decision to change it."""
    sent: Token | None = field(default=None, eq=False, repr=False)
    """What replaces it, as it was signed."""
    granted: Grant | None = field(default=None, eq=False)
    """What of upstream's grant may be given back later; None for all of it."""


@define(eq=False)
class Issuing:
    """Narrows and shortens tokens by what the rules found."""

    token_life: int
    """Seconds for which a token of a room with a policy is valid at most; 0: as upstream says."""
    records: Records
    epoch: Callable[[], float]

    def issue(self, recipient: Recipient, token: Token, findings: Sequence[Finding]) -> Pass:
        """Restrain a token by the rules that are enforced, and record what the others would do."""
        binding = [each for each in findings if each.wanted or forbids_any(each.verdict)]
        enforced = [each for each in binding if not each.is_observed]
        forbidden = _forbidden(enforced)
        restrained = self._restrained(token, forbidden) if enforced else token
        if len(enforced) != len(binding):
            every = _forbidden(binding)
            if self._restrained(token, every).claims != restrained.claims:
                self._recorded(recipient, token, binding, every, observed=True)
        if restrained is token:
            return Pass()
        decision = self._recorded(recipient, token, enforced, forbidden)
        for_good = _forbidden(each for each in enforced if _is_for_good(each))
        granted = narrow(token.grant, for_good)
        return Pass(sign(restrained), decision, restrained, granted)

    def _restrained(self, token: Token, forbidden: AbstractSet[Source]) -> Token:
        """Restrain a token by rules that forbid this; the same token where nothing is to take."""
        return restrain(token, forbidden, self.token_life, self.epoch())

    def _recorded(
        self,
        recipient: Recipient,
        token: Token,
        binding: Sequence[Finding],
        forbidden: frozenset[Source],
        observed: bool = False,
    ) -> str:
        """Put on record what these rules take, by the first of them that takes something.

        `forbidden` is what they forbid together. Where some are only observed, it is by the first
        of those.
        """
        behind = [each for each in binding if each.is_observed == observed]
        takers = (each for each in behind if _takes(each.verdict, token.grant))
        rule = next(takers, behind[0]).rule.name
        exempt = tuple(each.rule.name for each in binding if _is_exempt(each.verdict))
        cut = Cut(rule, forbidden, self.token_life, exempt)
        seconds = lifetime(token, self.epoch())
        room, person = recipient.room, recipient.person
        ruling = token_changed(room, person, token.grant, cut, seconds, recipient.door)
        return self.records.decided(ruling, observed=observed)


def _takes(verdict: Verdict, grant: Grant) -> bool:
    return forbids_any(verdict) and narrow(grant, verdict.sources) is not grant


def _is_exempt(verdict: Verdict) -> bool:
    return isinstance(verdict, Allow) and verdict.is_exempt


def _is_for_good(finding: Finding) -> bool:
    """Whether what a rule takes rests on facts that the live loop does not have.

    There it would seem to forbid nothing any more.
    """
    return bool(finding.rule.needs) and finding.verdict is not NO_MEDIA


def _forbidden(findings: Iterable[Finding]) -> frozenset[Source]:
    """What rules forbid together."""
    forbidden: frozenset[Source] = frozenset()
    for each in findings:
        if forbids_any(each.verdict):
            forbidden |= each.verdict.sources
    return forbidden
