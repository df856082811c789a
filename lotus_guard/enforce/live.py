"""The live loop: a room's policy holds for everyone who is in the call now, whatever his token.

One pass: gather (one ListRooms; ListParticipants only where a policy restricts) → plan (pure) →
bound → carry out, each step alone. A room can also be asked for on its own, by a hint: asked
twice it runs once more, not twice at once, and no wish is lost. A step counts as done when the
next look shows it.

It shares what it learns with the token path, but issues and holds up nothing: with the loop
stuck, tokens flow.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from enum import Enum
from math import inf
from typing import Generic, Protocol, TypeVar

from attrs import define, field, frozen
from twisted.internet.defer import (
    CancelledError,
    ensureDeferred,
)
from twisted.logger import Logger

from lotus_guard.core.directory import Directory, LruDict
from lotus_guard.core.lru import weight
from lotus_guard.core.model import Identity, LimitPolicy, LiveKitRoom, RoomId, Rule, SourcePolicy
from lotus_guard.core.seats import Person, Seats
from lotus_guard.core.webhook import Event, EventKind
from lotus_guard.enforce.admission import MOST_ISSUED
from lotus_guard.enforce.deferreds import gather_bounded, ignoring
from lotus_guard.enforce.outage_check import OutageCheck
from lotus_guard.enforce.policies import Policies, Restricting
from lotus_guard.enforce.ports import (
    Now,
    Outage,
    Rank,
    Records,
    RoomService,
)
from lotus_guard.enforce.presence import Presence, Seen
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.enforce.room_queue import AT_ONCE, RoomQueue
from lotus_guard.enforce.rota import INVENTED, OTHERS, RESTRICTED, Candidate, Class, Rota
from lotus_guard.enforce.seat_store import SeatStore
from lotus_guard.rules.decision import step_taken
from lotus_guard.rules.plan import Curb, Narrow, Remove, Silence, Step, bounded, plan

_log = Logger()

LIVE = "live"
"""What `Live.observed` calls all steps of the loop."""

MOST_HUNG_UP = 1000
"""In one LiveKit room; who is over that keeps their seat for the grace."""
MOST_HUNG_UP_BYTES = 16 * 1024 * 1024
MOST_LIMITED = 20_000
LONGEST_POLL = 30.0
"""Seconds that a pass may spend on looking up policies: half of what it may last."""
BACK_SECONDS = (0.3, 0.8, 1.5, 2.2)
"""So soon a room is looked at again out of which somebody was put: between two passes at the usual
interval, as often as a client may be back."""
CLOCKS_APART = 60.0
"""Seconds by which the clocks of this machine and of lk-jwt-service's may differ."""
JUST_NOW = 60.0
"""So many seconds after it was set, a policy counts as just changed."""
EXPECTED = 10.0
"""Seconds for which a room counts as in use after a token for it was issued, or LiveKit has said
that somebody is there: its count of people is up to five seconds old."""
JUST_LOOKED_UP = 1.0
"""Seconds for which a room in which nobody is yet needs no poll after its policy was looked up."""
INVENTED_SHARE = 10
"""Rooms that Synapse does not know have a tenth of the look-ups of a pass at the most."""


class _Deposed(Exception):
    """Another guard has the lead."""


class Finding(Enum):
    """What came of working on a room."""

    NO_POLICY = "no policy"
    UNDER_POLICY = "under policy"
    ALONE = "alone"
    """This room alone could not be worked on: its clients may have brought that about."""
    TROUBLE = "trouble"
    """Something of ours failed: the pass was not a good one."""


P = TypeVar("P", bound=Restricting)
V = TypeVar("V")

_Key = tuple[LiveKitRoom, Identity, str, type[Step]]


