"""What new looks at a room change: who came, who went, and what becomes of the seats held for them.

Three rules keep the count right although looks are old by the time they are used:

- A hold is judged by the moment of the look it is added to, not by now: a user who came in after
  the look, on a hold that has run out since, would otherwise be counted nowhere.
- A look ends only holds that were made before it was begun, and those for a token only if it shows
  them come whom the token names, or one that was issued later or in the same moment. That the user
  is there already is no such thing: they may be on their way out with one device, or with one
  connection, and on their way in with the next.
- A look older than the one we have changes nothing.

And one keeps us from throwing out anybody who may be in the right: somebody is unseated only if we
were watching when they came in, know who they are, know that they were not there a moment before,
and there was a limit already: where there was none they got their token without a seat.
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from math import inf

from attrs import define, evolve, field

from lotus_guard.core.holds import Person
from lotus_guard.core.model import Identity, LiveKitRoom
from lotus_guard.core.seat_table import WATCHED, Hold, Look, Table, WhoIs
from lotus_guard.core.unseated import know_again

TOGETHER = 2.0
"""Tokens that are issued to a user at most so many seconds apart are for one coming in.

Element Call asks for three or four within half a second, at both endpoints, and uses one
(docs/facts.md, Element Call: asking for a token); the homeserver that vouches for each may take
longer for one than for another."""


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
        """Note one who is new in a LiveKit room; any doubt of when they came is for them."""
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


def take_in(
    table: Table, looks: Mapping[LiveKitRoom, Look], who: WhoIs, hold: float, grace: float
) -> None:
    """Take in who is in the room's LiveKit rooms.

    `hold` and `grace`: seconds for which a seat is kept for an issued token, and for a user whose
    last device has gone.
    """
    was_there = table.present(who)
    arrivals = _Arrivals()
    for livekit_room, look in looks.items():
        _compare(table, livekit_room, look, who, grace, arrivals)
    know_again(table, was_there, arrivals.at, who)
    _find_unseated(table, was_there, arrivals, who)
    present = table.present(who)
    _keep_seats(table, present, arrivals, hold, grace)
    latest = max((look.at for look in table.looks.values()), default=0.0)
    for person in present & table.holds.keys():
        _use_up(table, person, arrivals.at, latest)
    table.tidy(latest)


def _compare(
    table: Table,
    livekit_room: LiveKitRoom,
    look: Look,
    who: WhoIs,
    grace: float,
    arrivals: _Arrivals,
) -> None:
    """Take a newer look in the place of the one before, and note what is different."""
    before = table.looks.get(livekit_room)
    if before and before.at >= look.at:
        return
    watched = (
        before is not None
        and look.at - before.at <= WATCHED
        and livekit_room not in table.unwatched
    )
    for identity in look.people - (before.people if before else frozenset()):
        since = before.at if before and watched else None
        arrivals.came(identity, who.person(identity), since, look.at)
    if before:
        left = {who.person(identity) for identity in before.people - look.people}
        arrivals.left(left, before.at, look, grace)
    table.looks[livekit_room] = look
    table.unwatched.discard(livekit_room)


def _find_unseated(
    table: Table, was_there: AbstractSet[Person], arrivals: _Arrivals, who: WhoIs
) -> None:
    for person, since in arrivals.new.items():
        if person not in was_there and since is not None and table.is_known(person, who):
            had_a_seat = person in table.held(since) or table.returning.get(person, 0.0) > since
            if not had_a_seat:
                table.unseated.setdefault(person, since)


def _keep_seats(
    table: Table, present: AbstractSet[Person], arrivals: _Arrivals, hold: float, grace: float
) -> None:
    """Keep a seat for those who have gone, unless they had none."""
    for person, kept in arrivals.gone.items():
        if person in present or table.unseated.pop(person, None) is not None:
            continue
        table.holds.setdefault(person, kept)
        if person in arrivals.missed:
            table.expect_back([person], arrivals.missed[person] + grace)
        if person in arrivals.emptied:
            # All at once: perhaps not people have left, but LiveKit has forgotten them.
            table.expect_back([person], kept.since + hold)


def _use_up(table: Table, person: Person, came: Mapping[Identity, float], latest: float) -> None:
    """End the hold of one who is there, where it has served its purpose.

    Whom a token names has come in: then those that they were issued before are spent too, and
    those of the same moment. One that they were issued since the look is for what comes next.
    """
    kept = table.holds[person]
    used = [i for i, asked in kept.awaits.items() if came.get(i, -inf) >= asked]
    together = max((kept.awaits[i] for i in used), default=-inf) + TOGETHER
    spent = min(together, max((came[i] for i in used), default=-inf))
    left = {i: asked for i, asked in kept.awaits.items() if asked > spent}
    if not left and kept.since <= latest:
        del table.holds[person]
    elif len(left) < len(kept.awaits):
        firm = {i: asked for i, asked in kept.firm.items() if i in left and asked > spent}
        table.holds[person] = evolve(kept, awaits=left, firm=firm)
