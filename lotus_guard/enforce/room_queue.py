"""When rooms are worked on: one turn of a room at a time, and none so often that others wait.

A client can wake a room as often as they like, by coming and going, and can make its turns long.
So three things are rationed:

- A room that is asked for while it has its turn gets one more, and rests before that for a few
  times as long as the turn took.
- Rooms whose last turn was slow have workers of their own, in a pass as among those woken: however
  many they are, there is always a worker for the others.
- A pass waits for slow rooms until its time is over, and no longer; they go on by themselves.

And a pass gives way to tokens: after its first rooms it begins with the next where one before is
done, or slow.
"""

from collections.abc import Callable, Coroutine, Iterable
from contextlib import suppress
from typing import Any, Generic, TypeVar

from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import RoomId
from lotus_guard.enforce.deferreds import gather_bounded, with_timeout
from lotus_guard.enforce.giving_way import Turnstile
from lotus_guard.enforce.ports import Now

AT_ONCE = 4
"""How many rooms a pass works on at the same time."""
WOKEN_AT_ONCE = 16
"""How many rooms that were woken are worked on at the same time, besides."""
SLOW_AT_ONCE = 3
"""How many slow rooms are worked on at the same time, besides."""
SLOW_SECONDS = 0.5
"""A room whose last turn took longer is slow."""
REST_TIMES = 4.0
"""A woken room rests first, for so many times as long as its last turn took."""

V = TypeVar("V")


@define(eq=False)
class _Workers:
    """Works off rooms in the order in which they came, so many at once."""

    most: int
    work: Callable[[RoomId], Coroutine[Any, Any, None]]
    waiting: dict[RoomId, None] = field(factory=dict, init=False)
    busy: int = field(default=0, init=False)
    _done: list[Deferred[None]] = field(factory=list, init=False)

    def add(self, room: RoomId) -> None:
        """Queue a room once, and begin with it where a worker is free."""
        self.waiting.setdefault(room)
        while self.waiting and self.busy < self.most:
            self.busy += 1
            ensureDeferred(self._go_on())

    def done(self) -> Deferred[None]:
        """Wait until nothing is left to do."""
        done: Deferred[None] = Deferred(self._done_remove)
        if self.busy:
            self._done.append(done)
        else:
            done.callback(None)
        return done

    def _done_remove(self, done: Deferred[None]) -> None:
        self._done.remove(done)

    async def _go_on(self) -> None:
        try:
            while self.waiting:
                room = next(iter(self.waiting))
                del self.waiting[room]
                await self.work(room)
        finally:
            self.busy -= 1
            if not self.busy:
                done, self._done = self._done, []
                for each in done:
                    each.callback(None)


