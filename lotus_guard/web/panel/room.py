"""What a moderator of a room gets to know of its call; everybody else nothing.

Who asks is a user of our homeserver, by its word (OpenID); who is in the room, and may set one of
its rules, by its word as well. Where any of this cannot be found out, there is no answer: here
nothing fails open.
"""

import json
from collections.abc import Awaitable, Callable, Collection, Mapping
from typing import Any, Protocol

from attrs import define
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lotus_guard.core.log_throttle import LogThrottle
from lotus_guard.core.membership import Membership, Standing
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.sentence import Sentence
from lotus_guard.core.strict_json import Unreadable
from lotus_guard.enforce.deferreds import with_timeout
from lotus_guard.enforce.ports import Flooded, NotAsked, Outage
from lotus_guard.neighbours.openid import OpenIdToken
from lotus_guard.overload.client_address import Origin
from lotus_guard.overload.load_shedding import ConcurrencyLimiter
from lotus_guard.rules.members import SENTENCE as NOT_A_MEMBER
from lotus_guard.web.panel.asking import Asking, read_asking
from lotus_guard.web.problems import Problem

SECONDS = 5.0
"""For all that one question needs."""
WHY, USER = "io.lotus.why", "io.lotus.user"
"""In a refusal: its reason as a word for machines, and who asked."""

_log = Logger()


class Levels(Protocol):
    """The power levels of a room, as far as they count here."""

    def of(self, user: str) -> float:
        """A user's level."""

    def needed(self, event_type: str) -> int:
        """The level that setting a state event needs."""


@define(eq=False)
class Witnesses:
    """Who is asked about whoever asks; each raises Outage."""

    user: Callable[[OpenIdToken], Awaitable[UserId | None]]
    """Whose a token is; None where nobody vouches for it."""
    standing: Callable[[RoomId, UserId], Awaitable[Standing]]
    """How they stand to the room."""
    power: Callable[[RoomId], Awaitable[Levels]]
    """Who may do what in it."""


@define(eq=False)
class RoomDoor:
    """Answers moderators."""

    witnesses: Witnesses
    events: Collection[str]
    """The types of the events that set rules: whoever may set one of them is a moderator here."""
    describe: Callable[[RoomId], Awaitable[Mapping[str, Any]]]
    """Describes what is going on in a room."""
    places: ConcurrencyLimiter
    clock: IReactorTime
    throttle: LogThrottle

    async def answer(self, body: bytes, who: Origin) -> bytes:
        """Answer the body of a question with JSON; raises Problem, and TurnedAway."""
        asking = _read(body)
        await self.places.take(who)
        try:
            described = await with_timeout(SECONDS, self.clock, self._answer(asking))
        except TimeoutError:
            raise _away() from None
        except Flooded:
            raise _away() from None
        except Outage as outage:
            self._note(outage)
            raise _away() from None
        finally:
            self.places.leave(who)
        return json.dumps(described).encode() + b"\n"

    async def _answer(self, asking: Asking) -> dict[str, Any]:
        user = await self.witnesses.user(asking.token)
        if user is None:
            raise _refused("unvouched", Sentence("panel_unvouched"))
        standing = await self.witnesses.standing(asking.room, user)
        if not standing.is_local or standing.membership is not Membership.JOIN:
            raise _refused("outside", NOT_A_MEMBER, user)
        levels = await self.witnesses.power(asking.room)
        if not any(levels.of(user) >= levels.needed(event) for event in self.events):
            raise _refused("powerless", Sentence("panel_powerless"), user)
        return {"user": user, **await self.describe(asking.room)}

    def _note(self, outage: Outage) -> None:
        """Log what keeps moderators from an answer; whoever asks can cause that line."""
        more = self.throttle.more("panel") if not isinstance(outage, NotAsked) else None
        if more is not None:
            _log.warn(
                "The panel can't show who is in a call: {outage}{more}. Fix: the homeserver and "
                "LiveKit must answer, and openid/userinfo at LOTUS_GUARD_OPENID_URL.",
                outage=outage,
                more=more,
            )


def _read(body: bytes) -> Asking:
    try:
        return read_asking(body)
    except Unreadable as why:
        status = 413 if why.errcode == "M_TOO_LARGE" else 400
        raise Problem(status, why.errcode, why.sentence) from None


def _refused(why: str, sentence: Sentence, user: UserId | None = None) -> Problem:
    named = ((USER, user),) if user else ()
    return Problem(403, "M_FORBIDDEN", sentence, ((WHY, why), *named))


def _away() -> Problem:
    return Problem(503, "M_UNKNOWN", Sentence("panel_away"), ((WHY, "away"),))
