"""The live loop: a room's policy holds for everyone who is in the call now, whatever his token.

One pass: gather (one ListRooms; ListParticipants only where a policy restricts) → plan (pure) →
bound → carry out, each step alone. A room can also be asked for on its own, by a hint: asked
twice it runs once more, not twice at once, and no wish is lost. A step counts as done when the
next look shows it.

It shares what it learns with the token path, but issues and holds up nothing: with the loop
stuck, tokens flow.
"""

from collections import Counter
from collections.abc import Callable, Coroutine, Iterable
from enum import Enum
from typing import Any, Generic, Protocol, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredSemaphore,
    ensureDeferred,
    gatherResults,
)
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from lotus_guard.admission import Rule
from lotus_guard.core.knowledge import Knowledge, Recent
from lotus_guard.core.model import Alias, Identity, LimitPolicy, RoomId, SourcePolicy
from lotus_guard.core.plan import Narrow, Remove, Silence, Step, bounded, plan
from lotus_guard.core.seats import Seats
from lotus_guard.core.webhook import Event, EventKind
from lotus_guard.policies import Policies, Restricting
from lotus_guard.ports import Flooded, Now, Outage, Reason, RoomService
from lotus_guard.presence import Presence, Seen

_log = Logger()

AT_ONCE = 4
"""How many rooms, and how many steps of one room, are worked on at the same time."""

MOST_WATCHED = 1000
"""Of a room's LiveKit rooms with people in them, so many are watched at the most."""
MOST_HUNG_UP = 1000


class Finding(Enum):
    """What came of working on a room."""

    NO_POLICY = "no policy"
    UNDER_POLICY = "under policy"
    TROUBLE = "trouble"
    """Something of ours failed: the pass was not a good one."""


P = TypeVar("P", bound=Restricting)
V = TypeVar("V")

_Key = tuple[Alias, Identity, str, type[Step]]


class LiveJournal(Protocol):
    """Takes note of what the loop does, for metrics and the log."""

    def failed_open(self, rule: Rule, outage: Outage) -> None:
        """Note that a rule could not be enforced because something of ours failed."""

    def used_stale(self, rule: Rule, outage: Outage) -> None:
        """Note that a policy known from before was used because Synapse is out."""

    def stepped(self, room: RoomId, step: Step, failure: Outage | None) -> None:
        """Note a step that was carried out, or why it was not."""

    def confirmed(self, step: type[Step], seconds: float) -> None:
        """Note that a look shows a step's effect, so many seconds after its first try."""

    def unconfirmed(self, step: type[Step]) -> None:
        """Note that a look does not show a step's effect; it is tried again."""

    def put_off(self, room: RoomId, steps: int) -> None:
        """Note that a room needs more steps than one pass may do."""

    def passed(self, seconds: float, rooms: int, late: bool) -> None:
        """Note a pass that saw the whole picture, and whether it took longer than it may."""


@define(eq=False)
class Pace:
    """Lets through so many look-ups a second."""

    rate: float
    clock: IReactorTime
    now: Now
    _next: float = 0.0

    async def turn(self) -> None:
        """Wait for the next turn."""
        turn = max(self.now(), self._next)
        self._next = turn + 1.0 / self.rate
        if turn > self.now():
            await deferLater(self.clock, turn - self.now(), lambda: None)


@frozen
class _Known(Generic[P]):
    """A policy, and whether it is certain: what was known before an outage is not."""

    policy: P | None
    is_certain: bool


