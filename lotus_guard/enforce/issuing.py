"""The token that goes out: upstream's own, or one that says less."""

from collections.abc import Callable, Iterable, Sequence

from attrs import define, frozen

from lotus_guard.core.model import Participant
from lotus_guard.core.token import Token, lifetime, restrain, sign
from lotus_guard.enforce.judge import Finding
from lotus_guard.enforce.ports import Records
from lotus_guard.enforce.recipient import Recipient
from lotus_guard.rules.plan import Bans, bans_by, taker, united
from lotus_guard.rules.rulings import Cut, token_changed


@frozen
class Pass:
    """The token goes out; `token` replaces it where rights were taken away."""

    token: str | None = None
    decision: str = ""
    """The id of the decision to change it."""


@define(eq=False)
class Issuing:
    """Narrows and shortens tokens by what the rules found."""

    token_life: int
    """Seconds for which a token of a room with a policy is valid at most; 0: as upstream says."""
    records: Records
    epoch: Callable[[], float]

    def issue(self, recipient: Recipient, token: Token, findings: Sequence[Finding]) -> Pass:
        """Restrain a token by the rules that are enforced, and record what the others would do."""
        binding = [each for each in findings if each.seats is not None or _bans([each])]
        enforced = [each for each in binding if not each.is_observed]
        if len(enforced) != len(binding):
            self._restrained(recipient, token, binding, observed=True)
        restrained, decision = self._restrained(recipient, token, enforced)
        return Pass(sign(restrained), decision) if restrained else Pass()

    def _restrained(
        self,
        recipient: Recipient,
        token: Token,
        binding: Sequence[Finding],
        observed: bool = False,
    ) -> tuple[Token | None, str]:
        """Restrain a token and put that on record; None where there is nothing to take."""
        if not binding:
            return None, ""
        bans = _bans(binding)
        forbidden = united(bans)
        restrained = restrain(token, forbidden, self.token_life, self.epoch())
        if restrained is token:
            return None, ""
        holder = Participant(recipient.identity, "", token.grant)
        cut = Cut(taker(holder, bans) or binding[0].rule.name, forbidden, self.token_life)
        ruling = token_changed(
            recipient.room, recipient.person, token.grant, cut, lifetime(token, self.epoch())
        )
        return restrained, self.records.decided(ruling, observed=observed)


def _bans(findings: Iterable[Finding]) -> Bans:
    return bans_by((each.rule.name, each.verdict) for each in findings)
