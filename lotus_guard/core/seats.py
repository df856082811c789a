"""Who may sit in a capped room: those present, and those who hold a seat. No reactor, no clock.

A *look* is one ListParticipants answer, dated with the moment the call was begun. A *hold* keeps
a seat: for the user of a token that was just issued, until the identity in it has come in, and for
a user whose last device has just gone. Who is there without ever having had a seat is *standing*:
he came with a token from a drawer.

Times are seconds of one clock that never runs backwards, handed in.

Three rules keep the count right although looks are old by the time they are used:

- A hold is judged by the moment of the look it is added to, not by now: a user who came in after
  the look, on a hold that has run out since, would otherwise be counted nowhere.
- A look ends only holds that were made before it was begun, and those for a token only if it shows
  him come whom the token names, or one that was issued later or in the same moment. That the user
  is there already is no such thing: he may be on his way out with one device, or with one
  connection, and on his way in with the next.
- A look older than the one we have changes nothing.

And one keeps us from throwing out anybody who may be in the right: somebody is standing only if we
were watching when he came in, know who he is, know that he was not there a moment before, and there
was a limit already: where there was none he got his token without a seat.

Who was put out and comes back is known by their identity, as long as no token has been given to
them since: they have the very one that they came in with before. Of them none of that is in doubt.
"""

from collections.abc import Callable, Iterable, Mapping
from math import inf

from attrs import define, evolve, field, frozen

from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.seats_json import Hold, Look, Person, Table, merged

WATCHED = 30.0
"""Looks at most so many seconds apart count as watching: over a longer gap anybody may come."""

SPARE = 20.0
"""Seconds for which a token keeps a seat that somebody asked for who was there, once they leave on
purpose: enough to change devices, and to load the page again."""

MOST_AWAITED = 16
"""For so many devices of one user with unused tokens a seat is kept; for more is his own affair."""

TOGETHER = 2.0
"""Tokens that are issued to a user at most so many seconds apart are for one coming in.

Element Call asks for three or four within half a second, at both endpoints, and uses one
(docs/facts.md, Element Call: asking for a token); the homeserver that vouches for each may take
longer for one than for another."""

PUT_OUT = 3660.0
"""Seconds for which those are known who were put out: a token's life, and LiveKit's leeway
(docs/facts.md, LiveKit: joining and leaving)."""

MOST_PUT_OUT = 256
"""So many are known in one room; the first to be put out are forgotten first."""

UNUSED = 3600.0
"""Looks that nobody has renewed for so many seconds are dropped."""


@frozen
class Seating:
    """What became of one who asks for a seat, and how many people sit in the room."""

    admitted: bool
    users: int


def may_sit(limit: int, taken: int, is_seated: bool) -> bool:
    """Tell whether one may come in: there is a seat, or he has one already."""
    return is_seated or taken < limit


@define
class _Arrivals:
    """Who came and who went between two looks at a room."""

    new: dict[Person, float | None] = field(factory=dict)
    """Since when each could have come; None where we were not watching."""
    gone: dict[Person, Hold] = field(factory=dict)
    """The seat to keep for each who has gone."""
    emptied: set[Person] = field(factory=set)
    """Those who were in a LiveKit room where now nobody is."""
    missed: dict[Person, float] = field(factory=dict)
    """Those of whom nobody knows when they went, and when we noticed."""

    at: dict[Identity, float] = field(factory=dict)
    """When the look was begun that showed each identity for the first time."""

    def came(self, identity: Identity, person: Person, since: float | None, at: float) -> None:
        """Note one who is new in a LiveKit room; any doubt of when he came is for him."""
        self.at[identity] = at
        known = self.new.get(person, since)
        self.new[person] = None if known is None or since is None else min(known, since)

    def left(self, people: set[Person], last_seen: float, look: Look, grace: float) -> None:
        """Note those who have gone from a LiveKit room since the look before.

        They left somewhere between the two looks. Where these lie close together the grace runs
        from the later one, so that nobody gets less than it; where they do not, from the earlier
        one, so that an unwatched room does not keep seats for people long gone.
        """
        since = look.at if look.at - last_seen <= grace else last_seen
        self.gone.update(dict.fromkeys(people, Hold(since, since + grace, True)))
        if since != look.at:
            # No seat is kept, but whoever went just now may be back in a moment.
            self.missed.update(dict.fromkeys(people, look.at))
        if not look.people:
            self.emptied |= people


