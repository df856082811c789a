"""Who is in which room: asked of a homeserver, or told by it.

A yes is remembered for a moment. A no never is: whoever was refused may join and ask again. What
the homeserver tells unasked stands for users of other homeservers, of whom it may not be asked, as
long as it goes on telling.
"""

from collections.abc import Callable
from math import inf
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from lotus_guard.core.lru import LruDict, weight
from lotus_guard.core.membership import Membership, Standing
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.enforce.deferreds import SingleFlight
from lotus_guard.enforce.patience import OutOfPatience, Patience, waited
from lotus_guard.enforce.ports import Homeserver, Now, Outage
from lotus_guard.enforce.remembered import MOST_AHEAD

MOST_KNOWN = 20_000
YES_SECONDS = 2.0
"""For so long whoever is in a room is taken to be there still."""
PUSHED = "push"
"""The source of what the homeserver told unasked."""


Question = tuple[RoomId, UserId]
"""How a user stands to a room."""


@frozen
class _Told:
    """What the homeserver told unasked, and when by our clock."""

    membership: Membership
    at: float


def _kept() -> LruDict[Question, Any]:
    return LruDict(MOST_KNOWN, weigh=lambda key, _value: weight(*key))


@define(eq=False)
class Memberships:
    """Knows how users stand to rooms."""

    homeserver: Homeserver
    background: Homeserver
    """The same for background work: nobody with a deadline waits in its queue."""
    pushing: Callable[[], bool]
    """Whether the homeserver tells us of changes by itself."""
    now: Now
    telling_since: Callable[[], float] = lambda: -inf
    """Since when it has told of them without a pause: what it told before may have changed."""
    _joined: LruDict[Question, tuple[float, Standing]] = field(init=False, factory=_kept)
    """When the look-up was begun that showed somebody in a room."""
    _told: LruDict[Question, _Told] = field(init=False, factory=_kept)
    _flights: SingleFlight[Question, Standing] = field(init=False, factory=SingleFlight)

    def ahead(self, room: RoomId, user: UserId) -> None:
        """Begin a look-up that will soon be needed; whoever asks has proved nothing yet."""
        question = (room, user)
        if self.at_hand(room, user) is None and len(self._flights) < MOST_AHEAD:
            self._flights.begin(question, lambda: self._look_up(question, self.homeserver), Outage)

    async def standing(
        self, room: RoomId, user: UserId, patience: Patience | None = None
    ) -> Standing:
        """Find out how somebody stands to a room; raises Outage.

        A no is asked for twice: whoever joined a moment ago may have asked for a token since, and
        the first look-up may have been begun before they did.
        """
        at_hand = self.at_hand(room, user)
        if at_hand is not None:
            return at_hand
        question = (room, user)
        found = await self._asked(question, patience)
        if found.is_outside and found.source != PUSHED:
            found = await self._asked(question, patience)
        return found

    async def looked_up(self, room: RoomId, user: UserId) -> Standing:
        """Look once, now, in the background; raises Outage."""
        return await self._look_up((room, user), self.background)

    def tell(self, room: RoomId, user: UserId, membership: Membership) -> None:
        """Take in what the homeserver says unasked."""
        if membership is Membership.JOIN:
            self._told.pop((room, user))
        else:
            self._told.put((room, user), _Told(membership, self.now()))
            self._joined.pop((room, user))

    def told(self, room: RoomId, user: UserId) -> Membership | None:
        """What the homeserver said of somebody last; None where that was a join, or nothing."""
        told = self._told.peek((room, user))
        return told.membership if told else None

    def at_hand(self, room: RoomId, user: UserId) -> Standing | None:
        """How somebody stands to a room who was seen in it a moment ago; None: ask for it."""
        known = self._joined.get((room, user))
        return known[1] if known and self.now() - known[0] <= YES_SECONDS else None

    async def _asked(self, question: Question, patience: Patience | None) -> Standing:
        joined = question in self._flights
        try:
            return await waited(self._join(question), patience, "Synapse")
        except OutOfPatience:
            raise
        except Outage:
            if not joined:
                raise
        # A look-up failed that was begun before we asked: that was not our try.
        return await waited(self._join(question), patience, "Synapse")

    def _join(self, question: Question) -> Deferred[Standing]:
        return self._flights.join(question, lambda: self._look_up(question, self.homeserver))

    async def _look_up(self, key: Question, homeserver: Homeserver) -> Standing:
        begun = self.now()
        found, told = await homeserver.membership(*key), self._told.get(key)
        if told is not None:
            found = self._with_told(told, found)
        if found.membership is Membership.JOIN and (told is None or told.at < begun):
            self._joined.put(key, (begun, found))
            return found
        known = self._joined.peek(key)
        if known and known[0] <= begun:
            # Whoever the live loop has just put out would get a token by the yes from before.
            self._joined.pop(key)
        return found

    def _with_told(self, told: _Told, found: Standing) -> Standing:
        """Add what was told of a user of whom nothing could be asked."""
        if found.is_local or found.membership is not Membership.UNHEARD:
            return found
        holds = self.pushing() and told.at >= self.telling_since()
        return Standing(told.membership, False, PUSHED) if holds else found
