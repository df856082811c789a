"""Asks the rules that hold in every room, and fetches what they need to know."""

from collections.abc import Callable, Sequence

from attrs import frozen

from lotus_guard.core.model import RoomId, UserId
from lotus_guard.enforce.memberships import Memberships
from lotus_guard.enforce.recipient import Recipient
from lotus_guard.rules.rule import Allow, Facts, StandingRule, Verdict


@frozen
class Everywhere:
    """The rules that hold in every room."""

    rules: Sequence[StandingRule]
    """In their order; empty where they are switched off."""
    memberships: Memberships
    suggest: Callable[[RoomId, UserId], None] = lambda _room, _user: None
    """Told who says that they are in a room: the homeserver might be asked as them."""

    def ahead(self, room: RoomId, user: UserId) -> None:
        """Begin the look-up for a user who asks, by their own word, for a room's token."""
        self.suggest(room, user)
        if self.rules:
            self.memberships.ahead(room, user)

    async def judged(self, rule: StandingRule, recipient: Recipient) -> Verdict:
        """Ask a rule about a recipient; raises Outage.

        Only of a user whom the request has proved anything can be said.
        """
        if recipient.user is None:
            return Allow()
        standing = await self.memberships.standing(recipient.room, recipient.user)
        return rule.judge(Facts(standing=standing))