class LiveJournal(Protocol):
    """Takes note of what the loop does, for metrics and the log."""

    def used_stale(self, rule: Rule, outage: Outage) -> None:
        """Note that a policy known from before was used because Synapse is out."""

    def saw_partly(self, room: RoomId) -> None:
        """Note a look at a room that could not name everybody there."""

    def stepped(self, step: Step, is_done: bool) -> None:
        """Note a step that was carried out, or that it was not."""

    def deposed(self, step: Step) -> None:
        """Note a step that was not carried out because another guard leads by now."""

    def confirmed(self, step: type[Step], seconds: float) -> None:
        """Note that a look shows a step's effect, so many seconds after what called for it."""

    def unconfirmed(self, step: type[Step]) -> None:
        """Note that a look does not show a step's effect; it is tried again."""

    def put_off(self, room: RoomId, steps: int) -> None:
        """Note that a room needs more steps than one pass may do."""

    def passed(self, seconds: float, rooms: int, people: int, late: bool) -> None:
        """Note a pass that saw the whole picture, and whether it took longer than it may.

        `rooms` and `people` are those under a policy.
        """


@frozen
class _Known(Generic[P]):
    """A policy, and whether it is certain: what was known before an outage is not."""

    policy: P | None
    is_certain: bool


@frozen
class Only:
    """The rank of a guard that shares its work with nobody."""

    def leads(self) -> bool:
        """Lead."""
        return True

    def may_remove(self) -> bool:
        """Remove."""
        return True


