"""One room brought within its policies: gather, plan (pure), bound, carry out each step alone."""

from collections.abc import Callable, Sequence
from collections.abc import Set as AbstractSet
from enum import Enum
from typing import Any, Protocol

from attrs import define, field, frozen

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import Participant, RoomId
from lotus_guard.core.seats import Person
from lotus_guard.enforce.deferreds import gather_bounded
from lotus_guard.enforce.effects import Effects
from lotus_guard.enforce.live_seats import LiveSeats
from lotus_guard.enforce.policy_reader import Found, PolicyReader
from lotus_guard.enforce.presence import Presence, Seen
from lotus_guard.enforce.room_queue import AT_ONCE
from lotus_guard.enforce.turn import Turn
from lotus_guard.rules import Rules
from lotus_guard.rules.plan import Ban, Bans, Curb, Remove, Restraint, Step, bounded, plan, taker
from lotus_guard.rules.rule import Fact, Facts, Forbid, Rule, Who

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


@frozen
class RoomRules:
    """The rules of a room whose policies are known."""

    found: Found
    rules: Rules

    @property
    def restrict(self) -> bool:
        """Whether any of them restricts."""
        return any(known.policy.restricts for known in self.found.values())

    def only(self, names: AbstractSet[str]) -> "RoomRules":
        """Leave the others out."""
        found = {name: known for name, known in self.found.items() if name in names}
        return RoomRules(found, self.rules)

    def seating(self) -> Rule[Any] | None:
        """The rule that says how many seats there are, if its policy is known."""
        found = (rule for rule in self.rules if rule.name in self.found)
        return next((rule for rule in found if Fact.ATTENDANCE in rule.needs), None)

    def first(self) -> str:
        """The name of the first rule that restricts."""
        names = [rule.name for rule in self.rules if rule.name in self.found]
        return next(name for name in names if self.found[name].policy.restricts)

    def bans(self, who: Who) -> Bans:
        """What the rules forbid somebody to publish."""
        verdicts = [
            (rule.name, rule.judge(self.found[rule.name].policy, who, Facts()))
            for rule in self.rules
            if rule.name in self.found
        ]
        return tuple(
            Ban(name, verdict.sources)
            for name, verdict in verdicts
            if isinstance(verdict, Forbid) and verdict.sources
        )

    def behind(self, step: Step) -> str:
        """The name of the rule that calls for a step."""
        if isinstance(step, Remove):
            seating = self.seating()
            assert seating is not None, "only for want of a seat is anybody put out"
            return seating.name
        bans = step.bans if isinstance(step, Restraint) else ()
        return taker(step.participant, bans) or self.first()


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

    async def enforce(self, room: RoomId, turn: Turn) -> Outcome:
        """Bring a room within its policies as far as it can be seen; raises Outage."""
        found = await self.reader.read(room, turn)
        known = RoomRules(found, [each.rule for each in self.reader.policies])
        if not known.restrict:
            self.effects.forget(room)
            self.people.pop(room, None)
            await self.seats.lift(room)
            return Outcome.NO_POLICY
        seen = await self.presence.look(room, self.reader.now(), in_background=True)
        if not all(attendance.is_whole for attendance in seen.rooms.values()):
            self.journal.saw_partly(room)
        self.people[room] = sum(len(each.identities) for each in seen.rooms.values())
        await self.seats.free(room, seen)
        unseated = await self._unseated(room, known)
        enforced, observed = self._divided(known)
        self._observe(room, observed, self._plan(observed, seen, unseated), enforced.restrict)
        await self._carry_out(room, enforced, self._plan(enforced, seen, unseated), turn)
        return Outcome.UNDER_POLICY

    async def is_empty(self, room: RoomId) -> bool:
        """Whether nobody has come yet into a room for which a token was issued.

        Then no policy is looked up: a token is all it takes to have a room looked at. Raises
        Outage.
        """
        seen = await self.presence.look(room, self.reader.now(), in_background=True)
        return not any(each.identities or not each.is_whole for each in seen.rooms.values())

    def forget_all_but(self, rooms: AbstractSet[RoomId]) -> None:
        """Drop what is known of rooms whose calls are over."""
        self.effects.forget_all_but(rooms)
        for room in self.people.keys() - rooms:
            del self.people[room]

    async def _unseated(self, room: RoomId, known: RoomRules) -> Sequence[Person]:
        rule = known.seating()
        return await self.seats.unseated(room, rule, known.found[rule.name]) if rule else ()

    def _divided(self, known: RoomRules) -> tuple[RoomRules, RoomRules]:
        """Divide the rules into those that are enforced and those that are only observed."""
        names = known.found.keys()
        observed = names if LIVE in self.observed else names & self.observed
        return known.only(names - observed), known.only(observed)

    def _plan(self, known: RoomRules, seen: Seen, unseated: Sequence[Person]) -> list[Step]:
        if not known.restrict:
            return []

        def bans_of(participant: Participant) -> Bans:
            person = self.directory.person(participant.identity)
            return known.bans(Who(person, participant.identity))

        going = unseated if known.seating() else ()
        return plan(seen.rooms, bans_of, going, self.directory.person)

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
