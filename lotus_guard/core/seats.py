"""Who may sit in a capped room: those present, and those for whom a seat is held.

Times are seconds of one clock that never runs backwards, handed in. What is known of a room is in
`core.seat_table`, what a look at it changes in `core.seat_arrivals`, who is there without a seat in
`core.unseated`.
"""

from collections.abc import Callable, Collection, Mapping
from math import inf

from attrs import define, evolve, field, frozen

from lotus_guard.core import unseated
from lotus_guard.core.holds import Person
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId
from lotus_guard.core.seat_arrivals import take_in
from lotus_guard.core.seat_table import Hold, Look, Table, WhoIs

SPARE = 20.0
"""Seconds for which a token keeps the seat of somebody who was there when they asked for it, once
they leave on purpose: enough to change devices, and to load the page again."""

MOST_AWAITED = 16
"""For so many devices of one user with unused tokens a seat is kept; more is the user's affair."""

UNUSED = 3600.0
"""Looks that nobody has renewed for so many seconds are dropped."""


@frozen
class Seating:
    """What became of one who asks for a seat, and how many people sit in the room."""

    admitted: bool
    users: int
    slack: float = -1.0
    """How many more people could have been seated before, and this would have been the same; below
    0 nobody."""


@frozen
class Occupancy:
    """The seats of a room, as seen by one person who wants in."""

    taken: int
    """How many people have a seat or take up room, this person included where they do."""
    others: int
    """How many of them are somebody else: who is unseated does not stand in their own way."""
    is_seated: bool
    """Whether this person has a seat already."""
    is_on: bool = False
    """Whether anybody is in the call, or was and may come back. A token alone is no call: whoever
    asks for one again and again would keep it on."""


def may_sit(limit: int, taken: int, is_seated: bool) -> bool:
    """Whether one may come in: there is a seat, or they have one already."""
    return is_seated or taken < limit