@define(eq=False)
class Live:
    """Works on rooms: all of them in a pass, or one on demand."""

    service: RoomService
    presence: Presence
    knowledge: Directory
    book: SeatStore
    limits: Policies[LimitPolicy]
    sources: Policies[SourcePolicy]
    journal: LiveJournal
    records: Records
    pace: RateLimiter
    now: Now
    epoch: Callable[[], float]
    interval: float
    """Seconds between passes."""
    pushing: Callable[[], bool] = lambda: False
    """Whether Synapse tells us of changed policies by itself."""
    limit_on: bool = True
    """Whether who came into a full room without a seat is removed."""
    observed: AbstractSet[str] = frozenset()
    """What is planned and recorded, and not carried out: `live`, or one of the rules."""
    issued: LruDict[Identity, int] = field(factory=lambda: LruDict(MOST_ISSUED))
    """From when on the last token that was given to each identity is valid (`nbf`)."""
    rank: Rank = field(factory=Only)
    """Whether it is for this guard to run the loop."""
    last_good: float | None = field(default=None, init=False)
    """When the last pass ended that saw the whole picture."""
    counts: Mapping[LiveKitRoom, int] = field(factory=dict, init=False)
    """The LiveKit rooms there were at the last pass, and LiveKit's count of who is in each."""
    turns: RoomQueue["Finding"] = field(init=False)
    _rota: Rota = field(init=False, factory=Rota)
    _tried: dict[RoomId, dict[_Key, float]] = field(init=False, factory=dict)
    _hung_up: LruDict[LiveKitRoom, dict[Identity, str]] = field(
        init=False,
        factory=lambda: LruDict(
            1000, most_bytes=MOST_HUNG_UP_BYTES, weigh=lambda a, who: weight(a, *who, *who.values())
        ),
    )
    """Who left a limited room on purpose, and with which sid, until a look confirms it."""
    _synapse: dict[Rule, OutageCheck] = field(init=False)
    """Whether Synapse answers, for each rule: where it does not, it is not asked about each room,
    so that it delays a pass by some deadlines and not by one for each room."""
    _livekit: OutageCheck = field(init=False)
    """Whether LiveKit says who is there, likewise."""
    _expected: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(20_000))
    """When a token was issued for a room."""
    _heard: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(20_000))
    """When LiveKit said of itself that somebody is in a room."""
    _limited: set[RoomId] = field(init=False, factory=set)
    """The rooms of which the loop knew a limit when it looked last."""
    _people: dict[RoomId, int] = field(factory=dict, init=False)
    """How many people were in each room under a policy when the loop looked last."""
    _seem_empty: set[RoomId] = field(init=False, factory=set)
    """The rooms under a policy in which somebody is only expected in this pass."""
    _asked: int = field(default=0, init=False)
    """How many policies this pass has looked up."""
    _unasked: int = field(default=0, init=False)
    """How many it has taken as they were, for the pace allowed no more look-ups."""

    def __attrs_post_init__(self) -> None:
        self.turns = RoomQueue(self._turn, self.pace.clock, self.now, self.interval)
        self._synapse = {
            Rule.LIMIT: OutageCheck(self.limits.ask_neutrally, self.now),
            Rule.SOURCES: OutageCheck(self.sources.ask_neutrally, self.now),
        }
        self._livekit = OutageCheck(lambda: self.service.ping(), self.now)

    async def run_pass(self) -> frozenset[LiveKitRoom]:
        """Work on every room that has a call; gives the LiveKit rooms there are.

        Raises Outage where LiveKit does not list them. A guard that does not lead only lists them.
        """
        begun = self.now()
        for doubt in (self._livekit, *self._synapse.values()):
            doubt.begin()
        self._asked = self._unasked = 0
        counts = await self.service.existing()
        self.counts = counts
        if not self.rank.leads():
            self._tried.clear()
            self.last_good = None
            return frozenset(counts)
        candidates = list(self._candidates(counts))
        self._seem_empty = {
            each.room for each in candidates if each.kind is RESTRICTED and not each.has_people
        }
        choice = self._rota.choose(candidates, self._most())
        found = Counter(await self.turns.all(choice.rooms, begun + self.interval))
        self._forget(counts)
        if not found[Finding.TROUBLE]:
            self.last_good = self.now()
            seconds = self.last_good - begun
            waiting = choice.put_off + self.turns.behind + self._unasked
            late = seconds > self.interval or waiting > 0
            people = sum(self._people.values())
            self.journal.passed(seconds, found[Finding.UNDER_POLICY], people, late)
        return frozenset(counts)

    def _forget(self, counts: Mapping[LiveKitRoom, int]) -> None:
        """Drop what is known of rooms whose LiveKit rooms are gone."""
        places = map(self.knowledge.place_of, counts)
        rooms = {place.room for place in places if place}
        for known in (self._tried, self._people):
            for room in known.keys() - rooms:
                del known[room]

    def _most(self) -> tuple[int, int, int]:
        """Tell how many rooms of each class a pass may work on, at two look-ups each.

        Of rooms that are known to be restricted as many as may be asked about in `LONGEST_POLL`
        (where the pace allows no more, their policies hold as they were), of others as many as in
        one interval. Anybody can have a LiveKit room made for a Matrix room that they invent: such
        rooms must not keep those with a policy waiting.
        """
        rate = self.pace.rate / 2
        restricted, others = int(rate * LONGEST_POLL), int(rate * self.interval)
        return max(1, restricted), max(1, others), max(1, others // INVENTED_SHARE)

    def _candidates(self, counts: Mapping[LiveKitRoom, int]) -> Iterable[Candidate]:
        """List the rooms in which somebody is, was at the last look, or will soon be."""
        now, people = self.now(), dict[RoomId, int]()
        for livekit_room, count in counts.items():
            place = self.knowledge.place_of(livekit_room)
            if place:
                people[place.room] = people.get(place.room, 0) + count
        # Of rooms that have waited alike, those come first whose policy has been read longest ago.
        for room, count in sorted(people.items(), key=self._read_at):
            has_people = bool(
                count or self._people.get(room) or self._is_recent(self._heard, room, now)
            )
            if has_people or self._is_recent(self._expected, room, now):
                kind = self._kind(room, has_people)
                if kind is not None:
                    yield Candidate(room, has_people, kind)

    def _read_at(self, of: tuple[RoomId, int]) -> float:
        age = self.limits.age(of[0])
        return -inf if age is None else -age

    def _kind(self, room: RoomId, has_people: bool) -> Class | None:
        """Tell how a room is to be polled; None where it needs no work."""
        if self._is_known_to_restrict(room):
            return RESTRICTED
        if not self._may_restrict(room):
            return None
        if self._is_invented(room):
            return INVENTED
        age = self.limits.age(room)
        is_fresh = age is not None and age <= JUST_LOOKED_UP and room not in self._limited
        return OTHERS if has_people or not is_fresh else None

    def _is_invented(self, room: RoomId) -> bool:
        return self.limits.is_unknown(room) or self.sources.is_unknown(room)

    def expect(self, room: RoomId) -> None:
        """Note that somebody was issued a token for a room and will soon be in it.

        LiveKit's count of people is up to five seconds old; by it alone they would be missed.
        """
        self._expected.put(room, self.now())

    def _is_recent(self, times: LruDict[RoomId, float], room: RoomId, now: float) -> bool:
        at = times.get(room)
        return at is not None and now - at <= EXPECTED

    def _is_known_to_restrict(self, room: RoomId) -> bool:
        limit, sources = self.limits.last(room), self.sources.last(room)
        return bool((limit and limit.restricts) or (sources and sources.restricts))

    def _may_restrict(self, room: RoomId) -> bool:
        """Tell without asking anybody whether a room needs work: most rooms have no policy."""
        return not self.pushing() or any(
            policies.known_to_restrict(room) is not False
            for policies in (self.limits, self.sources)
        )

    def wake(self, room: RoomId) -> None:
        """Work on one room soon; cheap to call, and safe to call as often as one likes."""
        if self.rank.leads() and not self._is_invented(room):
            self.turns.wake(room)

    def hint(self, event: Event) -> None:
        """Follow a webhook: remember who hung up, and have a look at their room."""
        place = self.knowledge.place_of(event.livekit_room)
        if place is None:
            return
        if event.kind in (EventKind.JOINED, EventKind.PUBLISHED):
            self._heard.put(place.room, self.now())
        limit = self.limits.last(place.room)
        if event.kind is EventKind.LEFT and event.on_purpose and limit and limit.restricts:
            left = self._hung_up.get(event.livekit_room) or {}
            if len(left) < MOST_HUNG_UP:
                self._hung_up.put(event.livekit_room, {**left, event.identity: event.sid})
        self.wake(place.room)

    async def _turn(self, room: RoomId, poll: bool) -> Finding:
        if poll and self._livekit.outage:
            return Finding.TROUBLE
        try:
            if poll and room in self._seem_empty and await self._is_empty(room):
                return Finding.UNDER_POLICY
            return await self._enforce(room, poll)
        except Outage as outage:
            self.note(outage)
            return Finding.TROUBLE if await self._livekit.is_out() else Finding.ALONE
        except CancelledError:
            raise
        except Exception:
            _log.failure("A room could not be worked on")
        return Finding.TROUBLE

    async def _is_empty(self, room: RoomId) -> bool:
        """Tell whether nobody has come yet into a room for which a token was issued.

        Then no policy is looked up: a token is all it takes to have a room looked at.
        """
        seen = await self.presence.look(room, self.now(), in_background=True)
        return not any(each.identities or not each.is_whole for each in seen.rooms.values())

    def note(self, outage: Outage) -> None:
        """Note that neither rule could be enforced."""
        for rule in Rule:
            self.records.not_enforced(rule, outage)

    async def _enforce(self, room: RoomId, poll: bool) -> Finding:
        asked = ensureDeferred(self._policy(Rule.LIMIT, self.limits, room, poll))
        try:
            sources = (await self._policy(Rule.SOURCES, self.sources, room, poll)).policy
            known = await asked
        finally:
            ignoring(asked, CancelledError)
            asked.cancel()
        limit = known.policy
        if not (limit and limit.restricts) and not (sources and sources.restricts):
            self._tried.pop(room, None)
            self._people.pop(room, None)
            if room in self._limited:  # whoever comes from now on needs no seat
                self._limited.discard(room)
                await self.book.change(room, lambda seats: seats.reassess(room, None))
            return Finding.NO_POLICY
        seen = await self.presence.look(room, self.now(), in_background=True)
        if not all(attendance.is_whole for attendance in seen.rooms.values()):
            self.journal.saw_partly(room)
        self._people[room] = sum(len(each.identities) for each in seen.rooms.values())
        await self._free_seats(room, seen)
        unseated = await self._unseated(room, known)
        policy = sources or SourcePolicy()
        steps = plan(seen.rooms, policy, unseated, self.knowledge.person)
        kept, put_off = bounded(step for step in steps if not self._observes(room, step, policy))
        if put_off:
            self.journal.put_off(room, put_off)
        self._confirm(room, steps, kept)
        await gather_bounded(AT_ONCE, (self._carry_out(room, step, policy) for step in kept))
        return Finding.UNDER_POLICY

    def _observes(self, room: RoomId, step: Step, policy: SourcePolicy) -> bool:
        """Tell whether a step is only put on record: this one, or all of them, is observed."""
        rule = Rule.LIMIT if isinstance(step, Remove) else Rule.SOURCES
        if LIVE not in self.observed and rule not in self.observed:
            return False
        who = self.knowledge.person(step.participant.identity)
        ruling = step_taken(room, who, step, policy.forbidden)
        self.records.decided(ruling, observed=True, once=("would", room, _key(step)))
        return True

    async def _unseated(self, room: RoomId, known: "_Known[LimitPolicy]") -> list[Person]:
        """List who is to be put out; nobody on a policy that is not certain, nor seated by it."""
        if known.policy is None or not known.is_certain:
            return []
        if known.policy.restricts and (room in self._limited or len(self._limited) < MOST_LIMITED):
            self._limited.add(room)
        is_sure = self.rank.may_remove() and self.book.is_certain(room)
        limit = known.policy.max_users if self.limit_on and is_sure else None
        unseated = await self.book.change(room, lambda seats: seats.reassess(room, limit))
        if not unseated or not await self._is_still(room, known.policy):
            return []
        return unseated if self.book.is_certain(room) else []

    async def _is_still(self, room: RoomId, limit: LimitPolicy) -> bool:
        """Tell whether Synapse says at this moment what we know of a room's limit.

        Another guard, or the token path a moment later, may have read a newer one and let people
        in by it: nobody is put out by one that has been lifted since.
        """
        try:
            return await self.limits.get(room, 0.0, in_background=True) == limit
        except Outage:
            return False

    async def _policy(
        self, rule: Rule, policies: Policies[P], room: RoomId, poll: bool
    ) -> "_Known[P]":
        """Find out about a policy."""
        age, doubt = policies.age(room), self._synapse[rule]
        # Where nobody pushes, a pass always asks: only so does a change take one interval at most.
        asks = age is None or age > policies.max_age() or (poll and not self.pushing())
        last = policies.last(room)
        if asks and poll and last is not None and self._may_wait(age):
            return _Known(last, True)
        try:
            if asks and doubt.outage:
                raise doubt.outage
            if asks and poll:
                self._asked += 1
                self.turns.excuse(room, await self.pace.turn())
            found = await policies.get(room, 0.0 if asks else None, in_background=True)
            return _Known(found, True)
        except Outage as outage:
            await doubt.is_out()
            return _Known(self._last_known(rule, policies, room, outage), False)

    def _may_wait(self, age: float | None) -> bool:
        """Tell whether a policy of that age need not be read in this pass.

        However many rooms have one, what is known is enforced in each pass; with more rooms than
        the pace allows look-ups it is only noticed later that it has changed.
        """
        is_spent = self._asked >= self.pace.rate * self.interval
        may_wait = is_spent and age is not None and age <= LONGEST_POLL
        self._unasked += may_wait
        return may_wait

    def _last_known(
        self, rule: Rule, policies: Policies[P], room: RoomId, outage: Outage
    ) -> P | None:
        last = policies.last(room)
        if last is None:
            self.records.not_enforced(rule, outage)
        else:
            self.journal.used_stale(rule, outage)
        return last

    async def _free_seats(self, room: RoomId, seen: Seen) -> None:
        """Free the seats of those who hung up, where LiveKit agrees that they are gone."""
        gone: set[Identity] = set()
        for livekit_room, attendance in seen.rooms.items():
            left = self._hung_up.pop(livekit_room) or {}
            now_there = {p.identity: p.sid for p in attendance.participants}
            gone.update(left.keys() - attendance.identities)
            late = {i: sid for i, sid in left.items() if now_there.get(i) == sid}
            if late:  # LiveKit still lists the very connection that has ended
                self._hung_up.put(livekit_room, late)
        if gone:

            def free(seats: Seats) -> None:
                for identity in gone:
                    seats.hung_up(room, identity)

            await self.book.change(room, free)

    def _confirm(self, room: RoomId, steps: Iterable[Step], kept: Iterable[Step]) -> None:
        """Compare what was tried with what is still to be done."""
        needed = {_key(step) for step in steps}
        before = self._tried.get(room, {})
        for key, since in before.items():
            if key in needed:
                self.journal.unconfirmed(key[3])
            else:
                self.journal.confirmed(key[3], self.now() - since)
        since = self._called_for(room)
        tried = {_key(step): before.get(_key(step), since) for step in kept}
        if tried:
            self._tried[room] = tried
        else:
            self._tried.pop(room, None)

    def _called_for(self, room: RoomId) -> float:
        """Tell since when what is tried now is called for: when the policy was set, if just now.

        By the homeserver's clock, which must be near ours: otherwise from this moment on.
        """
        changes = (self.limits.take_change(room), self.sources.take_change(room))
        ages = [self.epoch() - at for at in changes if at is not None]
        near = [age for age in ages if 0.0 <= age <= JUST_NOW]
        return self.now() - max(near, default=0.0)

    def _may(self, step: Step) -> None:
        """Raise _Deposed where this guard leads no more: it may have been paused for a while."""
        if not self.rank.leads() or (isinstance(step, Remove) and not self.rank.may_remove()):
            raise _Deposed

    async def _carry_out(self, room: RoomId, step: Step, policy: SourcePolicy) -> None:
        failure = ""
        try:
            self._may(step)
            if isinstance(step, Narrow | Silence):
                await self.service.permit(step.livekit_room, step.participant, step.grant)
            elif isinstance(step, Curb):
                await self.service.curb(step.livekit_room, step.participant.identity)
                if self.presence.roll_call.calmed(step.livekit_room, step.participant.identity):
                    self.wake(room)  # who else is there shows now
            elif isinstance(step, Remove):
                await self._put_out(room, step)
        except Outage as outage:
            failure = str(outage)
        except _Deposed:
            self.journal.deposed(step)
            return
        self.journal.stepped(step, is_done=not failure)
        who = self.knowledge.person(step.participant.identity)
        ruling = step_taken(room, who, step, policy.forbidden, failure)
        # The same step is tried again in every pass until it works.
        self.records.decided(ruling, once=("step", room, _key(step), failure))

    async def _put_out(self, room: RoomId, step: Remove) -> None:
        """Remove a participant, and look again soon: they may be back with the same token."""
        identity = step.participant.identity
        await self.service.remove(step.livekit_room, step.participant, self._revoked(identity))
        await self.book.change(room, lambda seats: seats.put_out(room, identity, self.now()))
        for seconds in BACK_SECONDS:
            self.pace.clock.callLater(seconds, self.wake, room)

    def _revoked(self, identity: Identity) -> int:
        """Tell from when on a token must be valid to let in who is put out.

        Just after the last one that was given to them, by the clock of lk-jwt-service. Where that
        is not known, a minute ago by ours: the two may differ, and a token given from now on must
        not be refused.
        """
        begins = self.issued.get(identity)
        return int(self.epoch() - CLOCKS_APART) if begins is None else begins + 1


def _key(step: Step) -> _Key:
    participant = step.participant
    return step.livekit_room, participant.identity, participant.sid, type(step)