@define(eq=False)
class Live:
    """Works on rooms: all of them in a pass, or one on demand."""

    service: RoomService
    presence: Presence
    knowledge: Knowledge
    seats: Seats
    limits: Policies[LimitPolicy]
    sources: Policies[SourcePolicy]
    journal: LiveJournal
    pace: Pace
    now: Now
    interval: float
    """Seconds between passes."""
    pushing: Callable[[], bool] = lambda: False
    """Whether Synapse tells us of changed policies by itself."""
    limit_on: bool = True
    """Whether who came into a full room without a seat is removed."""
    last_good: float | None = field(default=None, init=False)
    """When the last pass ended that saw the whole picture."""
    aliases: frozenset[Alias] = field(default=frozenset(), init=False)
    """The LiveKit rooms there were at the last look."""
    _wanted: dict[RoomId, bool] = field(init=False, factory=dict)
    """The rooms being worked on, and whether they have been asked for again since."""
    _tried: dict[RoomId, dict[_Key, float]] = field(init=False, factory=dict)
    _hung_up: Recent[Alias, dict[Identity, str]] = field(init=False, factory=lambda: Recent(1000))
    """Who left on purpose, and with which sid, until a look confirms it."""
    _livekit_out: bool = field(default=False, init=False)
    """Whether LiveKit hung in this pass: then the rest of it would, too."""
    _out: set[Rule] = field(init=False, factory=set)
    """The rules for which Synapse did not answer in this pass: it is not asked again until the
    next one, so that one that hangs delays a pass by one deadline and not by one for each room."""

    async def run_pass(self) -> frozenset[Alias]:
        """Work on every room that has a call; gives the LiveKit rooms there are.

        Raises Outage where LiveKit does not list them.
        """
        begun = self.now()
        self._out.clear()
        self._livekit_out = False
        self.aliases = aliases = frozenset(await self.service.existing())
        places = (self.knowledge.place_of(alias) for alias in sorted(aliases))
        rooms = [r for r in dict.fromkeys(p.room for p in places if p) if self._may_restrict(r)]
        found = Counter(await self._all(self._turns(room, poll=True) for room in rooms))
        for room in self._tried.keys() - set(rooms):
            del self._tried[room]
        if not found[Finding.TROUBLE]:
            self.last_good = self.now()
            seconds = self.last_good - begun
            self.journal.passed(seconds, found[Finding.UNDER_POLICY], late=seconds > self.interval)
        return aliases

    def _may_restrict(self, room: RoomId) -> bool:
        """Tell without asking anybody whether a room needs work: most rooms have no policy."""
        return not self.pushing() or any(
            policies.known_to_restrict(room) is not False
            for policies in (self.limits, self.sources)
        )

    def wake(self, room: RoomId) -> None:
        """Work on one room soon; cheap to call, and safe to call as often as one likes."""
        if room in self._wanted:
            self._wanted[room] = True
        else:
            ensureDeferred(self._turns(room, poll=False))

    def hint(self, event: Event) -> None:
        """Follow a webhook: remember who hung up, and have a look at his room."""
        if event.kind is EventKind.LEFT and event.on_purpose:
            left = self._hung_up.get(event.alias) or {}
            if len(left) < MOST_HUNG_UP:
                self._hung_up.put(event.alias, {**left, event.identity: event.sid})
        place = self.knowledge.place_of(event.alias)
        if place:
            self.wake(place.room)

    async def _turns(self, room: RoomId, poll: bool) -> Finding:
        """Work on a room until nobody has asked for it meanwhile."""
        if room in self._wanted:
            self._wanted[room] = True
            return Finding.UNDER_POLICY
        found = Finding.NO_POLICY
        self._wanted[room] = True
        try:
            while self._wanted[room]:
                self._wanted[room] = False
                found = await self._turn(room, poll)
                poll = False
        finally:
            del self._wanted[room]
        return found

    async def _turn(self, room: RoomId, poll: bool) -> Finding:
        if poll and self._livekit_out:
            return Finding.TROUBLE
        try:
            return await self._enforce(room, poll)
        except Flooded as flood:
            # A client's doing: it must not make us look ill.
            _log.warn("{room} cannot be watched: {flood}", room=room, flood=flood)
            return Finding.UNDER_POLICY
        except Outage as outage:
            self._livekit_out = outage.reason is Reason.TIMEOUT
            self.note(outage)
        except CancelledError:
            raise
        except Exception:
            _log.failure("A room could not be worked on")
        return Finding.TROUBLE

    def note(self, outage: Outage) -> None:
        """Note that neither rule could be enforced."""
        for rule in Rule:
            self.journal.failed_open(rule, outage)

    async def _enforce(self, room: RoomId, poll: bool) -> Finding:
        asked = ensureDeferred(self._policy(Rule.LIMIT, self.limits, room, poll))
        sources = (await self._policy(Rule.SOURCES, self.sources, room, poll)).policy
        known = await asked
        limit = known.policy
        capped = limit.max_users if limit and known.is_certain and self.limit_on else None
        if not (limit and limit.restricts) and not (sources and sources.restricts):
            self._tried.pop(room, None)
            return Finding.NO_POLICY
        seen = await self.presence.look(room, self.now(), MOST_WATCHED)
        self._free_seats(room, seen)
        steps = plan(
            seen.rooms,
            sources or SourcePolicy(),
            self.seats.settle(room, capped),
            self.knowledge.person,
        )
        kept, put_off = bounded(steps)
        if put_off:
            self.journal.put_off(room, put_off)
        self._confirm(room, steps, kept)
        await self._all(self._carry_out(room, step) for step in kept)
        return Finding.UNDER_POLICY

    async def _policy(
        self, rule: Rule, policies: Policies[P], room: RoomId, poll: bool
    ) -> "_Known[P]":
        """Find out about a policy."""
        age = policies.age(room)
        # Where nobody pushes, a pass always asks: only so does a change take one interval at most.
        asks = age is None or age > policies.max_age() or (poll and not self.pushing())
        try:
            if asks and rule in self._out:
                raise Outage(Reason.TIMEOUT, "Synapse did not answer a moment ago")
            if asks and poll:
                await self.pace.turn()
            return _Known(await policies.get(room, 0.0 if asks else None), True)
        except Outage as outage:
            return _Known(self._last_known(rule, policies, room, outage), False)

    def _last_known(
        self, rule: Rule, policies: Policies[P], room: RoomId, outage: Outage
    ) -> P | None:
        self._out.add(rule)
        last = policies.last(room)
        if last is None:
            self.journal.failed_open(rule, outage)
        else:
            self.journal.used_stale(rule, outage)
        return last

    def _free_seats(self, room: RoomId, seen: Seen) -> None:
        """Free the seats of those who hung up, where LiveKit agrees that they are gone."""
        for alias, attendance in seen.rooms.items():
            left = self._hung_up.pop(alias) or {}
            now_there = {p.identity: p.sid for p in attendance.participants}
            for identity in left.keys() - now_there.keys():
                self.seats.hung_up(room, identity)
            late = {i: sid for i, sid in left.items() if now_there.get(i) == sid}
            if late:  # LiveKit still lists the very connection that has ended
                self._hung_up.put(alias, late)

    def _confirm(self, room: RoomId, steps: Iterable[Step], kept: Iterable[Step]) -> None:
        """Compare what was tried with what is still to be done."""
        needed = {_key(step) for step in steps}
        before = self._tried.get(room, {})
        for key, since in before.items():
            if key in needed:
                self.journal.unconfirmed(key[3])
            else:
                self.journal.confirmed(key[3], self.now() - since)
        tried = {_key(step): before.get(_key(step), self.now()) for step in kept}
        if tried:
            self._tried[room] = tried
        else:
            self._tried.pop(room, None)

    async def _carry_out(self, room: RoomId, step: Step) -> None:
        try:
            if isinstance(step, Narrow | Silence):
                await self.service.permit(step.alias, step.participant, step.grant)
            elif isinstance(step, Remove):
                await self.service.remove(step.alias, step.participant)
        except Outage as outage:
            self.journal.stepped(room, step, outage)
        else:
            self.journal.stepped(room, step, None)

    async def _all(self, works: Iterable[Coroutine[Any, Any, V]]) -> list[V]:
        """Do all of these, a few at a time."""
        few = DeferredSemaphore(AT_ONCE)
        running: list[Deferred[V]] = [few.run(_start, work) for work in works]
        return await gatherResults(running, consumeErrors=True)


def _start(work: Coroutine[Any, Any, V]) -> Deferred[V]:
    return ensureDeferred(work)


def _key(step: Step) -> _Key:
    participant = step.participant
    return step.alias, participant.identity, participant.sid, type(step)
