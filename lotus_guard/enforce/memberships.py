"""Who is in which room, asked of a homeserver: a yes is remembered for a moment, a no never is."""

from collections.abc import Callable

from attrs import define, field, frozen

from lotus_guard.core.lru import LruDict
from lotus_guard.core.membership import Membership, Standing, server_of
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.enforce.deferreds import SingleFlight, ignoring
from lotus_guard.enforce.policies import MOST_AHEAD
from lotus_guard.enforce.ports import MemberSource, Now, Outage

MOST_KNOWN = 20_000
YES_SECONDS = 2.0
"""For so long whoever is in a room is taken to be there still."""


@frozen
class Question:
    """Whether somebody is in a room."""

    room: RoomId
    user: UserId


@define(eq=False)
class Memberships:
    """Asks a homeserver for its own users, and remembers who is in a room."""

    source: MemberSource
    server: Callable[[], str]
    """The homeserver's name; empty as long as it is not known."""
    now: Now
    _joined: LruDict[Question, float] = field(init=False, factory=lambda: LruDict(MOST_KNOWN))
    """When the look-up was begun that showed somebody in a room."""
    _flights: SingleFlight[Question, Membership] = field(init=False, factory=SingleFlight)

    def ahead(self, room: RoomId, user: UserId) -> None:
        """Begin a look-up that will soon be needed; whoever asks has proved nothing yet."""
        question = Question(room, user)
        if not self._is_known(question) and len(self._flights) < MOST_AHEAD:
            ignoring(self._flights.join(question, lambda: self._look_up(question)), Outage)

    async def standing(self, room: RoomId, user: UserId, not_before: float) -> Standing:
        """Find out how somebody stands to a room; raises Outage.

        A no that was looked up before `not_before` (seconds of `now`) is asked for again: whoever
        has just joined may have asked for a token since.
        """
        is_local = server_of(user) == self.server()
        question = Question(room, user)
        if self._is_known(question):
            return Standing(Membership.JOIN, is_local)
        begun = self.now()
        found = await self._flights.join(question, lambda: self._look_up(question))
        standing = Standing(found, is_local)
        if standing.is_outside and begun <= not_before:
            found = await self._look_up(question)
        return Standing(found, is_local)

    def left(self, room: RoomId, user: UserId) -> None:
        """Take in that somebody is no longer in a room."""
        self._joined.pop(Question(room, user))

    def _is_known(self, question: Question) -> bool:
        at = self._joined.get(question)
        return at is not None and self.now() - at <= YES_SECONDS

    async def _look_up(self, question: Question) -> Membership:
        begun = self.now()
        found = await self.source.membership(question.room, question.user)
        if found is Membership.JOIN:
            self._joined.put(question, begun)
        else:
            self._joined.pop(question)
        return found
