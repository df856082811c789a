"""Who is in a room without a seat, and who gets a free one.

Whoever was put out and comes back is known by their identity, as long as no token has been given to
them since: they have the very one that they came in with before. Of anybody else any doubt is for
them (`core.seat_arrivals`).
"""

from collections.abc import Collection, Mapping
from collections.abc import Set as AbstractSet

from lotus_guard.core.holds import Person
from lotus_guard.core.model import Identity
from lotus_guard.core.seat_table import WATCHED, Table, WhoIs

MOST_PUT_OUT = 256
"""So many are known in one room; the first to be put out are forgotten first."""


def reassess(
    table: Table, limit: int | None, who: WhoIs, exempt: Collection[Person] = ()
) -> list[Person]:
    """Seat the unseated while seats last, longest there first; returns the rest, newest first.

    `limit` None, for no limit as for one that is not known for certain, seats everybody. Whoever is
    exempt from it is seated first, in a full room too: nobody is put out for them.
    """
    if limit is None or not table.looks:
        table.unseated.clear()
        table.put_out.clear()
        table.limited = None
        return []
    at = min(look.at for look in table.looks.values())
    _excuse(table, at)
    taken = set(table.held(at)) | (table.present(who) - table.unseated.keys())
    longest_there = sorted(table.unseated, key=table.unseated.__getitem__)
    for person in sorted(longest_there, key=lambda each: each not in exempt):
        if len(taken) >= limit and person not in exempt:
            break
        taken.add(person)
        del table.unseated[person]
        forget_put_out(table, person, None, who)
        take_place(table, person, None if person in exempt else limit, at, who)
    return sorted(table.unseated, key=table.unseated.__getitem__, reverse=True)


def _excuse(table: Table, at: float) -> None:
    """Take from the unseated who may have come before there was a limit: they need no seat."""
    known = table.limited
    if known is None or at - known[1] > WATCHED:
        # There may have been no limit until now, and tokens without a seat.
        table.limited = (at, at)
        table.unseated.clear()
        table.put_out.clear()
        return
    begun = known[0]
    table.limited = (begun, at)
    seated = table.held(at)
    for person, since in list(table.unseated.items()):
        if since < begun or person in seated:
            del table.unseated[person]


def put_out(table: Table, identity: Identity, now: float, who: WhoIs) -> None:
    """Remember who was put out, unless a seat was given to them just then."""
    if who.person(identity) in table.holds:
        return
    table.put_out.pop(identity, None)
    table.put_out[identity] = now
    for oldest in sorted(table.put_out, key=table.put_out.__getitem__)[:-MOST_PUT_OUT]:
        del table.put_out[oldest]


def know_again(
    table: Table, was_there: AbstractSet[Person], came: Mapping[Identity, float], who: WhoIs
) -> None:
    """Find those unseated who were put out and are back, with nothing but the same tokens."""
    for identity in table.put_out.keys() & came.keys():
        person = who.person(identity)
        if person in was_there or person in table.holds:
            continue
        if all(each in table.put_out for each in table.identities(person, who)):
            table.unseated.setdefault(person, came[identity])


def forget_put_out(table: Table, person: Person, identity: Identity | None, who: WhoIs) -> None:
    """Forget that somebody was put out: they have a seat."""
    for each in list(table.put_out):
        if each == identity or who.person(each) == person:
            del table.put_out[each]


def take_place(table: Table, person: Person, limit: int | None, at: float, who: WhoIs) -> None:
    """Let the places go that were kept for returning people, where a newcomer takes them.

    One right is one seat: who may come back and who has been let in since are never more than
    the limit together. `limit` None for a newcomer who needs no place.
    """
    if table.returning.pop(person, None) is not None or limit is None or not table.returning:
        return
    taken = table.present(who) | table.held(at) | {person}
    waiting = [p for p in table.returning if p not in taken]
    for each in waiting[: max(0, len(taken) + len(waiting) - limit)]:
        del table.returning[each]
