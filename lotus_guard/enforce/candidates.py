"""Which rooms the live loop could work on: those in which somebody is, or will soon be.

LiveKit's count of the people in a room is up to five seconds old (docs/facts.md, LiveKit: API): by
it alone, whoever has just come would be missed.
"""

from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet

from attrs import define, field

from lotus_guard.core.directory import Directory
from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import LiveKitRoom, RoomId
from lotus_guard.enforce.policies import AllPolicies
from lotus_guard.enforce.ports import Now
from lotus_guard.enforce.rota import INVENTED, OTHERS, RESTRICTED, Candidate, Class

EXPECTED = 10.0
"""Seconds for which a room counts as in use after a token for it was issued, or LiveKit has said
that somebody is there."""
JUST_LOOKED_UP = 1.0
"""Seconds for which a room in which nobody is yet needs no poll after its policy was looked up."""
MOST_ROOMS = 20_000


@define(eq=False)
class Candidates:
    """Knows in which rooms to look for people."""

    directory: Directory
    policies: AllPolicies
    pushing: Callable[[], bool]
    """Whether Synapse tells us of changed policies by itself."""
    now: Now
    owes: Callable[[RoomId], bool] = lambda _room: False
    """Whether there may be somebody to whom something is to be given back."""
    _expected: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    """When a token was issued for a room."""
    _heard: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    """When LiveKit last said, unasked, that somebody is in a room."""

    def expect(self, room: RoomId) -> None:
        """Note that somebody was issued a token for a room and will soon be in it."""
        self._expected.put(room, self.now())

    def heard(self, room: RoomId) -> None:
        """Note that LiveKit said, unasked, that somebody is in a room."""
        self._heard.put(room, self.now())

    def of(
        self,
        counts: Mapping[LiveKitRoom, int],
        people: Mapping[RoomId, int],
        limited: AbstractSet[RoomId],
    ) -> Iterable[Candidate]:
        """List the rooms in which somebody is, was at the last look, or will soon be.

        `counts` is LiveKit's count of who is where, `people` who was seen in rooms with a policy
        at the last look, `limited` the rooms of which a limit was known then.
        """
        now = self.now()
        for room, count in self._people(counts).items():
            has_people = bool(count or people.get(room) or self._is_recent(self._heard, room, now))
            if has_people or self._is_recent(self._expected, room, now):
                kind = self._kind(room, has_people, room in limited)
                if kind is not None:
                    yield Candidate(room, has_people, kind, self.policies.read_at(room))

    def occupied(self, counts: Mapping[LiveKitRoom, int]) -> list[RoomId]:
        """List the rooms in which somebody may be, whether a policy restricts them or not."""
        now = self.now()
        return [
            room
            for room, count in self._people(counts).items()
            if count
            or self._is_recent(self._heard, room, now)
            or self._is_recent(self._expected, room, now)
        ]

    def _people(self, counts: Mapping[LiveKitRoom, int]) -> dict[RoomId, int]:
        """Count who is in each Matrix room, over its LiveKit rooms."""
        found: dict[RoomId, int] = {}
        for livekit_room, count in counts.items():
            binding = self.directory.binding_of(livekit_room)
            if binding:
                found[binding.room] = found.get(binding.room, 0) + count
        return found

    def is_invented(self, room: RoomId) -> bool:
        """Whether the homeserver does not know a room: somebody has invented it."""
        return self.policies.is_unknown(room)

    def _kind(self, room: RoomId, has_people: bool, was_limited: bool) -> Class | None:
        """How a room is to be polled; None where it needs no work."""
        if self.policies.restricts(room) or self.owes(room):
            return RESTRICTED
        if self.pushing() and not self.policies.may_restrict(room):
            return None  # most rooms have no policy, and a push would have said
        if self.is_invented(room):
            return INVENTED
        age = self.policies.age(room)
        is_fresh = age is not None and age <= JUST_LOOKED_UP and not was_limited
        return OTHERS if has_people or not is_fresh else None

    def _is_recent(self, times: LruDict[RoomId, float], room: RoomId, now: float) -> bool:
        at = times.get(room)
        return at is not None and now - at <= EXPECTED
