"""Whether a neighbour is out, or only says nothing about what one room's clients have made of it.

What a neighbour says of a room can depend on what clients chose: its id, its size, how many are in
it. So a failed question about a room is no evidence of an outage, however many rooms fail. The
first such failure has us ask what no client has a hand in, which is the same for everybody: only
where that fails as well is the neighbour out, and nothing more is asked of it for a while.
"""

from collections.abc import Callable, Coroutine
from typing import Any

from attrs import define, field

from lotus_guard.enforce.deferreds import SingleFlight
from lotus_guard.enforce.ports import Now, Outage

AGAIN_SECONDS = 1.0
"""For so long an answer to the neutral question holds."""


@define(eq=False)
class OutageCheck:
    """What is to be believed of a neighbour that has failed a question."""

    ask: Callable[[], Coroutine[Any, Any, object]]
    """Asks what no client can have a hand in; raises Outage."""
    now: Now
    _outage: Outage | None = field(default=None, init=False)
    _asked: float | None = field(default=None, init=False)
    _flight: SingleFlight[str, None] = field(init=False, factory=SingleFlight)

    @property
    def outage(self) -> Outage | None:
        """Why the neighbour is not to be asked at this moment; None where it may be."""
        if self._asked is None or self.now() - self._asked > AGAIN_SECONDS:
            return None
        return self._outage

    def begin(self) -> None:
        """Take nothing for granted any more: a pass begins."""
        self._asked = None

    async def is_out(self) -> bool:
        """Find out, after a failure, whether the neighbour is out for everybody."""
        if self._asked is None or self.now() - self._asked > AGAIN_SECONDS:
            await self._flight.join("neutral", self._ask)
        return self._outage is not None

    async def _ask(self) -> None:
        try:
            await self.ask()
            self._outage = None
        except Outage as outage:
            self._outage = outage
        self._asked = self.now()
