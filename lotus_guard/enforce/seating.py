"""Seats for those who ask for a token: who is there, and may one more come in.

Anybody whom a look does not show has a seat held, or came without one; the live loop sees to those
within three seconds anyway. Nobody is refused on a look that was begun before they asked.
"""

from collections.abc import Callable
from math import inf

from attrs import define, frozen
from twisted.internet.defer import ensureDeferred
from twisted.internet.interfaces import IReactorTime

from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Occupancy, Person, Seating, Seats
from lotus_guard.enforce.deferreds import ignoring
from lotus_guard.enforce.patience import Patience
from lotus_guard.enforce.ports import Flooded, Now, Outage, Reason
from lotus_guard.enforce.presence import KEPT, Presence
from lotus_guard.enforce.recipient import Recipient
from lotus_guard.enforce.remembered import MOST_AHEAD
from lotus_guard.enforce.seat_store import SeatStore
from lotus_guard.rules.rule import Refuse, Verdict

LOOK_MAX_AGE = 3.0
"""Seconds for which a look may let somebody in: long enough for the live loop's looks to serve."""

_CLIENTS_MAY_CAUSE = frozenset({Reason.TIMEOUT, Reason.BUSY})
"""Reasons for which LiveKit does not answer that clients can bring about: work that it or we have
too much of makes those who ask next wait."""


@frozen
class Question:
    """What a rule asks of a room's seats."""

    judge: Callable[[Occupancy], Verdict]
    """The rule's verdict on somebody, given who is there."""
    since: float
    """When the policy became known, in seconds since the epoch. No seat was held before for those
    who were on their way, so a look that was begun by then lets nobody in."""
    is_strict: bool = False
    """Whether it lets nobody in because LiveKit is slow."""


@define(eq=False)
class SeatDesk:
    """Finds out about a room's seats, and hands them out."""

    seats: Seats
    """What this guard knows of the seats; changes go through the store."""
    store: SeatStore
    presence: Presence
    clock: IReactorTime
    now: Now

    def look_ahead(self, room: RoomId) -> None:
        """Begin a look that a request will need, while upstream works on it.

        Whoever asks has proved nothing yet, so only a few run at once.
        """
        if self.presence.looks < MOST_AHEAD:
            self._begin_look(room, self.now() - LOOK_MAX_AGE)

    def foresee(self, recipient: Recipient, question: Question) -> None:
        """Begin the look that the last known policy asks for, beside the look-up of the policy.

        A look-up that hangs would leave LiveKit no time to answer.
        """
        self._begin_look(recipient.room, self._not_before(recipient, question))

    def at_once(self, recipient: Recipient, question: Question) -> tuple[Verdict, float] | None:
        """Judge somebody by a look that is at hand; None where a newer one must be waited for.

        Returns the verdict, and when the look behind it was begun.
        """
        at = self.presence.at_hand(recipient.room, self._fresh(question))
        if at is None:
            return None
        verdict = question.judge(self._occupancy(recipient, at))
        must_wait = isinstance(verdict, Refuse) and at < recipient.arrived
        return None if must_wait else (verdict, at)

    async def judged(self, recipient: Recipient, question: Question) -> tuple[Verdict, float]:
        """Judge somebody by who is there, as freshly as the verdict needs.

        Returns what `at_once` does. Raises Outage where LiveKit does not say.
        """
        judging = question.judge
        try:
            at = await self._look(recipient, self._not_before(recipient, question))
            verdict = judging(self._occupancy(recipient, at))
            if isinstance(verdict, Refuse) and at < recipient.arrived:
                at = await self._look(recipient, recipient.arrived)
                verdict = judging(self._occupancy(recipient, at))
        except (Flooded, Outage) as why:
            if not self._may_be_clients_doing(recipient.room, why, question.is_strict):
                raise
            # This lets nobody in: what was seen last counts, and the seats held since.
            at = await self.presence.last_resort(recipient.room)
            verdict = judging(self._occupancy(recipient, at))
        return verdict, at

    async def keep(self, recipient: Recipient) -> None:
        """Hold a seat for somebody who may well come in: whoever is judged next must count them."""
        who = (recipient.room, recipient.person, recipient.identity)
        # Whoever else has a seat, they have one.
        await self.store.change(
            recipient.room, lambda seats: seats.keep(*who, self.now()), lambda _: inf
        )

    def keep_soon(self, recipient: Recipient) -> None:
        """Hold a seat, and do not wait for it."""
        ignoring(ensureDeferred(self.keep(recipient)), Outage)

    async def claim(self, recipient: Recipient, limit: int | None, at: float) -> Seating:
        """Take a seat in the store, which may know of people whom this guard has not heard of.

        `limit` is None for whoever needs no free one. `at` dates the look behind it. Where the
        store says no by an older look, a new one decides, if LiveKit tells in time.
        """
        seating = await self._admit(recipient, limit, at)
        if seating.admitted or at >= recipient.arrived:
            return seating
        try:
            at = await self._look(recipient, recipient.arrived)
        except (Outage, Flooded):
            return seating
        return await self._admit(recipient, limit, at)

    def taken(self, room: RoomId) -> list[Person]:
        """List who has a seat."""
        return self.seats.taken(room, self.now())

    def _occupancy(self, recipient: Recipient, at: float) -> Occupancy:
        """The seats of a room as its recipient sees them, by what this guard knows."""
        return self.seats.occupancy(recipient.room, recipient.person, recipient.identity, at)

    async def _admit(self, recipient: Recipient, limit: int | None, at: float) -> Seating:
        who = (recipient.room, recipient.person, recipient.identity)
        return await self.store.change(
            recipient.room,
            lambda seats: seats.admit(*who, limit, at, self.now()),
            lambda seating: seating.slack,
        )

    def _begin_look(self, room: RoomId, not_before: float) -> None:
        """Begin the look that will be needed, unless there is one that serves."""
        if self.presence.at_hand(room, not_before) is None:
            ignoring(ensureDeferred(self.presence.look(room, not_before)), Outage, Flooded)

    def _not_before(self, recipient: Recipient, question: Question) -> float:
        """How old a look may be: nobody is refused on one that was begun before they asked."""
        fresh = self._fresh(question)
        at = self.presence.at_hand(recipient.room, fresh)
        if at is None or not isinstance(question.judge(self._occupancy(recipient, at)), Refuse):
            return fresh
        return recipient.arrived

    def _fresh(self, question: Question) -> float:
        """How old a look may be that lets somebody in."""
        return max(self.now() - LOOK_MAX_AGE, question.since)

    async def _look(self, recipient: Recipient, not_before: float) -> float:
        at = self.presence.at_hand(recipient.room, not_before)
        if at is not None:
            return at
        patience = Patience(self.clock, self.now, recipient.due)
        return (await self.presence.look(recipient.room, not_before, patience=patience)).at

    def _may_be_clients_doing(self, room: RoomId, why: Outage | Flooded, is_strict: bool) -> bool:
        """Whether clients may have made LiveKit slow; then a look of a moment ago still counts.

        One client with a track name of 30 MB in a room of their own, and another who joins it
        twenty times a second, are enough. Where LiveKit really hangs, nobody is kept out whom it
        could let in.
        """
        if isinstance(why, Flooded):
            return True
        is_recent = self.now() - self.presence.last_look(room) <= KEPT
        return why.reason in _CLIENTS_MAY_CAUSE and (is_recent or is_strict)
