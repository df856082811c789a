"""The name of our homeserver, by which its own users are told from others'. It is learnt once."""

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field
from twisted.internet.interfaces import IReactorTime

from lotus_guard.core.membership import server_of
from lotus_guard.core.model import UserId
from lotus_guard.enforce.deferreds import SingleFlight, with_timeout
from lotus_guard.enforce.ports import Outage, Reason

_ASKED = "asked"


@define(eq=False)
class OurServer:
    """What is known of our homeserver; shared by all who ask it."""

    name: str = ""
    """Empty as long as nobody could say: it is the server of the user whose token we have."""
    _flight: SingleFlight[str, UserId] = field(init=False, factory=SingleFlight)

    def may_have(self, user: UserId) -> bool:
        """Whether somebody may be a user of ours; certain once the name is known."""
        server = server_of(user)
        return bool(server) and self.name in ("", server)

    async def learn(
        self,
        whoami: Callable[[], Coroutine[Any, Any, UserId]],
        clock: IReactorTime,
        seconds: float,
    ) -> None:
        """Learn the name where it is not known yet; raises Outage.

        `whoami` asks whose token we have, for the first of those who want to know; all others wait
        for its answer, in at most so many seconds.
        """
        if self.name:
            return
        waiting = self._flight.join(_ASKED, whoami)
        try:
            self.name = server_of(await with_timeout(seconds, clock, waiting))
        except TimeoutError:
            raise Outage(Reason.TIMEOUT, "the homeserver has not given its server name") from None
