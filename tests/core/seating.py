"""A room with seats, and tables of seats of all kinds, for the tests of them."""

import itertools
from collections.abc import Callable, Iterator

from attrs import field, frozen
from hypothesis import strategies as st

from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.seat_table import Hold, Look, Table
from lotus_guard.core.seats import Seats

ROOM = RoomId("!r:s")
CALL, OTHER = LiveKitRoom("call"), LiveKitRoom("other")

NAMES = st.sampled_from(["@a:s", "@b:s", "@c:s", "hash", "@ü:s"])
TIMES = st.integers(0, 10**12).map(lambda micros: micros / 1e6)
IDENTITIES = st.frozensets(st.sampled_from(["@a:s:D", "@b:s:D", "x"]).map(Identity))
AWAITS = st.dictionaries(
    st.sampled_from(["@a:s:D", "@b:s:D", "x"]).map(Identity), TIMES, max_size=3
)
LOOKS = st.builds(Look, TIMES, IDENTITIES)
HOLDS = st.builds(
    lambda a, b, g, i, f: Hold(min(a, b), max(a, b), g, i, f),
    *(TIMES, TIMES, st.booleans(), AWAITS, AWAITS),
)
ALIASES = st.sampled_from(["one", "two", "three"]).map(LiveKitRoom)
TABLES = st.builds(
    Table,
    st.dictionaries(ALIASES, LOOKS),
    st.dictionaries(NAMES, HOLDS),
    st.dictionaries(NAMES, TIMES),
    st.dictionaries(NAMES, TIMES),
    st.sets(ALIASES),
    st.none() | st.tuples(TIMES, TIMES),
    AWAITS,
)


def user_of(identity: Identity) -> UserId | None:
    """Identities of these tests are `@user:s:DEVICE`; a hash is one that nobody taught us."""
    return UserId(identity.rpartition(":")[0]) if identity.startswith("@") else None


@frozen
class Told:
    """Knows whose an identity is as `tell` says; the person is the user, or `count` of it."""

    tell: Callable[[Identity], UserId | None] = user_of
    count: Callable[[Identity], str] = str
    _asked: Iterator[int] = field(init=False, factory=itertools.count, eq=False)

    @property
    def changes(self) -> int:
        """Nobody knows when the test says something else."""
        return next(self._asked)

    def user_of(self, identity: Identity) -> UserId | None:
        return self.tell(identity)

    def person(self, identity: Identity) -> str:
        return self.tell(identity) or self.count(identity)


def make(hold: float = 60.0, grace: float = 10.0) -> Seats:
    return Seats(hold, grace, Told())


def look(at: float, *people: str) -> Look:
    return Look(at, frozenset(map(Identity, people)))


def admit(seats: Seats, name: str, limit: int, at: float, device: str = "D") -> bool:
    person = f"@{name}:s"
    identity = Identity(f"{person}:{device}")
    return seats.admit(ROOM, person, identity, limit, at, at).admitted


def watched(*people: str) -> Seats:
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, *people)})
    seats.reassess(ROOM, 99)  # the live loop knows of a limit
    return seats
