"""The seats of running calls: freed when people hang up, missing for whoever came without one."""

from collections.abc import Collection

from attrs import define, field

from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Person, Seats
from lotus_guard.enforce.hang_ups import HangUps
from lotus_guard.enforce.policies import AllPolicies
from lotus_guard.enforce.ports import Outage, Rank
from lotus_guard.enforce.presence import Seen
from lotus_guard.enforce.room_rules import RoomRule
from lotus_guard.enforce.seat_store import SeatStore

MOST_LIMITED = 20_000


@define(eq=False)
class LiveSeats:
    """Keeps the seats of live calls in line with the room's limit."""

    policies: AllPolicies
    store: SeatStore
    rank: Rank
    hang_ups: HangUps
    is_on: bool = True
    """Whether people who came into a full room without a seat are put out."""
    limited: set[RoomId] = field(init=False, factory=set)
    """The rooms of which a limit was known when they were looked at last."""

    async def free(self, room: RoomId, seen: Seen) -> None:
        """Free the seats of those who hung up, where LiveKit agrees that they are gone."""
        gone = self.hang_ups.confirmed_by(seen)
        if not gone:
            return

        def free(seats: Seats) -> None:
            for identity in gone:
                seats.hung_up(room, identity)

        await self.store.change(room, free)

    async def lift(self, room: RoomId) -> None:
        """A room has no policy any more: whoever comes from now on needs no seat."""
        if room in self.limited:
            self.limited.discard(room)
            await self.store.change(room, lambda seats: seats.reassess(room, None))

    async def unseated(
        self, room: RoomId, seating: RoomRule, exempt: Collection[Person] = ()
    ) -> list[Person]:
        """List the people to put out; a policy that is not certain puts out and seats nobody.

        Whoever is exempt from the limit is seated in any case.
        """
        policy = seating.known.policy
        if not seating.known.is_certain:
            return []
        if policy.restricts and (room in self.limited or len(self.limited) < MOST_LIMITED):
            self.limited.add(room)
        is_sure = self.rank.may_remove() and self.store.is_certain(room)
        limit = seating.rule.seats(policy) if self.is_on and is_sure else None
        unseated = await self.store.change(room, lambda seats: seats.reassess(room, limit, exempt))
        if not unseated or not await self._is_still(room, seating):
            return []
        return unseated if self.store.is_certain(room) else []

    async def _is_still(self, room: RoomId, seating: RoomRule) -> bool:
        """Whether Synapse says at this moment what we know of a room's limit.

        Another guard, or the token path a moment later, may have read a newer one and let people
        in by it: nobody is put out by one that has been lifted since.
        """
        policies = self.policies.of(seating.rule.name)
        try:
            now = await policies.get(room, 0.0, in_background=True)
        except Outage:
            return False
        return bool(now == seating.known.policy)
