"""The claims that several guards share: a compare-and-set of one identity's claim in Redis.

Any guard issues tokens, one of them looks and gives: a change is made on the claim as it is here,
and made again where another guard was faster. Where Redis does not answer, it is made here alone,
and nothing is given back on it.
"""

from collections.abc import Callable, Collection

from attrs import define, field

from lotus_guard.core.claim import Claim
from lotus_guard.core.claim_json import read_claim, write_claim
from lotus_guard.core.ids import MOST_NAME, fits
from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import Identity, LiveKitRoom
from lotus_guard.enforce.claims import Claims, Key, Work
from lotus_guard.enforce.deferreds import gather_bounded
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.memory.redis_keys import PIECE, Keyspace, in_background
from lotus_guard.memory.redis_scripts import CLAIM

KEEP_MILLISECONDS = 7 * 86400 * 1000
"""How long Redis keeps the claims of a LiveKit room that nobody changes."""
MOST_TRIES = 20
MOST_LOADED, AT_ONCE = 500, 16
"""Of LiveKit rooms that are new to the guard that leads, so many are read at a time."""


@define(eq=False)
class RedisClaims:
    """Changes claims in Redis; those at hand are a copy."""

    keys: Keyspace
    epoch: Callable[[], float]
    """Seconds since 1970 by LiveKit's clock."""
    claims: Claims = field(init=False)
    _there: dict[Key, str] = field(init=False, factory=dict)
    """What is in Redis of those at hand, as far as we know."""
    _unclaimed: LruDict[Key, str] = field(init=False, factory=lambda: LruDict(20_000))
    """Sessions of which is known that there is no claim; one comes with a new session only."""
    _loaded: set[LiveKitRoom] = field(init=False, factory=set)

    def __attrs_post_init__(self) -> None:
        self.claims = Claims(self._dropped)

    async def change(self, key: Key, work: Work) -> Claim | None:
        """Do a piece of work on a claim; raises Outage where Redis did not take it in."""
        claim = self.claims.get(key)
        for _ in range(MOST_TRIES):
            before, claim = claim, work(claim)
            if claim is None or claim == before:
                return claim
            try:
                there = await self._offer(key, write_claim(claim))
            except Outage:
                self.claims.put(key, claim)
                raise
            if there is None:
                self.claims.put(key, claim)
                return claim
            claim = self._take_up(key, there)
        raise Outage(Reason.BUSY, "other guards kept changing the same entry")

    async def _offer(self, key: Key, body: str) -> str | None:
        """Offer a claim; None where Redis took it in, else what is there instead."""
        livekit_room, identity = key
        arguments = (identity, self._there.get(key, ""), body, KEEP_MILLISECONDS)
        there = await self.keys.script(CLAIM, [f"claims:{livekit_room}"], arguments)
        if there:
            return str(there[0])
        self._there[key] = body
        return None

    def _take_up(self, key: Key, body: str) -> Claim | None:
        """Take up what is in Redis; None where it has lost it."""
        if not body:
            self._there.pop(key, None)
            return None
        claim = read_claim(body)
        self.claims.put(key, claim)
        self._there[key] = body
        return claim

    async def find(self, key: Key, sid: str) -> Claim | None:
        """Look up the claim of a session; raises Outage."""
        claim = self.claims.get(key)
        if claim is not None or self._unclaimed.get(key) == sid:
            return claim
        livekit_room, identity = key
        body = await self.keys.command("HGET", f"claims:{livekit_room}", identity)
        if body is None:
            self._unclaimed.put(key, sid)
            return None
        return self._take_up(key, str(body))

    async def load(self, livekit_rooms: Collection[LiveKitRoom], again: bool = False) -> None:
        """Read the claims in LiveKit rooms, all that are new to this guard or these once more."""
        self._loaded &= set(livekit_rooms) if not again else self._loaded
        wanted = [each for each in livekit_rooms if again or each not in self._loaded]
        await gather_bounded(AT_ONCE, map(self._load, wanted[:MOST_LOADED]))

    async def _load(self, livekit_room: LiveKitRoom) -> None:
        async for identity, body in self.keys.pairs(f"claims:{livekit_room}"):
            key = (livekit_room, Identity(identity))
            if fits(identity, MOST_NAME) and self._there.get(key) != body:
                self._take_up(key, body)
                claim = self.claims.get(key)
                if claim is not None:
                    self.claims.put(key, claim.awaited(self.epoch()))
        self._loaded.add(livekit_room)

    def step_down(self) -> None:
        """Drop all: what another guard does to claims is not told here."""
        if len(self.claims) or self._loaded:
            self.claims.clear()
            self._there.clear()
            self._loaded.clear()

    def forget(self, livekit_rooms: Collection[LiveKitRoom]) -> None:
        """Drop the claims of LiveKit rooms that are long finished, in Redis too."""
        self.claims.forget(livekit_rooms)
        gone = set(livekit_rooms)
        for key in [key for key in self._there if key[0] in gone]:
            del self._there[key]
        if livekit_rooms:
            in_background(self._delete([f"claims:{each}" for each in livekit_rooms]))

    async def _delete(self, names: list[str]) -> None:
        for start in range(0, len(names), PIECE):
            first, *others = names[start : start + PIECE]
            await self.keys.command("DEL", first, *map(self.keys.key, others))

    def _dropped(self, livekit_room: LiveKitRoom, identity: Identity) -> None:
        self._there.pop((livekit_room, identity), None)
