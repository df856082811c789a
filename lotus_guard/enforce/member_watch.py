"""Whoever is no longer a member of the room is put out of its calls, whatever their token.

Three things have a user looked at: the homeserver tells of their leaving (then one look-up that
agrees is enough), LiveKit tells of their coming, or their turn has come. Unless the homeserver has
told, two look-ups in a row must say the same. A doubt never puts anybody out: not an outage, not a
homeserver that may not look, not a user of whom it has heard nothing.

It begins its work and waits for none of it: a pass of the live loop is never held up.
"""

from collections.abc import Collection, Coroutine, Iterable
from contextlib import suppress
from functools import partial
from math import inf
from typing import Any, TypeVar

from attrs import define, field
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lotus_guard.core.lru import LruDict
from lotus_guard.core.membership import Membership, Standing
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.webhook import Event, EventKind
from lotus_guard.enforce.deferreds import ignoring, with_timeout
from lotus_guard.enforce.expulsion import Expulsion, connections
from lotus_guard.enforce.member_turn import LookAgain, Pace, Subject
from lotus_guard.enforce.memberships import PUSHED, Memberships
from lotus_guard.enforce.ports import Bug, Flooded, Now, Outage, Rank, Records
from lotus_guard.rules.members import Members

_log = Logger()

V = TypeVar("V")

SECOND_LOOK = 0.5
"""Seconds after a look-up that finds somebody outside until the next one, which decides."""
RECENT = 10.0
"""Seconds for which a first look-up counts beside a second one."""
MOST_UNDER_WAY = 200
"""So many users are being looked at at once; whoever is left out has their turn in a round."""
MOST_ROOMS = 20_000
MOST_PUT_OUT = 20
"""So many people are put out of one room in `PER_SECONDS`, so that a mistake cannot empty it."""
PER_SECONDS = 2.0
HINTS_LAST = 600.0
"""For so many seconds after LiveKit has told of anything it is taken to tell of all."""
LOOK_AGE = 2.0
"""Seconds that a look at who is in a call may be old in a round."""
MOST_IN_ROUND = 50
"""So many users of one room are looked up in a round, those first who have waited longest."""
PATIENCE = 1.0
"""Seconds that a round waits for one room, which its clients may have made long to read: then that
goes on by itself."""
MOST_VISITS = 100
"""So many rooms are gone through at the same time."""


