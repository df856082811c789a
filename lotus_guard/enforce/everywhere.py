"""Asks the rules that hold in every room, and fetches what they need to know."""

from collections.abc import Callable, Sequence

from attrs import field, frozen

from lotus_guard.core.model import RoomId, UserId
from lotus_guard.enforce.memberships import Memberships
from lotus_guard.enforce.patience import Patience
from lotus_guard.enforce.powers import Powers
from lotus_guard.enforce.recipient import Recipient
from lotus_guard.rules.rule import Allow, Fact, Facts, StandingRule, Verdict


@frozen
class Everywhere:
    """The rules that hold in every room."""

    rules: Sequence[StandingRule]
    """In their order; empty where they are switched off."""
    memberships: Memberships
    powers: Powers
    suggest: Callable[[RoomId, UserId], None] = lambda _room, _user: None
    """Told who says that they are in a room: the homeserver might be asked as them."""
    _needs: frozenset[Fact] = field(init=False)
    """What any of the rules needs."""

    @_needs.default
    def _any_needs(self) -> frozenset[Fact]:
        return frozenset(fact for rule in self.rules for fact in rule.needs)

    def ahead(self, room: RoomId, user: UserId) -> None:
        """Begin the look-up for a user who asks, by their own word, for a room's token."""
        self.suggest(room, user)
        if Fact.MEMBERSHIP in self._needs:
            self.memberships.ahead(room, user)
        if Fact.POWER in self._needs:
            self.powers.ahead(room)

    def at_once(self, rule: StandingRule, recipient: Recipient) -> Verdict | None:
        """The verdict by what is at hand; None where something must be waited for."""
        if recipient.user is None:
            return Allow()
        standing = power = None
        if Fact.MEMBERSHIP in rule.needs:
            standing = self.memberships.at_hand(recipient.room, recipient.user)
            if standing is None:
                return None
        if Fact.POWER in rule.needs:
            power = self.powers.at_hand(recipient.room)
            if power is None:
                return None
        return rule.judge(recipient.who, Facts(standing=standing, power=power))

    async def judged(
        self, rule: StandingRule, recipient: Recipient, patience: Patience | None = None
    ) -> Verdict:
        """Ask a rule about a recipient; raises Outage.

        Only of a user whom the request has proved anything can be said.
        """
        if recipient.user is None:
            return Allow()
        room, standing, power = recipient.room, None, None
        if Fact.MEMBERSHIP in rule.needs:
            standing = await self.memberships.standing(room, recipient.user, patience)
        if Fact.POWER in rule.needs:
            power = await self.powers.get(room, patience=patience)
        return rule.judge(recipient.who, Facts(standing=standing, power=power))