@define(eq=False)
class Seats:
    """The seats of all rooms that have a limit."""

    hold: float
    """Seconds a seat is kept for an issued token."""
    grace: float
    """Seconds a seat is kept for a user whose last device has gone."""
    who: WhoIs
    on_change: Callable[[RoomId], None] = lambda _room: None
    """Told of every room whose seats change, for the store."""
    most_holds: int = 10_000
    """The bound for holds of one room; they can outnumber its limit during an outage only."""
    _tables: dict[RoomId, Table] = field(init=False, factory=dict)

    # What is seen.

    def saw(self, room: RoomId, looks: Mapping[LiveKitRoom, Look]) -> None:
        """Take in who is in the room's LiveKit rooms."""
        table = self._tables.setdefault(room, Table())
        was_there = table.present(self.who)
        take_in(table, looks, self.who, self.hold, self.grace)
        if table.present(self.who) != was_there:
            self.on_change(room)

    def lost_sight(self, room: RoomId, at: float) -> None:
        """Note that LiveKit did not say who is there: whoever was may come back."""
        table = self._tables.get(room)
        if table is None:
            return
        there = table.present(self.who) - table.unseated.keys()
        table.expect_back(there, at + self.hold)
        table.unwatched.update(table.looks)

    def hung_up(self, room: RoomId, identity: Identity) -> None:
        """Free the seat of one who left on purpose, where no device of theirs is there any more.

        A seat kept for a token stays, for they may have asked for it to come back: as long as for
        any token where they asked from outside, for `SPARE` seconds where they were there.
        """
        table, person = self._tables.get(room), self.who.person(identity)
        if table is None:
            return
        table.returning.pop(person, None)
        hold = table.holds.get(person)
        if hold is None or person in table.present(self.who):
            return
        if hold.is_grace:
            del table.holds[person]
        elif hold.awaits:
            firm = max(hold.firm.values(), default=-inf) + self.hold
            spare = max((look.at for look in table.looks.values()), default=inf) + SPARE
            table.holds[person] = evolve(hold, until=min(hold.until, max(firm, spare)))
        self.on_change(room)

    # Who asks.

    def occupancy(self, room: RoomId, person: Person, identity: Identity, at: float) -> Occupancy:
        """The seats of a room as one sees them who wants in. `at` dates the looks behind it."""
        table = self._tables.get(room) or Table()
        present, held = table.present(self.who), table.held(at)
        taken = len(present) + len(held) - len(present & held)
        others = taken - (person in present or person in held)
        seated = table.sits(person, identity, at, self.who)
        return Occupancy(taken, others, seated, table.is_on(at, self.who))

    def admit(
        self,
        room: RoomId,
        person: Person,
        identity: Identity,
        limit: int | None,
        at: float,
        now: float,
    ) -> Seating:
        """Judge whether one may come in, and hold a seat for them if so: one atomic step.

        `at` dates the looks behind it. `limit` None lets anybody in.
        """
        seen = self.occupancy(room, person, identity, at)
        slack = inf if limit is None or seen.is_seated else limit - seen.others - 1
        if slack < 0:
            return Seating(False, seen.taken)
        self.keep(room, person, identity, now)
        if not seen.is_seated:
            unseated.take_place(self._tables[room], person, limit, at, self.who)
        return Seating(True, seen.taken, slack)

    def keep(self, room: RoomId, person: Person, identity: Identity, now: float) -> None:
        """Hold a seat for the user of an issued token."""
        table = self._tables.setdefault(room, Table())
        if len(table.holds) >= self.most_holds:
            table.tidy(now)
        kept = table.holds.get(person)
        if kept or len(table.holds) < self.most_holds:
            is_there = table.is_there(person, identity, self.who)
            table.holds[person] = self._held_for(kept, identity, is_there, now)
            if not is_there:
                self.on_change(room)
        unseated.forget_put_out(table, person, identity, self.who)

    def _held_for(self, kept: Hold | None, identity: Identity, is_there: bool, now: float) -> Hold:
        alive = kept if kept and kept.until > now else Hold(now, now)
        awaits, firm = dict(alive.awaits), dict(alive.firm)
        if identity in awaits or len(awaits) < MOST_AWAITED:
            awaits[identity] = now
            if not is_there:
                firm[identity] = now
        return Hold(now, now + self.hold, awaits=awaits, firm=firm)

    # Who is there without a seat.

    def put_out(self, room: RoomId, identity: Identity, now: float) -> None:
        """Remember who was put out of the room, unless a seat was given to them just then."""
        unseated.put_out(self._tables.setdefault(room, Table()), identity, now, self.who)

    def expel(self, room: RoomId, person: Person) -> None:
        """Take from somebody every right to a seat, and forget that they are there.

        Their seat is free at once. Whoever is still in the call at the next look is there without
        one.
        """
        table = self._tables.get(room)
        if table is None:
            return
        for rights in (table.holds, table.returning, table.unseated):
            rights.pop(person, None)
        for livekit_room, look in table.looks.items():
            left = {each for each in look.people if self.who.person(each) != person}
            table.looks[livekit_room] = evolve(look, people=frozenset(left))
        self.on_change(room)

    def reassess(
        self, room: RoomId, limit: int | None, exempt: Collection[Person] = ()
    ) -> list[Person]:
        """Seat the unseated while seats last, longest there first; returns the rest, newest first.

        `limit` None, for no limit as for one that is not known for certain, seats everybody.
        Whoever is exempt from it is seated in any case.
        """
        table = self._tables.get(room)
        return [] if table is None else unseated.reassess(table, limit, self.who, exempt)

    # For the store.

    def seated(self, room: RoomId) -> dict[Person, float | None]:
        """A room's seats: until when each is held, None for those who are there."""
        table = self._tables.get(room) or Table()
        seats: dict[Person, float | None] = {p: hold.until for p, hold in table.holds.items()}
        seats.update(dict.fromkeys(table.present(self.who) - table.unseated.keys()))
        return seats

    def restore(self, room: RoomId, seats: Mapping[Person, float | None], now: float) -> None:
        """Take up the seats that were written down before a restart.

        Who was there gets the grace to be seen again.
        """
        table = self._tables.setdefault(room, Table())
        for person, until in seats.items():
            table.holds[person] = Hold(now, now + self.grace if until is None else until)

    def table(self, room: RoomId) -> Table:
        """A copy of all that is known of a room's seats."""
        table = self._tables.get(room)
        return table.copy() if table else Table()

    def put_table(self, room: RoomId, table: Table) -> None:
        """Replace what is known of a room's seats; the table is ours from now on."""
        self._tables[room] = table

    # For whoever wants to know.

    def people(self, room: RoomId) -> list[Person]:
        """Everybody who is in the room's calls by the last look."""
        table = self._tables.get(room)
        return sorted(table.present(self.who)) if table else []

    def taken(self, room: RoomId, now: float) -> list[Person]:
        """Everybody who sits in the room: who is there, and for whom a seat is held."""
        table = self._tables.get(room)
        return sorted(table.present(self.who) | table.held(now)) if table else []

    def held(self, now: float) -> int:
        """How many seats are held, in all rooms, for people who are not there."""
        return sum(
            len(table.held(now) - table.present(self.who)) for table in self._tables.values()
        )

    def rooms(self) -> list[RoomId]:
        """The rooms that have seats."""
        return list(self._tables)

    def sweep(self, now: float) -> None:
        """Drop what is left of rooms that nobody looks at any more and where no hold is alive."""
        for room, table in list(self._tables.items()):
            table.looks = {a: look for a, look in table.looks.items() if look.at > now - UNUSED}
            table.tidy(now)
            if not table.holds and not table.put_out and not table.present(self.who):
                del self._tables[room]
                self.on_change(room)


__all__ = ["Hold", "Look", "Person", "Seating", "Seats", "may_sit"]
