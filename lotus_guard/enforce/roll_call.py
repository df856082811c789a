"""Who is in the LiveKit rooms of a Matrix room, whatever they have written there.

Participants write much of what LiveKit answers about a room, some of it without a bound. So one
look has one allowance of bytes, over all the LiveKit rooms of a Matrix room. A LiveKit room whose
list is longer is *flooded* and read piecewise: one small question for each who was there before or
has been issued a token. A participant who says too much for that is there, and
loud (`Curb` in rules/plan.py).

Where a room's answer fails, LiveKit is asked something that no client has a hand in. If it answers
that, what failed is the room's, and so its clients' doing: Flooded, not Outage.
"""

from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence

from attrs import define, evolve, field
from twisted.internet.interfaces import IReactorTime

from lotus_guard.core.directory import Directory
from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import Attendance, Identity, LiveKitRoom, Participant
from lotus_guard.enforce.deferreds import gather_bounded, with_timeout
from lotus_guard.enforce.identity_quota import LIFE
from lotus_guard.enforce.ports import (
    Allowance,
    Flooded,
    NotAsked,
    Now,
    Outage,
    Oversized,
    Reason,
    RoomService,
)

MOST_BYTES = 8 * 1024 * 1024
"""Of the lists of one look at a Matrix room, and again of what is read piecewise. An honest
participant takes 1 to 4 KiB."""
LOUD = 32 * 1024
"""Bytes. A participant who takes more, in a room that cannot be read, is part of the reason: 256 of
them are too many."""
MOST_ASKED = 512
"""So many participants are asked after one by one in one look."""
AT_ONCE = 2
"""How many questions of one look are under way; see `load_shedding.TOKENS`."""
LISTS, NEUTRAL = 0.6, 0.2
"""Parts of the deadline: for the lists, and for the question that no client has a hand in."""
KEPT_OUT = 10.0
"""Seconds for which the list of a flooded LiveKit room is not asked for again."""

Before = Mapping[LiveKitRoom, Attendance]
"""Who was in each LiveKit room when it was looked at last."""


@define
class _Budget:
    """What one look may still cost, over all the LiveKit rooms of a Matrix room."""

    lists: Allowance = field(factory=lambda: Allowance(MOST_BYTES))
    pieces: Allowance = field(factory=lambda: Allowance(MOST_BYTES))
    questions: Allowance = field(factory=lambda: Allowance(MOST_ASKED))


@define(eq=False)
class _OneByOne:
    """Asks after one participant of a LiveKit room at a time, and notes who cannot be read.

    A participant who takes too long to read twice in a row, while LiveKit answers another question
    at once, is as loud as one who says too much.
    """

    service: RoomService
    livekit_room: LiveKitRoom
    budget: _Budget
    slow_before: Collection[Identity]
    """Who took too long in the look before."""
    doubt: Callable[[Outage], Awaitable[None]]
    """Raises the outage, unless it is the room's clients' doing."""
    loud: list[Identity] = field(init=False, factory=list)
    slow: list[Identity] = field(init=False, factory=list)
    left_out: list[Identity] = field(init=False, factory=list)
    """Who was not asked after: the budget is spent."""

    async def ask(self, identity: Identity) -> Participant | None:
        """Ask after a participant; None where they are not there or cannot be read."""
        if self.budget.pieces.left < LOUD or not self.budget.questions.take(1):
            self.left_out.append(identity)
            return None
        allowance = Allowance(LOUD)
        try:
            return await self.service.participant(self.livekit_room, identity, allowance)
        except Oversized:
            self.loud.append(identity)
        except Outage as outage:
            await self.doubt(outage)
            is_loud = outage.reason is Reason.TIMEOUT and identity in self.slow_before
            (self.loud if is_loud else self.slow).append(identity)
        finally:
            self.budget.pieces.take(LOUD - allowance.left)
        return None


