"""The token that goes out: upstream's own, or one that says less."""

from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache

from attrs import define, field, frozen

from lotus_guard.core.model import Grant, Identity, Participant, Source
from lotus_guard.core.narrow import narrow
from lotus_guard.core.token import Token, lifetime, restrain, sign
from lotus_guard.enforce.finding import NO_MEDIA, Finding
from lotus_guard.enforce.ports import Records
from lotus_guard.enforce.recipient import Recipient
from lotus_guard.rules.plan import Bans, bans_by, forbids_any, taker, united
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
        bans = _bans(enforced)
        restrained = self._restrained(token, bans) if enforced else token
        if len(enforced) != len(binding):
            every = _bans(binding)
            if self._restrained(token, every).claims != restrained.claims:
                self._recorded(recipient, token, binding, every, observed=True)
        if restrained is token:
            return Pass()
        decision = self._recorded(recipient, token, enforced, bans)
        for_good = _bans(filter(_is_for_good, enforced))
        granted = narrow(token.grant, _united(for_good)) if for_good else token.grant
        return Pass(sign(restrained), decision, restrained, granted)

    def _restrained(self, token: Token, bans: Bans) -> Token:
        """Restrain a token by rules that forbid this; the same token where nothing is to take."""
        return restrain(token, _united(bans), self.token_life, self.epoch())

    def _recorded(
        self,
        recipient: Recipient,
        token: Token,
        binding: Sequence[Finding],
        bans: Bans,
        observed: bool = False,
    ) -> str:
        """Put on record what these rules take, by the first of them that takes something.

        `bans` is what they forbid. Where some are only observed, it is by the first of those.
        """
        behind = [each for each in binding if each.is_observed == observed]
        theirs = _bans(behind) if observed else bans
        rule = _taker(token.grant, theirs) or behind[0].rule.name
        exempt = tuple(each.rule.name for each in binding if _is_exempt(each.verdict))
        cut = Cut(rule, _united(bans), self.token_life, exempt)
        seconds = lifetime(token, self.epoch())
        room, person = recipient.room, recipient.person
        ruling = token_changed(room, person, token.grant, cut, seconds, recipient.door)
        return self.records.decided(ruling, observed=observed)


# All who ask for a room's tokens have the same taken from the same grant.


@lru_cache(maxsize=256)
def _united(bans: Bans) -> frozenset[Source]:
    return united(bans)


@lru_cache(maxsize=256)
def _taker(grant: Grant, bans: Bans) -> str | None:
    return taker(Participant(Identity(""), "", grant), bans)


def _is_exempt(verdict: Verdict) -> bool:
    return isinstance(verdict, Allow) and verdict.is_exempt


def _is_for_good(finding: Finding) -> bool:
    """Whether what a rule takes rests on facts that the live loop does not have.

    There it would seem to forbid nothing any more.
    """
    return bool(finding.rule.needs) and finding.verdict is not NO_MEDIA


def _bans(findings: Iterable[Finding]) -> Bans:
    return bans_by((each.rule.name, each.verdict) for each in findings)