@define(eq=False)
class Seats:
    """The seats of all rooms that have a limit."""

    hold: float
    """Seconds a seat is kept for an issued token."""
    grace: float
    """Seconds a seat is kept for a user whose last device has gone."""
    user_of: Callable[[Identity], UserId | None]
    """Whose an identity is, where somebody taught us."""
    person: Callable[[Identity], Person]
    """Whom to count for an identity."""
    on_change: Callable[[RoomId], None] = lambda _room: None
    """Told of every room whose seats change, for the store."""
    most_holds: int = 10_000
    """The bound for holds of one room; they can outnumber its limit during an outage only."""
    _tables: dict[RoomId, Table] = field(init=False, factory=dict)

    def saw(self, room: RoomId, looks: Mapping[LiveKitRoom, Look]) -> None:
        """Take in who is in the room's LiveKit rooms."""
        table = self._tables.setdefault(room, Table())
        was_there = self._present(table)
        arrivals = _Arrivals()
        for livekit_room, look in looks.items():
            before = table.looks.get(livekit_room)
            if before and before.at >= look.at:
                continue
            watched = (
                before is not None
                and look.at - before.at <= WATCHED
                and livekit_room not in table.unwatched
            )
            for identity in look.people - (before.people if before else frozenset()):
                since = before.at if before and watched else None
                arrivals.came(identity, self.person(identity), since, look.at)
            if before:
                left = {self.person(identity) for identity in before.people - look.people}
                arrivals.left(left, before.at, look, self.grace)
            table.looks[livekit_room] = look
            table.unwatched.discard(livekit_room)
        self._settle_arrivals(table, was_there, arrivals)
        if self._present(table) != was_there:
            self.on_change(room)

    def lost_sight(self, room: RoomId, at: float) -> None:
        """Note that LiveKit did not say who is there: whoever was may come back."""
        table = self._tables.get(room)
        if table is None:
            return
        there = self._present(table) - table.unseated.keys()
        self._expect_back(table, there, at + self.hold)
        table.unwatched.update(table.looks)

    def hung_up(self, room: RoomId, identity: Identity) -> None:
        """Free the seat of one who left on purpose, where no device of theirs is there any more.

        A seat kept for a token stays, for they may have asked for it to come back: as long as for
        any token where they asked from outside, for `SPARE` seconds where they were there.
        """
        table, person = self._tables.get(room), self.person(identity)
        if table is None:
            return
        table.returning.pop(person, None)
        hold = table.holds.get(person)
        if hold is None or person in self._present(table):
            return
        if hold.is_grace:
            del table.holds[person]
        elif hold.awaits:
            firm = max(hold.firm.values(), default=-inf) + self.hold
            spare = max((look.at for look in table.looks.values()), default=inf) + SPARE
            table.holds[person] = evolve(hold, until=min(hold.until, max(firm, spare)))
        self.on_change(room)

    def ask(
        self, room: RoomId, person: Person, identity: Identity, limit: int, at: float
    ) -> Seating:
        """Tell whether one may come in, and change nothing. `at` dates the looks behind it."""
        table = self._tables.get(room) or Table()
        taken = self._present(table) | self._held(table, at)
        seated = self._sits(room, person, identity, at)
        # One who stands takes up room, but does not stand in his own way.
        return Seating(may_sit(limit, len(taken - {person}), seated), len(taken))

    def others(self, room: RoomId, person: Person, at: float) -> int:
        """How many seats are taken up by anybody but this person. `at` dates the looks behind it.

        Who has no seat takes up room all the same, but does not stand in their own way.
        """
        table = self._tables.get(room) or Table()
        return len((self._present(table) | self._held(table, at)) - {person})

    def is_seated(self, room: RoomId, person: Person, identity: Identity, at: float) -> bool:
        """Whether one has a seat already, by the looks that `at` dates."""
        return self._sits(room, person, identity, at)

    def admit(
        self, room: RoomId, person: Person, identity: Identity, limit: int, at: float, now: float
    ) -> Seating:
        """Ask, and hold a seat for who may come in: one atomic step."""
        seating = self.ask(room, person, identity, limit, at)
        if seating.admitted:
            sat = self._sits(room, person, identity, at)
            self.keep(room, person, identity, now)
            if not sat:
                self._take_place(self._tables[room], person, limit, at)
        return seating

    def keep(self, room: RoomId, person: Person, identity: Identity, now: float) -> None:
        """Hold a seat for the user of an issued token."""
        table = self._tables.setdefault(room, Table())
        if len(table.holds) >= self.most_holds:
            self._tidy(table, now)
        kept = table.holds.get(person)
        if kept or len(table.holds) < self.most_holds:
            alive = kept if kept and kept.until > now else Hold(now, now)
            awaits, firm = dict(alive.awaits), dict(alive.firm)
            is_there = self._is_there(table, person, identity)
            if identity in awaits or len(awaits) < MOST_AWAITED:
                awaits[identity] = now
                if not is_there:
                    firm[identity] = now
            table.holds[person] = Hold(now, now + self.hold, awaits=awaits, firm=firm)
            if not is_there:
                self.on_change(room)
        self._forget_put_out(table, person, identity)

    def put_out(self, room: RoomId, identity: Identity, now: float) -> None:
        """Remember who was put out of the room, unless a seat was given to them just then."""
        table = self._tables.setdefault(room, Table())
        if self.person(identity) in table.holds:
            return
        table.put_out.pop(identity, None)
        table.put_out[identity] = now
        for oldest in sorted(table.put_out, key=table.put_out.__getitem__)[:-MOST_PUT_OUT]:
            del table.put_out[oldest]

    def reassess(self, room: RoomId, limit: int | None) -> list[Person]:
        """Give free seats to those who stand, longest there first; list who is left, newest first.

        `limit` None, for no limit as for one that is not known for certain, seats everybody.
        """
        table = self._tables.get(room)
        if table is None:
            return []
        if limit is None or not table.looks:
            table.unseated.clear()
            table.put_out.clear()
            table.limited = None
            return []
        at = min(look.at for look in table.looks.values())
        self._excuse(table, at)
        taken = (self._present(table) - table.unseated.keys()) | self._held(table, at)
        for person in sorted(table.unseated, key=table.unseated.__getitem__):
            if len(taken) >= limit:
                break
            taken.add(person)
            del table.unseated[person]
            self._forget_put_out(table, person)
            self._take_place(table, person, limit, at)
        return sorted(table.unseated, key=table.unseated.__getitem__, reverse=True)

    def _excuse(self, table: Table, at: float) -> None:
        """Let those stand no more who may have come before there was a limit: they need no seat."""
        known = table.limited
        if known is None or at - known[1] > WATCHED:
            # There may have been no limit until now, and tokens without a seat.
            table.limited = (at, at)
            table.unseated.clear()
            table.put_out.clear()
            return
        begun = known[0]
        table.limited = (begun, at)
        seated = self._held(table, at)
        for person, since in list(table.unseated.items()):
            if since < begun or person in seated:
                del table.unseated[person]

    def seated(self, room: RoomId) -> dict[Person, float | None]:
        """List a room's seats: until when each is held, None for who is there; for the store."""
        table = self._tables.get(room) or Table()
        seats: dict[Person, float | None] = {p: hold.until for p, hold in table.holds.items()}
        seats.update(dict.fromkeys(self._present(table) - table.unseated.keys()))
        return seats

    def restore(self, room: RoomId, seats: Mapping[Person, float | None], now: float) -> None:
        """Take up the seats that were written down before a restart.

        Who was there gets the grace to be seen again.
        """
        table = self._tables.setdefault(room, Table())
        for person, until in seats.items():
            table.holds[person] = Hold(now, now + self.grace if until is None else until)

    def table(self, room: RoomId) -> Table:
        """Give a copy of all that is known of a room's seats."""
        table = self._tables.get(room)
        return merged(table, table) if table else Table()

    def put_table(self, room: RoomId, table: Table) -> None:
        """Replace what is known of a room's seats; the table is ours from now on."""
        self._tables[room] = table

    def people(self, room: RoomId) -> list[Person]:
        """List who is in the room's calls by the last look."""
        table = self._tables.get(room)
        return sorted(self._present(table)) if table else []

    def taken(self, room: RoomId, now: float) -> list[Person]:
        """List who sits in the room: who is there, and for whom a seat is held."""
        table = self._tables.get(room)
        return sorted(self._present(table) | self._held(table, now)) if table else []

    def held(self, now: float) -> int:
        """Count the seats that are held, in all rooms, for people who are not there."""
        return sum(
            len(self._held(table, now) - self._present(table)) for table in self._tables.values()
        )

    def rooms(self) -> list[RoomId]:
        """List the rooms that have seats."""
        return list(self._tables)

    def sweep(self, now: float) -> None:
        """Drop what is left of rooms that nobody looks at any more and where no hold is alive."""
        for room, table in list(self._tables.items()):
            table.looks = {a: look for a, look in table.looks.items() if look.at > now - UNUSED}
            self._tidy(table, now)
            if not table.holds and not table.put_out and not self._present(table):
                del self._tables[room]
                self.on_change(room)

    def _settle_arrivals(self, table: Table, was_there: set[Person], arrivals: "_Arrivals") -> None:
        present = self._present(table)
        self._know_again(table, was_there, arrivals)
        for person, since in arrivals.new.items():
            if person not in was_there and since is not None and self._is_known(table, person):
                had_a_seat = (
                    person in self._held(table, since) or table.returning.get(person, 0.0) > since
                )
                if not had_a_seat:
                    table.unseated.setdefault(person, since)
        for person, hold in arrivals.gone.items():
            if person not in present and table.unseated.pop(person, None) is None:
                table.holds.setdefault(person, hold)
                if person in arrivals.missed:
                    self._expect_back(table, [person], arrivals.missed[person] + self.grace)
                if person in arrivals.emptied:
                    # All at once: perhaps not people have left, but LiveKit has forgotten them.
                    self._expect_back(table, [person], hold.since + self.hold)
        latest = max((look.at for look in table.looks.values()), default=0.0)
        for person in present & table.holds.keys():
            self._use_up(table, person, arrivals, latest)
        self._tidy(table, latest)

    def _know_again(self, table: Table, was_there: set[Person], arrivals: "_Arrivals") -> None:
        """Let those stand who were put out and are back, with nothing but the same tokens."""
        if not table.put_out:
            return
        for identity in table.put_out.keys() & arrivals.at.keys():
            person = self.person(identity)
            if person in was_there or person in table.holds:
                continue
            if all(each in table.put_out for each in self._identities(table, person)):
                table.unseated.setdefault(person, arrivals.at[identity])

    def _forget_put_out(
        self, table: Table, person: Person, identity: Identity | None = None
    ) -> None:
        """Forget that somebody was put out: they have a seat."""
        for each in list(table.put_out):
            if each == identity or self.person(each) == person:
                del table.put_out[each]

    def _use_up(self, table: Table, person: Person, arrivals: "_Arrivals", latest: float) -> None:
        """End the hold of one who is there, where it has served its purpose.

        Whom a token names has come in: then those that he was issued before are spent too, and
        those of the same moment. One that he was issued since the look is for what comes next.
        """
        kept, came = table.holds[person], arrivals.at
        used = [i for i, asked in kept.awaits.items() if came.get(i, -inf) >= asked]
        together = max((kept.awaits[i] for i in used), default=-inf) + TOGETHER
        spent = min(together, max((came[i] for i in used), default=-inf))
        left = {i: asked for i, asked in kept.awaits.items() if asked > spent}
        if not left and kept.since <= latest:
            del table.holds[person]
        elif len(left) < len(kept.awaits):
            firm = {i: asked for i, asked in kept.firm.items() if i in left and asked > spent}
            table.holds[person] = evolve(kept, awaits=left, firm=firm)

    def _take_place(self, table: Table, person: Person, limit: int, at: float) -> None:
        """Let the places go that were kept for returning people, where a newcomer takes them.

        One right is one seat: who may come back and who has been let in since are never more than
        the limit together.
        """
        if table.returning.pop(person, None) is not None:
            return
        taken = self._present(table) | self._held(table, at) | {person}
        waiting = [p for p in table.returning if p not in taken]
        for each in waiting[: max(0, len(taken) + len(waiting) - limit)]:
            del table.returning[each]

    def _expect_back(self, table: Table, people: Iterable[Person], until: float) -> None:
        for person in people:
            table.returning[person] = max(until, table.returning.get(person, until))

    def _present(self, table: Table) -> set[Person]:
        return {self.person(i) for look in table.looks.values() for i in look.people}

    def _held(self, table: Table, at: float) -> set[Person]:
        return {person for person, hold in table.holds.items() if hold.until > at}

    def _is_known(self, table: Table, person: Person) -> bool:
        """Tell whether we were taught who this is, for every identity that we count as him."""
        return all(self.user_of(each) is not None for each in self._identities(table, person))

    def _identities(self, table: Table, person: Person) -> list[Identity]:
        """List the identities that are there and count as this person."""
        looks = table.looks.values()
        return [i for look in looks for i in look.people if self.person(i) == person]

    def _sits(self, room: RoomId, person: Person, identity: Identity, at: float) -> bool:
        """Tell whether one has a seat already: is there, or has one held for him."""
        table = self._tables.get(room) or Table()
        if person in self._held(table, at):
            return True
        return self._is_there(table, person, identity) and not self._surely_stands(
            table, person, at
        )

    def _surely_stands(self, table: Table, person: Person, at: float) -> bool:
        """Tell whether one is there without a seat, and came when there was a limit."""
        known = table.limited
        return (
            person in table.unseated
            and known is not None
            and known[0] <= table.unseated[person]
            and at - known[1] <= WATCHED
        )

    def _is_there(self, table: Table, person: Person, identity: Identity) -> bool:
        """Tell whether this user, or the very identity their token names, is in the call.

        An identity that nobody taught us is theirs too where it starts with their user id, even
        where a device id that looks like a port makes `person` read another user off it: a rejoin
        always passes. Of one that we were taught only the teacher's word counts: `@x:s:8448:D` is
        a device of `@x:s:8448`, and lets nobody of the server `s` in.
        """
        return any(
            self._is_theirs(each, person, identity)
            for look in table.looks.values()
            for each in look.people
        )

    def _is_theirs(self, there: Identity, person: Person, identity: Identity) -> bool:
        user = self.user_of(there)
        if user is not None:
            return user == person
        return there == identity or self.person(there) == person or there.startswith(f"{person}:")

    def _tidy(self, table: Table, at: float) -> None:
        """Drop what has run out by the oldest look that a verdict could still rest on."""
        oldest = min((look.at for look in table.looks.values()), default=at)
        for person, hold in list(table.holds.items()):
            if hold.until <= min(at, oldest):
                del table.holds[person]
        table.returning = {p: until for p, until in table.returning.items() if until > at}
        table.put_out = {i: since for i, since in table.put_out.items() if since + PUT_OUT > at}


__all__ = ["Hold", "Look", "Person", "Seating", "Seats", "may_sit"]
