"""A rule is told who a token was issued to, and nothing of the request."""

from lotus_guard.core.model import Identity, UserId
from lotus_guard.enforce.recipient import Recipient
from lotus_guard.rules.rule import Who
from tests.enforce.stand_ins import ROOM


def test_a_rule_sees_a_user_only_where_the_request_proved_one() -> None:
    """The person counts heads: it may be a guess, which no rule may take for the user."""
    guessed = Recipient(ROOM, "@a:s", Identity("@a:s:D"), 1.0, 2.0)
    assert guessed.who == Who("@a:s", Identity("@a:s:D"), None)
    proved = Recipient(ROOM, "@a:s", Identity("hash"), 1.0, 2.0, UserId("@a:s"))
    assert proved.who == Who("@a:s", Identity("hash"), UserId("@a:s"))
