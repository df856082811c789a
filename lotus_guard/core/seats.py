"""Who may sit in a capped room: those present, and those who hold a seat. No reactor, no clock.

A *look* is one ListParticipants answer, dated with the moment the call was begun. A *hold* keeps
a seat for somebody who is not there: for the user of a token that was just issued, and for a user
whose last device has just gone.

Times are seconds of one clock that never runs backwards, handed in.

Three rules keep the count right although looks are old by the time they are used:

- A hold is judged by the moment of the look it is added to, not by now: a user who came in after
  the look, on a hold that has run out since, would otherwise be counted nowhere.
- A look ends only holds that were made before it was begun.
- A look older than the one we have changes nothing.
"""

from collections.abc import Callable, Iterable

from attrs import define, field, frozen

from lotus_guard.core.model import Alias, Identity, RoomId

Person = str
"""A user id where the user is known, else the identity: one head to count."""


@frozen
class Hold:
    """A seat kept for somebody who is not there, from `since` until `until`."""

    since: float
    until: float


@frozen
class Look:
    """Who was in a LiveKit room when we asked at `at`."""

    at: float
    people: frozenset[Identity]


@frozen
class Seating:
    """What became of one who asks for a seat, and how many people sit in the room."""

    admitted: bool
    users: int


@define
class _Table:
    """The seats of one Matrix room."""

    looks: dict[Alias, Look] = field(factory=dict)
    holds: dict[Person, Hold] = field(factory=dict)


@define(eq=False)
class Seats:
    """The seats of all rooms that have a limit."""

    hold: float
    """Seconds a seat is kept for an issued token."""
    grace: float
    """Seconds a seat is kept for a user whose last device has gone."""
    person: Callable[[Identity], Person]
    most_holds: int = 10_000
    """The bound for holds of one room; they can outnumber its limit during an outage only."""
    _tables: dict[RoomId, _Table] = field(init=False, factory=dict)

    def saw(self, room: RoomId, alias: Alias, look: Look) -> None:
        """Take in who is in one of the room's LiveKit rooms."""
        table = self._tables.setdefault(room, _Table())
        before = table.looks.get(alias)
        if before and before.at >= look.at:
            return
        table.looks[alias] = look
        present = self._present(table)
        for person in present:
            hold = table.holds.get(person)
            if hold and hold.since <= look.at:
                del table.holds[person]
        if before:
            gone = {self.person(i) for i in before.people - look.people} - present
            self._keep_for_grace(table, gone, before.at, look.at)
        self._tidy(room, table, look.at)

    def hung_up(self, room: RoomId, identity: Identity, at: float) -> None:
        """Free the seat of one who left on purpose; his other devices keep it."""
        table = self._tables.get(room)
        if table is None:
            return
        for alias, look in table.looks.items():
            if identity in look.people and look.at <= at:
                table.looks[alias] = Look(look.at, look.people - {identity})
        person = self.person(identity)
        hold = table.holds.get(person)
        if hold and hold.since <= at and person not in self._present(table):
            del table.holds[person]

    def ask(
        self, room: RoomId, person: Person, identity: Identity, limit: int, at: float
    ) -> Seating:
        """Tell whether one may come in, and change nothing. `at` dates the looks behind it."""
        table = self._tables.get(room) or _Table()
        present = self._present(table)
        seated = present | {p for p, hold in table.holds.items() if hold.until > at}
        welcome = person in seated or self._is_there(table, person, identity)
        return Seating(welcome or len(seated) < limit, len(seated))

    def admit(
        self, room: RoomId, person: Person, identity: Identity, limit: int, at: float, now: float
    ) -> Seating:
        """Ask, and hold a seat for who may come in and is not there yet: one atomic step."""
        seating = self.ask(room, person, identity, limit, at)
        if seating.admitted:
            self.keep(room, person, identity, now)
        return seating

    def keep(self, room: RoomId, person: Person, identity: Identity, now: float) -> None:
        """Hold a seat for the user of an issued token, unless he is there."""
        table = self._tables.setdefault(room, _Table())
        if self._is_there(table, person, identity):
            return
        if len(table.holds) >= self.most_holds:
            self._tidy(room, table, now)
        if len(table.holds) < self.most_holds:
            table.holds[person] = Hold(now, now + self.hold)

    def holds(self, room: RoomId, at: float) -> dict[Person, Hold]:
        """List the holds that are alive at `at`."""
        table = self._tables.get(room) or _Table()
        return {person: hold for person, hold in table.holds.items() if hold.until > at}

    def forget(self, room: RoomId, alias: Alias) -> None:
        """Drop the look at a LiveKit room that is no more."""
        table = self._tables.get(room)
        if table:
            table.looks.pop(alias, None)

    def sweep(self, now: float) -> None:
        """Drop looks that nobody has renewed for an hour, and rooms where nothing is left."""
        for room, table in list(self._tables.items()):
            table.looks = {a: look for a, look in table.looks.items() if look.at > now - 3600.0}
            self._tidy(room, table, now)
            if not table.holds and not any(look.people for look in table.looks.values()):
                del self._tables[room]

    def _present(self, table: _Table) -> set[Person]:
        return {self.person(i) for look in table.looks.values() for i in look.people}

    def _is_there(self, table: _Table, person: Person, identity: Identity) -> bool:
        """Tell whether this user, or the very identity his token names, is in the call.

        An identity that starts with his user id is his too, even where a device id that looks
        like a port makes `person` read another user off it: a rejoin always passes.
        """
        own = f"{person}:"
        return any(
            identity in look.people
            or any(self.person(i) == person or i.startswith(own) for i in look.people)
            for look in table.looks.values()
        )

    def _keep_for_grace(
        self, table: _Table, gone: Iterable[Person], last_seen: float, at: float
    ) -> None:
        """Hold the seats of those who have gone since the last look.

        They left somewhere between the two looks. Where these lie close together the grace runs
        from the later one, so that nobody gets less than it; where they do not, from the earlier
        one, so that an unwatched room does not keep seats for people long gone.
        """
        since = at if at - last_seen <= self.grace else last_seen
        for person in gone:
            if person not in table.holds:
                table.holds[person] = Hold(since, since + self.grace)

    def _tidy(self, room: RoomId, table: _Table, at: float) -> None:
        oldest = min((look.at for look in table.looks.values()), default=at)
        for person, hold in list(table.holds.items()):
            if hold.until <= min(at, oldest):
                del table.holds[person]
