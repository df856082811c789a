"""Who has a claim to be given back what we took, by LiveKit room and identity.

Several guards share their claims (`lotus_guard.memory.redis_claims`); one guard alone keeps them
here, and writes them down behind (`lotus_guard.memory.sqlite`). Losing one means only that nothing
is given back.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Protocol

from attrs import define, field

from lotus_guard.core.claim import Claim
from lotus_guard.core.lru import LruDict, weight
from lotus_guard.core.model import Identity, LiveKitRoom

Key = tuple[LiveKitRoom, Identity]
Work = Callable[[Claim | None], Claim | None]
"""What is to become of a claim; it waits for nothing, and may be done more than once."""

MOST_CLAIMS = 50_000
MOST_BYTES = 64 * 1024 * 1024
CLAIM = 1_000
"""Bytes of a claim beside its key; grants are a few texts that all share."""


@define(eq=False)
class Claims:
    """The claims at hand, bounded; the longest unused goes first."""

    on_dropped: Callable[[LiveKitRoom, Identity], None] = lambda _livekit_room, _identity: None
    """Told of each claim that there is no room for any more."""
    most: int = MOST_CLAIMS
    most_bytes: int = MOST_BYTES
    _claims: LruDict[Key, Claim] = field(init=False)
    _in: dict[LiveKitRoom, set[Identity]] = field(init=False, factory=dict)
    _lacking: dict[LiveKitRoom, set[Identity]] = field(init=False, factory=dict)
    """Those who may owe something: most rooms have nobody."""

    def __attrs_post_init__(self) -> None:
        def weigh(key: Key, _claim: Claim) -> int:
            return weight(*key) + CLAIM

        self._claims = LruDict(self.most, self._drop, self.most_bytes, weigh)

    def get(self, key: Key) -> Claim | None:
        """Look a claim up."""
        return self._claims.get(key)

    def put(self, key: Key, claim: Claim) -> None:
        """Set a claim."""
        livekit_room, identity = key
        self._claims.put(key, claim)
        self._in.setdefault(livekit_room, set()).add(identity)
        if claim.owes(-1.0):
            self._lacking.setdefault(livekit_room, set()).add(identity)
        else:
            _discard(self._lacking, livekit_room, identity)

    def forget(self, livekit_rooms: Iterable[LiveKitRoom]) -> None:
        """Drop all claims of LiveKit rooms that are long finished."""
        for livekit_room in livekit_rooms:
            for identity in self._in.pop(livekit_room, set()):
                self._claims.pop((livekit_room, identity))
            self._lacking.pop(livekit_room, None)

    def clear(self) -> None:
        """Drop all of them."""
        self.forget(list(self._in))

    def identities_in(self, livekit_room: LiveKitRoom) -> frozenset[Identity]:
        """Who has a claim in a LiveKit room."""
        return frozenset(self._in.get(livekit_room, ()))

    def owes(self, livekit_room: LiveKitRoom, now: float) -> bool:
        """Whether somebody there holds less than upstream granted, or may soon come with less."""
        found = (self._claims.peek((livekit_room, i)) for i in self._lacking.get(livekit_room, ()))
        return any(claim is not None and claim.owes(now) for claim in found)

    def items(self) -> Iterator[tuple[Key, Claim]]:
        """All of them, longest unused first."""
        return self._claims.items()

    def __len__(self) -> int:
        return len(self._claims)

    def _drop(self, key: Key, _claim: Claim) -> None:
        _discard(self._in, *key)
        _discard(self._lacking, *key)
        self.on_dropped(*key)


def _discard(
    table: dict[LiveKitRoom, set[Identity]], livekit_room: LiveKitRoom, identity: Identity
) -> None:
    identities = table.get(livekit_room)
    if identities is not None:
        identities.discard(identity)
        if not identities:
            del table[livekit_room]


class ClaimStore(Protocol):
    """Takes in changes of claims, so that all guards know the same ones."""

    claims: Claims

    async def change(self, key: Key, work: Work) -> Claim | None:
        """Do a piece of work on a claim and return the claim after it; None where there is none.

        Raises Outage where the others cannot be told.
        """
        ...

    async def find(self, key: Key, sid: str) -> Claim | None:
        """Look up the claim of a session that was seen; raises Outage."""
        ...

    async def load(self, livekit_rooms: Collection[LiveKitRoom], again: bool = False) -> None:
        """Read what the others know of LiveKit rooms: once, or again; raises Outage."""
        ...

    def step_down(self) -> None:
        """Take note that another guard leads: what it does to claims is not told here."""
        ...

    def forget(self, livekit_rooms: Collection[LiveKitRoom]) -> None:
        """Drop the claims of LiveKit rooms that are long finished."""
        ...


@define(eq=False)
class LocalClaims:
    """The claims of a guard that shares them with nobody."""

    claims: Claims
    keep: Callable[[Key, Claim], None]
    """Writes one down, soon."""

    async def change(self, key: Key, work: Work) -> Claim | None:
        """Do the work at once."""
        before = self.claims.get(key)
        claim = work(before)
        if claim is not None and claim != before:
            self.claims.put(key, claim)
            self.keep(key, claim)
        return claim

    async def find(self, key: Key, _sid: str) -> Claim | None:
        """Look it up."""
        return self.claims.get(key)

    async def load(self, livekit_rooms: Collection[LiveKitRoom], again: bool = False) -> None:
        """Do nothing: all is known here."""

    def step_down(self) -> None:
        """Do nothing: nobody else leads."""

    def forget(self, livekit_rooms: Collection[LiveKitRoom]) -> None:
        """Drop them; what is written down goes with the LiveKit room."""
        self.claims.forget(livekit_rooms)
