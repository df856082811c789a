"""What the homeserver says of rooms, remembered: fresh for a moment, usable longer in an outage.

One look-up serves all who ask at once. What is begun before somebody vouches for it has bounds.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from math import inf
from typing import Generic, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import RoomId
from lotus_guard.enforce.deferreds import SingleFlight
from lotus_guard.enforce.patience import OutOfPatience, Patience, waited
from lotus_guard.enforce.ports import Homeserver, Now, Outage

V = TypeVar("V")

MOST_ROOMS = 20_000
MOST_AHEAD = 8
"""How many look-ups nobody has vouched for yet may be under way at once."""


@frozen
class Kept(Generic[V]):
    """What a room has, and when the look-up that read it was begun."""

    value: V
    at: float


@frozen
class Freshness:
    """For how long what is remembered is used."""

    max_age: Callable[[], float]
    """Seconds for which it is served without asking again; longer while Synapse pushes changes."""
    stale: float
    """Seconds for which what was known last may be used while Synapse is out."""
    is_told: Callable[[], bool] = lambda: False
    """Whether Synapse tells us of changes by itself."""


@define(eq=False)
class Remembered(ABC, Generic[V]):
    """One thing that the homeserver knows of each room."""

    homeserver: Homeserver
    background: Homeserver
    """The same for background work: nobody with a deadline waits in its queue."""
    freshness: Freshness
    now: Now
    _kept: LruDict[RoomId, Kept[V]] = field(init=False)
    _outdated: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    """When the homeserver said that a room has something else, and not what."""
    _flights: SingleFlight[tuple[RoomId, bool], Kept[V]] = field(init=False, factory=SingleFlight)

    def __attrs_post_init__(self) -> None:
        self._kept = LruDict(MOST_ROOMS, weigh=lambda _room, kept: self.bytes_of(kept.value))

    @abstractmethod
    async def look_up(self, room: RoomId, homeserver: Homeserver) -> Kept[V]:
        """Ask the homeserver once, and take in what it says; raises Outage."""

    def bytes_of(self, value: V) -> int:
        """How many bytes a value takes beside its entry, where that is the clients' choice."""
        return 0

    def ahead(self, room: RoomId) -> V | None:
        """Begin a look-up that will soon be needed, unless what we have is fresh.

        Returns what `last` does. Whoever asks here has proved nothing yet, so only a few run at
        once: a flood of invented rooms must not delay the look-ups of those whom upstream has
        vouched for.
        """
        kept = self._fresh(room)
        if kept is not None:
            return kept.value
        if len(self._flights) < MOST_AHEAD:
            key = (room, False)
            self._flights.begin(key, lambda: self.look_up(room, self.homeserver), Outage)
        return self.last(room)

    async def get(
        self,
        room: RoomId,
        max_age: float | None = None,
        in_background: bool = False,
        patience: Patience | None = None,
    ) -> V:
        """Find what a room has, asking Synapse where what we have is not fresh.

        `max_age` in seconds replaces the ordinary one. Raises Outage where Synapse does not
        answer; what was known last is then in `last`.
        """
        kept = self._fresh(room, max_age)
        if kept is None:
            oldest = self._oldest(room, max_age)
            kept = await self._asked(room, in_background, patience)
            if kept.at < oldest:
                # We joined a look-up that was begun too early, while upstream was at work.
                kept = await self._asked(room, in_background, patience)
        return kept.value

    def at_hand(self, room: RoomId) -> V | None:
        """What a room has where what we have is fresh; None: it must be asked for."""
        kept = self._fresh(room)
        return kept.value if kept else None

    def keep(self, room: RoomId, kept: Kept[V]) -> bool:
        """Take something in; False where we have a newer one, and nothing changes."""
        before = self._kept.peek(room)
        if before and before.at > kept.at:
            return False
        self._kept.put(room, kept)
        return True

    def kept(self, room: RoomId) -> Kept[V] | None:
        """What was read last, however old."""
        return self._kept.get(room)

    def outdated(self, room: RoomId) -> None:
        """The homeserver has something else than what we know: it is asked when next needed.

        Until it answers, what is known serves as in an outage.
        """
        self._outdated.put(room, self.now())

    def is_outdated(self, room: RoomId) -> bool:
        """Whether the homeserver said so since it was read."""
        kept = self._kept.get(room)
        return kept is not None and kept.at < (self._outdated.get(room) or -inf)

    def sweep(self) -> None:
        """Drop what is too old to be used, even during an outage."""
        oldest = self.now() - max(self.freshness.stale, self.freshness.max_age())
        for room, kept in self._kept.items():
            if kept.at < oldest:
                self._kept.pop(room)

    def last(self, room: RoomId) -> V | None:
        """What was known last, if it is not too old to be used during an outage."""
        kept = self._kept.get(room)
        return kept.value if kept and self.now() - kept.at <= self.freshness.stale else None

    def age(self, room: RoomId) -> float | None:
        """How many seconds ago it was read; None where it never was."""
        kept = self._kept.get(room)
        return self.now() - kept.at if kept else None

    def is_fresh(self, room: RoomId, max_age: float | None = None) -> bool:
        """Whether `get` would not have to ask."""
        return self._fresh(room, max_age) is not None

    async def ask_neutrally(self) -> None:
        """Ask a question no client can have a hand in; raises Outage."""
        await self.background.ping()

    def _fresh(self, room: RoomId, max_age: float | None = None) -> Kept[V] | None:
        """What may be served without asking."""
        kept = self._kept.get(room)
        return kept if kept and kept.at >= self._oldest(room, max_age) else None

    def _oldest(self, room: RoomId, max_age: float | None) -> float:
        """When what is used must have been asked for at the earliest."""
        usual = self.now() - (self.freshness.max_age() if max_age is None else max_age)
        outdated = self._outdated.peek(room)
        return usual if outdated is None or outdated < usual else outdated

    async def _asked(self, room: RoomId, in_background: bool, patience: Patience | None) -> Kept[V]:
        joined = (room, in_background) in self._flights
        try:
            return await waited(self._join(room, in_background), patience, "Synapse")
        except OutOfPatience:
            raise
        except Outage:
            if not joined:
                raise
        # Somebody else's look-up failed, begun before we asked: that was not our try.
        return await waited(self._join(room, in_background), patience, "Synapse")

    def _join(self, room: RoomId, in_background: bool) -> Deferred[Kept[V]]:
        homeserver = self.background if in_background else self.homeserver
        key = (room, in_background)
        return self._flights.join(key, lambda: self.look_up(room, homeserver))