@define(eq=False)
class RoomQueue(Generic[V]):
    """Rations the turns of rooms."""

    work: Callable[[RoomId, bool], Coroutine[Any, Any, V]]
    """Works on a room; told whether it is a pass that asks. Raises nothing but CancelledError."""
    clock: IReactorTime
    now: Now
    longest_rest: float
    """Seconds that a room rests at most: a pass would come by anyway."""
    _running: dict[RoomId, bool] = field(init=False, factory=dict)
    """The rooms being worked on, and whether each has been asked for again since."""
    _resting: dict[RoomId, IDelayedCall] = field(init=False, factory=dict)
    _last: LruDict[RoomId, tuple[float, float]] = field(init=False, factory=lambda: LruDict(20_000))
    """When the last turn of a room was over, and how many seconds it took."""
    _is_stopped: bool = field(default=False, init=False)
    _woken: _Workers = field(init=False)
    _slow: _Workers = field(init=False)
    _excused: dict[RoomId, float] = field(init=False, factory=dict)
    """Seconds of a turn under way in which the room waited for others."""
    turnstile: Turnstile = field(init=False)
    _polled: set[RoomId] = field(init=False, factory=set)
    """The slow rooms that a pass has asked for."""
    _found: list[V] = field(init=False, factory=list)
    """What came of the slow rooms that a pass has asked for, until it takes that up."""

    def __attrs_post_init__(self) -> None:
        self.turnstile = Turnstile(self.clock)
        self._woken = _Workers(WOKEN_AT_ONCE, self._take_woken)
        self._slow = _Workers(SLOW_AT_ONCE, self._take_slow)

    @property
    def is_idle(self) -> bool:
        """Whether nothing is being worked on, or will be without being asked for."""
        return not (self._running or self._resting or self._woken.busy or self._slow.busy)

    def wake(self, room: RoomId) -> None:
        """Work on a room soon; cheap to call, and safe to call as often as one likes."""
        if self._is_stopped:
            return
        if room in self._running:
            self._running[room] = True
        elif room not in self._resting:
            ended, took = self._last.get(room) or (0.0, 0.0)
            rest = ended + min(REST_TIMES * took, self.longest_rest) - self.now()
            if rest > 0.0:
                self._resting[room] = self.clock.callLater(rest, self._rested, room)
            else:
                self._queue(room)

    def excuse(self, room: RoomId, seconds: float) -> None:
        """Note that a room has waited for others in its turn: that does not make it slow."""
        if room in self._running:
            self._excused[room] = max(seconds, self._excused.get(room, 0.0))

    async def all(self, rooms: Iterable[RoomId], until: float) -> list[V]:
        """Work on the rooms of a pass; returns what came of it.

        Of slow ones the pass sees what is done `until` then, and the next pass the rest.
        """
        quick: list[RoomId] = []
        for room in rooms:
            if self._is_slow(room):
                self._polled.add(room)
                self._slow.add(room)
            else:
                quick.append(room)
        self.turnstile.until = self.clock.seconds() + (until - self.now()) / 2  # time to catch up
        found = await gather_bounded(AT_ONCE, map(self._take_in_pass, range(len(quick)), quick))
        with suppress(TimeoutError):
            await with_timeout(max(0.0, until - self.now()), self.clock, self._slow.done())
        late, self._found = self._found, []
        return [each for each in found if each is not None] + late

    @property
    def behind(self) -> int:
        """How many slow rooms are still waiting for their turn, or have it."""
        return len(self._slow.waiting) + self._slow.busy

    def stop(self) -> None:
        """Begin nothing more, whoever asks for it."""
        self._is_stopped = True
        for delayed in self._resting.values():
            delayed.cancel()
        self._resting.clear()
        self._woken.waiting.clear()
        self._slow.waiting.clear()

    def _rested(self, room: RoomId) -> None:
        del self._resting[room]
        self._queue(room)

    def _queue(self, room: RoomId) -> None:
        (self._slow if self._is_slow(room) else self._woken).add(room)

    def _is_slow(self, room: RoomId) -> bool:
        last = self._last.get(room)
        return last is not None and last[1] > SLOW_SECONDS

    async def _take_in_pass(self, number: int, room: RoomId) -> V | None:
        if number < AT_ONCE:
            return await self._take(room, poll=True)
        await self.turnstile.turn()
        try:
            return await self._take(room, poll=True)
        finally:
            self.turnstile.leave()

    async def _take_woken(self, room: RoomId) -> None:
        await self._take(room, poll=False)

    async def _take_slow(self, room: RoomId) -> None:
        polled = room in self._polled
        self._polled.discard(room)
        found = await self._take(room, poll=polled)
        if polled and found is not None:
            self._found.append(found)

    async def _take(self, room: RoomId, poll: bool) -> V | None:
        """Work on a room in its turn; None where it has its turn already, and will have another."""
        if room in self._running:
            self._running[room] = True
            return None
        self._settle_wakes(room)
        self._running[room] = False
        begun = self.now()
        try:
            return await self.work(room, poll)
        finally:
            took = self.now() - begun - self._excused.pop(room, 0.0)
            self._last.put(room, (self.now(), max(0.0, took)))
            if self._running.pop(room):
                self.wake(room)

    def _settle_wakes(self, room: RoomId) -> None:
        """Forget that a room was woken: what is done now is what that was for."""
        self._woken.waiting.pop(room, None)
        resting = self._resting.pop(room, None)
        if resting is not None:
            resting.cancel()