@define(eq=False)
class RollCall:
    """Asks who is there."""

    directory: Directory
    clock: IReactorTime
    now: Now
    seconds: float
    """The deadline of a whole look that somebody waits for."""
    _flooded: LruDict[LiveKitRoom, float] = field(init=False, factory=lambda: LruDict(10_000))
    """The LiveKit rooms whose lists were too long or too slow, and when that was."""
    _calmed: LruDict[tuple[LiveKitRoom, Identity], float] = field(
        init=False, factory=lambda: LruDict(10_000)
    )

    async def hurried(
        self, service: RoomService, livekit_rooms: Sequence[LiveKitRoom]
    ) -> dict[LiveKitRoom, Attendance]:
        """Read all lists while somebody waits; raises Flooded where that is too much, Outage."""
        if any(map(self._is_flooded, livekit_rooms)):
            raise Flooded("its participants write more than the guard reads")
        allowance = Allowance(MOST_BYTES)
        unread = set(livekit_rooms)

        async def read(livekit_room: LiveKitRoom) -> Attendance:
            found = await service.attendance(livekit_room, allowance)
            if found.is_whole:
                unread.discard(livekit_room)
            return found

        try:
            reading = gather_bounded(AT_ONCE, map(read, livekit_rooms))
            found = await with_timeout(LISTS * self.seconds, self.clock, reading)
        except TimeoutError:
            await self._doubt(
                service, unread, Outage(Reason.TIMEOUT, "LiveKit did not list the room in time")
            )
        except Outage as outage:
            await self._doubt(service, unread, outage)
        if unread:
            raise self._flood(unread)
        return dict(zip(livekit_rooms, found, strict=True))

    async def thorough(
        self, service: RoomService, livekit_rooms: Sequence[LiveKitRoom], before: Before
    ) -> dict[LiveKitRoom, Attendance]:
        """Read all lists, and piecewise those that cannot be read; raises Outage."""
        budget = _Budget()

        async def read(livekit_room: LiveKitRoom) -> Attendance:
            begun = Attendance(self.now(), (), is_whole=False)
            if not self._is_flooded(livekit_room):
                try:
                    begun = await service.attendance(livekit_room, budget.lists)
                except Outage as outage:
                    await self._doubt(service, [livekit_room], outage)
            if begun.is_whole:
                return begun
            self._flood([livekit_room])
            return await self._piecewise(
                service, livekit_room, begun, before.get(livekit_room), budget
            )

        found = await gather_bounded(AT_ONCE, map(read, livekit_rooms))
        return dict(zip(livekit_rooms, found, strict=True))

    def calmed(self, livekit_room: LiveKitRoom, identity: Identity) -> bool:
        """Note that something was done about a participant who flooded a LiveKit room.

        Returns whether to look again at once; False where the same was done a moment ago.
        """
        now, before = self.now(), self._calmed.get((livekit_room, identity))
        if before is not None and now - before < KEPT_OUT:
            return False
        self._calmed.put((livekit_room, identity), now)
        self._flooded.pop(livekit_room)
        return True

    async def _piecewise(
        self,
        service: RoomService,
        livekit_room: LiveKitRoom,
        begun: Attendance,
        before: Attendance | None,
        budget: _Budget,
    ) -> Attendance:
        """Ask after everybody who may be there and is not in what was read of the list.

        The result is whole where nobody had to be left out.
        """
        was_there = before.identities if before else frozenset()
        issued = self.directory.identities_of(livekit_room, MOST_ASKED, self.now() - LIFE)
        missing = [i for i in dict.fromkeys([*was_there, *issued]) if i not in begun.identities]

        async def doubt(outage: Outage) -> None:
            await self._doubt(service, [livekit_room], outage)

        asking = _OneByOne(service, livekit_room, budget, before.doubtful if before else (), doubt)
        found = await gather_bounded(AT_ONCE, map(asking.ask, missing))
        return evolve(
            begun,
            participants=(*begun.participants, *(p for p in found if p)),
            loud=(*begun.loud, *asking.loud),
            doubtful=(*asking.slow, *(i for i in asking.left_out if i in was_there)),
            is_whole=not asking.slow and not asking.left_out and len(issued) < MOST_ASKED,
        )

    async def _doubt(
        self, service: RoomService, livekit_rooms: Iterable[LiveKitRoom], outage: Outage
    ) -> None:
        """Raise the outage, unless LiveKit answers what no client has a hand in: then a flood."""
        if isinstance(outage, NotAsked):
            raise outage
        try:
            await with_timeout(NEUTRAL * self.seconds, self.clock, service.ping())
        except (Outage, TimeoutError):
            raise outage from None
        self._flood(livekit_rooms)

    def _flood(self, livekit_rooms: Iterable[LiveKitRoom]) -> Flooded:
        for livekit_room in livekit_rooms:
            if not self._is_flooded(livekit_room):
                self._flooded.put(livekit_room, self.now())
        return Flooded("its participants write more than the guard reads")

    def _is_flooded(self, livekit_room: LiveKitRoom) -> bool:
        at = self._flooded.get(livekit_room)
        return at is not None and self.now() - at < KEPT_OUT
