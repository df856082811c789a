"""What is known of the seats of one Matrix room.

A *look* is one ListParticipants answer, dated with the moment the call was begun. A *hold* keeps
a seat: for the user of a token that was just issued, until the identity in it has come in, and for
a user whose last device has just gone. Whoever is there without ever having had a seat is
*unseated*: they came with an old token.
"""

from collections.abc import Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Protocol

from attrs import Factory, define, field, frozen

from lotus_guard.core.holds import Holds, Person
from lotus_guard.core.model import Identity, LiveKitRoom, UserId

WATCHED = 30.0
"""Looks at most so many seconds apart count as watching: over a longer gap anybody may come."""

PUT_OUT = 3660.0
"""Seconds for which those are known who were put out: a token's life, and LiveKit's leeway."""


class WhoIs(Protocol):
    """Knows whose an identity is."""

    @property
    def changes(self) -> int:
        """Another number whenever it may say something else of anybody than before."""
        ...

    def user_of(self, identity: Identity) -> UserId | None:
        """The user of an identity, where an issued token has told us."""
        ...

    def person(self, identity: Identity) -> Person:
        """The person to count for an identity."""
        ...


@frozen
class Hold:
    """A seat kept for somebody who is not there, from `since` until `until`."""

    since: float
    until: float
    is_grace: bool = False
    """Kept for one who was there and has gone, not for a token."""
    awaits: Mapping[Identity, float] = field(factory=dict)
    """Whom its tokens name, and when each was issued: it is used up by their coming in. Empty, for
    a seat that is kept for no token we know: anybody of the person's uses it up."""
    firm: Mapping[Identity, float] = field(
        default=Factory(lambda self: self.awaits, takes_self=True)
    )
    """When those were issued last that were asked for by one who was not there: on the way in, they
    keep the seat whatever another device of the person's does."""


@frozen
class Look:
    """Who was in a LiveKit room when we asked at `at`."""

    at: float
    people: frozenset[Identity]


def _own_holds(holds: Mapping[Person, Hold]) -> Holds[Hold]:
    return Holds(holds)


@define
class Table:
    """The seats of one Matrix room."""

    looks: dict[LiveKitRoom, Look] = field(factory=dict)
    holds: Holds[Hold] = field(factory=Holds, converter=_own_holds)
    unseated: dict[Person, float] = field(factory=dict)
    """When we first saw those who came in without a seat."""
    returning: dict[Person, float] = field(factory=dict)
    """Until when those may come back whom we lost sight of all at once."""
    unwatched: set[LiveKitRoom] = field(factory=set)
    """LiveKit rooms of which a look failed: who is new in the next one may have been there."""
    limited: tuple[float, float] | None = None
    """From when until when the live loop has known of a limit in every look."""
    put_out: dict[Identity, float] = field(factory=dict)
    """When those were put out to whom no token has been given since."""
    _present: tuple[tuple[object, ...], frozenset[Person]] = field(
        default=((), frozenset()), init=False, eq=False, repr=False
    )
    """What `present` found last, behind what it follows from."""

    def present(self, who: WhoIs) -> frozenset[Person]:
        """Everybody who is there by the last looks.

        Asked for several times of each token, in a room of hundreds as well.
        """
        basis = (who.changes, *self.looks.values())
        if self._present[0] != basis:
            there = frozenset(who.person(i) for look in self.looks.values() for i in look.people)
            self._present = (basis, there)
        return self._present[1]

    def copy(self) -> "Table":
        """A table of its own; what is in it cannot be changed in place, and is the same."""
        return Table(
            dict(self.looks),
            self.holds,
            dict(self.unseated),
            dict(self.returning),
            set(self.unwatched),
            self.limited,
            dict(self.put_out),
        )

    def identities(self, person: Person, who: WhoIs) -> list[Identity]:
        """The identities that are there and count as this person."""
        return [i for look in self.looks.values() for i in look.people if who.person(i) == person]

    def is_known(self, person: Person, who: WhoIs) -> bool:
        """Whether issued tokens have named every identity that we count as this person."""
        return all(who.user_of(each) is not None for each in self.identities(person, who))

    def is_there(self, person: Person, identity: Identity, who: WhoIs) -> bool:
        """Whether this user, or the very identity their token names, is in the call.

        An identity of which no token has told us is theirs too where it starts with their user id,
        even where a device id that looks like a port makes `person` read another user off it: a
        rejoin always passes. Of one that we were told of only that counts: `@x:s:8448:D` is a
        device of `@x:s:8448`, and lets nobody of the server `s` in.
        """
        if person in self.present(who):
            return True
        device = f"{person}:"
        return any(
            (each == identity or each.startswith(device)) and who.user_of(each) is None
            for look in self.looks.values()
            for each in look.people
        )

    def is_on(self, at: float, who: WhoIs) -> bool:
        """Whether anybody is there with a seat, or was and may come back."""
        return (
            not self.present(who) <= self.unseated.keys()
            or any(until > at for until in self.returning.values())
            or any(hold.is_grace and hold.until > at for hold in self.holds.values())
        )

    def held(self, at: float) -> AbstractSet[Person]:
        """Everybody for whom a seat is held at this moment; to be used at once."""
        return self.holds.alive(at)

    def sits(self, person: Person, identity: Identity, at: float, who: WhoIs) -> bool:
        """Whether one is there, or has a seat held, and is not there without one for certain."""
        hold = self.holds.get(person)
        if hold is not None and hold.until > at:
            return True
        return self.is_there(person, identity, who) and not self.is_surely_unseated(person, at)

    def is_surely_unseated(self, person: Person, at: float) -> bool:
        """Whether one is there without a seat, and came when there was a limit."""
        known = self.limited
        return (
            person in self.unseated
            and known is not None
            and known[0] <= self.unseated[person]
            and at - known[1] <= WATCHED
        )

    def expect_back(self, people: Iterable[Person], until: float) -> None:
        """Let these people come back until then, as if they had a seat."""
        for person in people:
            self.returning[person] = max(until, self.returning.get(person, until))

    def tidy(self, at: float) -> None:
        """Drop what has run out by the oldest look that a verdict could still rest on."""
        oldest = min((look.at for look in self.looks.values()), default=at)
        for person, hold in list(self.holds.items()):
            if hold.until <= min(at, oldest):
                del self.holds[person]
        self.returning = {p: until for p, until in self.returning.items() if until > at}
        self.put_out = {i: since for i, since in self.put_out.items() if since + PUT_OUT > at}