@define(eq=False)
class MemberWatch:
    """Looks after those who are in a call: are they still members?"""

    memberships: Memberships
    expulsion: Expulsion
    pace: Pace
    records: Records
    rank: Rank
    clock: IReactorTime
    now: Now
    longest_rest: float
    """Seconds between two look-ups of somebody while the homeserver tells of changes by itself."""
    strangers: dict[RoomId, int] = field(init=False, factory=dict)
    """How many in each room's calls are not known to be members, as of the last round."""
    _doubted: LruDict[Subject, float] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    """When somebody was first found outside."""
    _looked: LruDict[Subject, float] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    """When each was looked up last."""
    _put_out: LruDict[RoomId, list[float]] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    """When people were put out of a room lately."""
    _seen_at: LruDict[RoomId, float] = field(init=False, factory=lambda: LruDict(MOST_ROOMS))
    """When it was looked last who is in each room's calls."""
    _hinted: float = field(init=False, default=-inf)
    """When LiveKit last told of anything."""
    _is_stopped: bool = field(init=False, default=False)
    _under_way: set[Subject] = field(init=False, factory=set)
    _round: Deferred[None] | None = field(init=False, default=None)
    _visits: dict[RoomId, Deferred[Any]] = field(init=False, factory=dict)
    """The rooms that are being gone through."""

    def strangers_in(self, room: RoomId) -> int:
        """Count who is in a room's calls and not known to be a member, as of the last round."""
        return self.strangers.get(room, 0)

    def told(self, room: RoomId, user: UserId, membership: Membership) -> None:
        """Take in what the homeserver says unasked."""
        self.memberships.tell(room, user, membership)
        is_outside = Standing(membership, is_local=False).is_outside
        if is_outside and self.expulsion.directory.was_issued(room, user):
            self._begin(Subject(room, user), membership)

    def hint(self, event: Event) -> None:
        """Follow a webhook: look at who has come in, for they may have an old token."""
        self._hinted = self.now()
        if event.kind is not EventKind.JOINED:
            return
        binding = self.expulsion.directory.binding_of(event.livekit_room)
        user = self.expulsion.user_of(event.identity)
        if binding is not None and user is not None:
            self._begin(Subject(binding.room, user))

    def begin_round(self, rooms: Collection[RoomId]) -> None:
        """Begin to look at all who are in these rooms' calls, unless a round is under way."""
        for room in self.strangers.keys() - set(rooms):
            del self.strangers[room]
        may_begin = self.rank.leads() and not self._is_stopped
        if self._round is None and may_begin and rooms:
            self._round = ensureDeferred(self._go_round(list(rooms)))
            ignoring(self._round.addBoth(self._round_over), CancelledError)

    def stop(self) -> None:
        """End the round that is under way, and begin nothing more."""
        self._is_stopped = True
        if self._round is not None:
            self._round.cancel()
        for visit in list(self._visits.values()):
            visit.cancel()

    def _round_over(self, result: V) -> V:
        self._round = None
        return result

    # One user.

    def _begin(self, subject: Subject, told: Membership | None = None) -> None:
        is_free = subject not in self._under_way and len(self._under_way) < MOST_UNDER_WAY
        may_begin = self.rank.leads() and not self._is_stopped
        if may_begin and (is_free or told is not None):
            self._under_way.add(subject)
            work = ensureDeferred(self._noting(self._look_in_turn(subject, told)))
            ignoring(work.addBoth(self._is_over, subject), CancelledError)

    def _is_over(self, result: V, subject: Subject) -> V:
        self._under_way.discard(subject)
        return result

    async def _look_in_turn(self, subject: Subject, told: Membership | None) -> None:
        if told is None:
            await self.pace.arrivals.turn()
        await self._look_at(subject, told)

    async def _look_at(self, subject: Subject, told: Membership | None = None) -> None:
        """Look one user up, and put them out where it is certain that they are outside."""
        standing = await self._standing(subject, told)
        if not standing.is_outside:
            self._doubted.pop(subject)
            if told is not None:  # what answers may lag behind what tells
                self._again(subject)
            return
        self._looked.pop(subject)  # whatever becomes of it, they have their turn in the next round
        self._seen_at.pop(subject.room)
        if self._holds(subject, told) or self._is_second(subject):
            await self._expel(subject, standing)
        else:
            self._again(subject)

    async def _standing(self, subject: Subject, told: Membership | None) -> Standing:
        """Look a user up; where nobody answers, what was told counts."""
        self._looked.put(subject, self.now())
        try:
            found = await self.memberships.looked_up(subject.room, subject.user)
        except Outage:
            if told is None or not self._holds(subject, told):
                raise
            return Standing(told, False, PUSHED)
        is_silent = found.membership is Membership.UNHEARD
        if told is not None and is_silent and self._holds(subject, told):
            return Standing(told, found.is_local, PUSHED)
        return found

    def _holds(self, subject: Subject, told: Membership | None) -> bool:
        """Whether something was told of a user, and nothing else since: they may be back."""
        return told is not None and told is self.memberships.told(subject.room, subject.user)

    def _is_second(self, subject: Subject) -> bool:
        """Whether they were found outside a moment ago as well; notes it where not."""
        first, now = self._doubted.get(subject), self.now()
        if first is None or now - first > RECENT:
            self._doubted.put(subject, now)
            return False
        return now - first >= SECOND_LOOK / 2

    def _again(self, subject: Subject) -> None:
        self.clock.callLater(SECOND_LOOK, self._begin, subject)

    async def _expel(self, subject: Subject, standing: Standing) -> None:
        room, user = subject.room, subject.user
        steps = await self.expulsion.steps(room, user, standing)
        if steps:
            now, lately = self.now(), self._lately(room)
            if len(lately) >= MOST_PUT_OUT:
                self.expulsion.journal.put_off(room, 1)
                self.clock.callLater(PER_SECONDS, self._begin, subject)
                return
            lately.append(now)
            self._doubted.put(subject, now)  # they may come back
        await self.expulsion.put_out(
            room, user, steps, LookAgain(partial(self._begin, subject), self.clock)
        )

    def _lately(self, room: RoomId) -> list[float]:
        """When people were put out of a room in the last `PER_SECONDS`."""
        lately, oldest = self._put_out.get(room) or [], self.now() - PER_SECONDS
        lately[:] = [at for at in lately if at > oldest]
        self._put_out.put(room, lately)
        return lately

    # All of them.

    async def _go_round(self, rooms: Iterable[RoomId]) -> None:
        """Look at one room after the other; what fails for one says nothing of the next.

        Nor does the next wait for one for long: its clients may have brought it about.
        """
        for room in rooms:
            if self._is_resting(room):
                continue
            if room not in self._visits and len(self._visits) < MOST_VISITS:
                with suppress(TimeoutError):
                    await with_timeout(PATIENCE, self.clock, self._visited(room))

    def _visited(self, room: RoomId) -> Deferred[None]:
        """Begin to go through a room; who waits no longer for it does not end it."""
        waiting: Deferred[None] = Deferred()
        visit = self._visits[room] = ensureDeferred(self._visit(room))

        def over(result: V) -> V:
            del self._visits[room]
            if not waiting.called:
                waiting.callback(None)
            return result

        ignoring(visit.addBoth(over), CancelledError)
        return waiting

    async def _visit(self, room: RoomId) -> None:
        for subject in await self._noting(self._due(room)) or ():
            await self.pace.rounds.turn()
            await self._noting(self._look_at(subject))

    async def _due(self, room: RoomId) -> list[Subject]:
        """List those in a room's calls whose turn it is; raises Outage."""
        self._seen_at.put(room, self.now())
        oldest = self.now() - LOOK_AGE
        seen = await self.expulsion.presence.look(room, oldest, in_background=True)
        people = [who.identity for _, who in connections(seen) if who.is_person]
        users = [self.expulsion.user_of(identity) for identity in people]
        unknown = users.count(None)
        there = {Subject(room, user) for user in users if user is not None}
        doubted = [subject for subject in there if self._doubted.get(subject) is not None]
        self.strangers[room] = unknown + len(doubted)
        due = sorted(filter(self._is_due, there), key=lambda each: self._looked.get(each) or 0.0)
        return due[:MOST_IN_ROUND]

    def _is_due(self, subject: Subject) -> bool:
        rest = self.longest_rest if self.memberships.pushing() else 0.0
        at = self._looked.get(subject)
        return at is None or self.now() - at >= rest

    def _is_resting(self, room: RoomId) -> bool:
        """Whether everybody in a room has been looked at, and any change would have been told."""
        at, now = self._seen_at.get(room), self.now()
        is_told = self.memberships.pushing() and now - self._hinted < HINTS_LAST
        return is_told and at is not None and now - at < self.longest_rest

    async def _noting(self, work: Coroutine[Any, Any, V]) -> V | None:
        """Do something, and note why it failed where it does: nothing may end the watch."""
        try:
            return await work
        except Flooded:
            return None
        except Outage as outage:
            self.records.not_enforced(Members.name, outage)
        except (CancelledError, GeneratorExit):
            raise
        except Exception:
            _log.failure("Could not check the members of a room")
            self.records.not_enforced(Members.name, Bug())
        return None
