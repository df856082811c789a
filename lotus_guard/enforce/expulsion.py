"""Ends the calls of somebody who is not a member of the room, and frees their seat at once."""

from collections.abc import Iterator, Sequence

from attrs import define

from lotus_guard.core.directory import Directory
from lotus_guard.core.membership import Standing
from lotus_guard.core.model import Identity, LiveKitRoom, Participant, RoomId, UserId
from lotus_guard.enforce.effects import Effects
from lotus_guard.enforce.presence import Presence, Seen
from lotus_guard.enforce.room_pass import RoomJournal
from lotus_guard.enforce.seat_store import SeatStore
from lotus_guard.enforce.turn import Turn
from lotus_guard.rules.members import Members
from lotus_guard.rules.plan import Expel, bounded, unread


def connections(seen: Seen) -> Iterator[tuple[LiveKitRoom, Participant]]:
    """List everybody who is in a room's calls; of whom nothing could be read, only that."""
    for livekit_room, attendance in seen.rooms.items():
        for participant in attendance.participants:
            yield livekit_room, participant
        for identity in attendance.loud:
            yield livekit_room, unread(identity)


@define(eq=False)
class Expulsion:
    """Puts people out who are no members."""

    presence: Presence
    directory: Directory
    effects: Effects
    store: SeatStore
    journal: RoomJournal
    is_observed: bool
    """Whether it is only recorded who would be put out."""

    def user_of(self, identity: Identity) -> UserId | None:
        """The user of an identity, where a token has told us and it was nobody else's as well.

        What an identity looks like is no evidence.
        """
        user = self.directory.user_of(identity)
        return user if user is not None and str(user) != identity else None

    async def steps(self, room: RoomId, user: UserId, standing: Standing) -> list[Expel]:
        """What it takes to end all connections of a user, by a look made now.

        Raises Outage where nobody says who is there, and Flooded.
        """
        seen = await self.presence.look(room, self.presence.now(), in_background=True)
        return [
            Expel(livekit_room, participant, user, standing)
            for livekit_room, participant in connections(seen)
            if self.user_of(participant.identity) == user
        ]

    async def put_out(self, room: RoomId, user: UserId, steps: Sequence[Expel], turn: Turn) -> None:
        """Carry the steps out, as far as that is allowed at once, and free the user's seat."""
        if self.is_observed:
            for each in steps:
                self.effects.would(room, each, Members.name)
            return
        kept, put_off = bounded(steps)
        if put_off:
            self.journal.put_off(room, put_off)
        for step in kept:
            await self.effects.carry_out(room, step, Members.name, turn)
        await self.store.change(room, lambda seats: seats.expel(room, user))
