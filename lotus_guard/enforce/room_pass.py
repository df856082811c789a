"""One room brought within its policies: gather, plan (pure), bound, carry out each step alone."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Protocol

from attrs import define, field
from twisted.logger import Logger

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import LiveKitRoom, Participant, RoomId
from lotus_guard.core.seats import Person
from lotus_guard.enforce.deferreds import gather_bounded
from lotus_guard.enforce.effects import Effects
from lotus_guard.enforce.finding import NO_MEDIA
from lotus_guard.enforce.live_seats import LiveSeats
from lotus_guard.enforce.policy_reader import PolicyReader
from lotus_guard.enforce.ports import Bug
from lotus_guard.enforce.presence import Presence, Seen
from lotus_guard.enforce.room_queue import AT_ONCE
from lotus_guard.enforce.room_rules import RoomRule, RoomRules
from lotus_guard.enforce.stage import Stage
from lotus_guard.enforce.turn import Turn
from lotus_guard.rules.plan import (
    Ban,
    Bans,
    Curb,
    Step,
    Verdicts,
    bans_by,
    bounded,
    plan,
    withheld_by,
)
from lotus_guard.rules.rule import Allow, Facts, Verdict, Who

_log = Logger()

LIVE = "live"
"""What `LOTUS_GUARD_OBSERVE` calls all steps of the loop."""
JUST_NOW = 60.0
"""So many seconds after it was set, a policy counts as just changed."""


class Outcome(Enum):
    """What came of working on a room."""

    NO_POLICY = "no policy"
    UNDER_POLICY = "under policy"
    ALONE = "alone"
    """This room alone could not be worked on: its clients may have brought that about."""
    TROUBLE = "trouble"
    """Something of ours failed: the pass was not a good one."""


class RoomJournal(Protocol):
    """Takes note of what is seen of a room, for metrics and the log."""

    def saw_partly(self, room: RoomId) -> None:
        """Note a look at a room that could not name everybody there."""

    def put_off(self, room: RoomId, steps: int) -> None:
        """Note that a room needs more steps than one pass may do."""


@define(eq=False)
class RoomPass:
    """Works on one room at a time."""

    reader: PolicyReader
    presence: Presence
    directory: Directory
    seats: LiveSeats
    effects: Effects
    journal: RoomJournal
    epoch: Callable[[], float]
    observed: AbstractSet[str]
    """What is planned and recorded, and not carried out: `live`, or some of the rules."""
    people: dict[RoomId, int] = field(factory=dict, init=False)
    """How many people were in each room under a policy when it was looked at last."""
    failed: int = field(default=0, init=False)
    """How many verdicts have failed."""
    stage: Stage = field(factory=Stage, init=False)

    async def enforce(self, room: RoomId, turn: Turn) -> Outcome:
        """Bring a room within its policies as far as it can be seen; raises Outage."""
        known = await self.reader.read(room, turn)
        if known.needing_power:
            known = await self.reader.with_power(known, room, turn)
        if not known.restrict:
            was_under_policy = self.people.pop(room, None) is not None
            self.stage.forget(room)
            if known.is_whole:
                await self.seats.lift(room)
            if not await self._only_given(room, known, was_under_policy, turn):
                self.effects.forget(room)
            return Outcome.TROUBLE if known.has_bug else Outcome.NO_POLICY
        seen = await self.presence.look(room, self.reader.now(), in_background=True)
        if not all(attendance.is_whole for attendance in seen.rooms.values()):
            self.journal.saw_partly(room)
        self.people[room] = sum(len(each.identities) for each in seen.rooms.values())
        known = known.with_places(self.stage, room, seen, self.directory.proved_user)
        if known.places and turn.is_poll:  # one that was woken has no other: they would multiply
            turn.again(self.reader.interval * self.stage.chance())
        await self.seats.free(room, seen)
        seating = known.seating()
        exempt = self._exempt(known, seen)
        unseated = await self.seats.unseated(room, seating, exempt) if seating else []
        enforced, observed = self._divided(known)
        self._observe(room, observed, self._plan(observed, seen, unseated), enforced.restrict)
        steps = self._plan(enforced, seen, unseated)
        given = await self._given(known, enforced, seen, steps)
        await self._carry_out(room, enforced, [*steps, *given], turn)
        return Outcome.TROUBLE if known.has_bug else Outcome.UNDER_POLICY

    async def is_empty(self, room: RoomId) -> bool:
        """Whether nobody has come yet into a room for which a token was issued.

        Then no policy is looked up: a token is all it takes to have a room looked at. Raises
        Outage.
        """
        seen = await self.presence.look(room, self.reader.now(), in_background=True)
        return not any(each.identities or not each.is_whole for each in seen.rooms.values())

    async def prepare(self, livekit_rooms: AbstractSet[LiveKitRoom]) -> None:
        """A pass over these LiveKit rooms begins."""
        if self.effects.giving is not None:
            await self.effects.giving.begin(livekit_rooms)

    def step_down(self) -> None:
        """Forget what is to be confirmed or given back: another guard leads."""
        self.effects.forget_all_but(frozenset())
        if self.effects.giving is not None:
            self.effects.giving.step_down()

    def forget_all_but(self, rooms: AbstractSet[RoomId]) -> None:
        """Drop what is known of rooms whose calls are over."""
        self.effects.forget_all_but(rooms)
        self.stage.forget_all_but(rooms)
        for room in self.people.keys() - rooms:
            del self.people[room]

    def _divided(self, known: RoomRules) -> tuple[RoomRules, RoomRules]:
        """Divide the rules into those that are enforced and those that are only observed."""
        return (RoomRules(()), known) if LIVE in self.observed else known.divided(self.observed)

    def _plan(self, known: RoomRules, seen: Seen, unseated: Sequence[Person]) -> list[Step]:
        """Plan for the calls, and for the LiveKit rooms in which nobody talks."""
        if not known.restrict:
            return []
        bans_of, no_media = self._bans_of(known), _no_media(known)
        person, rooms = self.directory.person, seen.rooms
        calls = {name: rooms[name] for name in rooms if not self.directory.is_for_data(name)}
        others = {name: rooms[name] for name in rooms if name not in calls}
        going = unseated if known.seating() else ()
        return [
            *plan(calls, bans_of, going, person),
            *plan(others, lambda each: (*bans_of(each), *no_media), (), person),
        ]

    def _bans_of(
        self, known: RoomRules, bans_of: Callable[[Verdicts], Bans] = bans_by
    ) -> Callable[[Participant], Bans]:
        """What the rules forbid whom; what a rule that fails forbids is not among it."""
        restricting = known.restricting

        def judged(participant: Participant) -> Bans:
            identity = participant.identity
            user = self.directory.proved_user(identity)
            who = Who(self.directory.person(identity), identity, user)
            facts = known.facts_of(identity)
            verdicts = ((r.rule.name, self._verdict(r, who, facts)) for r in restricting)
            return bans_of(verdicts)

        return judged

    async def _given(
        self, known: RoomRules, enforced: RoomRules, seen: Seen, steps: Sequence[Step]
    ) -> Sequence[Step]:
        """What is to be given back: nothing where any rule's policy or verdict is not certain."""
        giving = self.effects.giving
        if giving is None:
            return ()
        bans_of, no_media = self._bans_of(enforced, withheld_by), _no_media(enforced)

        def certain(livekit_room: LiveKitRoom, participant: Participant) -> Bans | None:
            failed, found = self.failed, bans_of(participant)
            if not known.is_certain or self.failed != failed:
                return None
            return (*found, *no_media) if self.directory.is_for_data(livekit_room) else found

        return await giving.look(seen.rooms, steps, certain)

    async def _only_given(
        self, room: RoomId, known: RoomRules, was_under_policy: bool, turn: Turn
    ) -> bool:
        """Gives back in a room that has no policy any more; whether it was looked at for that."""
        giving = self.effects.giving
        if giving is None:
            return False
        if was_under_policy:
            await giving.lifted(room)
        if not giving.owes(room):
            return False
        seen = await self.presence.look(room, self.reader.now(), in_background=True)
        await self._carry_out(room, known, await self._given(known, known, seen, ()), turn)
        return True

    def _exempt(self, known: RoomRules, seen: Seen) -> frozenset[Person]:
        """Who of those in the calls needs no seat."""
        if known.power is None:
            return frozenset()
        there = {each for attendance in seen.rooms.values() for each in attendance.identities}
        person, proved = self.directory.person, self.directory.proved_user
        return frozenset(person(each) for each in there if known.exempts(proved(each)))

    def _verdict(self, each: RoomRule, who: Who, facts: Facts) -> Verdict:
        """What one rule says of somebody in the call; where it fails, the others hold."""
        try:
            return each.rule.judge(each.known.policy, who, facts)
        except Exception:
            _log.failure("The {rule} rule failed", rule=each.rule.name)
            self.reader.records.not_enforced(each.rule.name, Bug())
            self.failed += 1
            return Allow()

    def _observe(
        self, room: RoomId, known: RoomRules, steps: Sequence[Step], others_enforced: bool
    ) -> None:
        """Put on record what rules that are only observed would do."""
        for step in steps:
            if not (others_enforced and isinstance(step, Curb)):  # that is done anyway
                self.effects.would(room, step, known.behind(step))

    async def _carry_out(
        self, room: RoomId, known: RoomRules, steps: Sequence[Step], turn: Turn
    ) -> None:
        kept, put_off = bounded(steps)
        if put_off:
            self.journal.put_off(room, put_off)
        self.effects.confirm(room, steps, kept, self._age_of_change(room))
        work = (self.effects.carry_out(room, step, known.behind(step), turn) for step in kept)
        await gather_bounded(AT_ONCE, work)

    def _age_of_change(self, room: RoomId) -> float:
        """For how many seconds what is tried now is called for: since a policy just changed.

        By the homeserver's clock, which must be near ours; 0.0 otherwise.
        """
        ages = [self.epoch() - at for at in self.reader.policies.changes(room)]
        return max((age for age in ages if 0.0 <= age <= JUST_NOW), default=0.0)


def _no_media(known: RoomRules) -> Bans:
    """What is forbidden in a LiveKit room in which nobody talks: where seats are counted, media."""
    seating = known.seating()
    counts = seating is not None and seating.known.policy.restricts
    return (Ban(seating.rule.name, NO_MEDIA.sources),) if seating and counts else ()
