"""The live loop: a room's policies hold for everyone who is in the call now, whatever their token.

One pass: LiveKit lists its rooms; of those in which somebody is, as many are worked on as the pace
allows (`room_pass.py`). A hint asks for one room on its own: asked for twice, it runs once more,
not twice at once, and no request is lost. A step counts as done when the next look shows it.

It shares what it learns with the token path, but issues and holds up nothing: with the loop stuck,
tokens flow.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import define, field, frozen
from twisted.internet.defer import CancelledError
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger

from lotus_guard.core.model import LiveKitRoom, RoomId
from lotus_guard.core.webhook import Event, EventKind
from lotus_guard.enforce.candidates import Candidates
from lotus_guard.enforce.giving_way import in_pieces
from lotus_guard.enforce.outage_check import OutageCheck
from lotus_guard.enforce.policy_reader import LONGEST_POLL
from lotus_guard.enforce.ports import Now, Outage, Rank, RoomService
from lotus_guard.enforce.room_pass import Outcome, RoomPass
from lotus_guard.enforce.room_queue import RoomQueue
from lotus_guard.enforce.rota import OTHERS, RESTRICTED, Rota

_log = Logger()

PATIENT = 0.9
"""The part of its interval for which a pass waits for slow rooms. One that waited for all of it
would end when the next is due already, and anybody can make a room slow."""
INVENTED_SHARE = 10
"""Rooms that Synapse does not know have a tenth of the look-ups of a pass at the most."""


class PassJournal(Protocol):
    """Takes note of passes, for metrics."""

    def passed(self, seconds: float, rooms: int, people: int, late: bool) -> None:
        """Note a pass that saw the whole picture, and whether it took longer than it may.

        `rooms` and `people` are those under a policy.
        """


@frozen
class Only:
    """The rank of a guard that shares its work with nobody."""

    def leads(self) -> bool:
        """Always."""
        return True

    def may_remove(self) -> bool:
        """Always."""
        return True


@define(eq=False)
class Live:
    """Works on rooms: all of them in a pass, or one on demand."""

    service: RoomService
    room_pass: RoomPass
    candidates: Candidates
    rank: Rank
    """Whether it is for this guard to run the loop."""
    journal: PassJournal
    clock: IReactorTime
    now: Now
    interval: float
    """Seconds between passes."""
    last_good: float | None = field(default=None, init=False)
    """When the last pass ended that saw the whole picture."""
    counts: Mapping[LiveKitRoom, int] = field(factory=dict, init=False)
    """The LiveKit rooms there were at the last pass, and LiveKit's count of who is in each."""
    overdue: Sequence[RoomId] = field(factory=list, init=False)
    """The rooms with people and without a known policy, where they are more than a pass may ask
    about; else none."""
    turns: RoomQueue[Outcome] = field(init=False)
    livekit: OutageCheck = field(init=False)
    """Whether LiveKit says who is there."""
    _rota: Rota = field(init=False, factory=Rota)
    _seem_empty: set[RoomId] = field(init=False, factory=set)
    """The rooms under a policy in which somebody is only expected in this pass."""

    def __attrs_post_init__(self) -> None:
        self.turns = RoomQueue(self._work, self.clock, self.now, self.interval)
        self.livekit = OutageCheck(lambda: self.service.ping(), self.now)

    async def run_pass(self) -> frozenset[LiveKitRoom]:
        """Work on every room that has a call; returns the LiveKit rooms there are.

        Raises Outage where LiveKit does not list them. A guard that does not lead only lists them.
        """
        begun = self.now()
        self.livekit.begin()
        self.room_pass.reader.begin()
        counts = await self.service.existing()
        self.counts = counts
        if not self.rank.leads():
            self.room_pass.step_down()
            self.last_good, self.overdue = None, []
            return frozenset(counts)
        await self.room_pass.prepare(frozenset(counts))
        limited = self.room_pass.seats.limited
        found = self.candidates.of(counts, self.room_pass.people, limited)
        candidates = await in_pieces(found, self.clock)
        self._seem_empty = {
            each.room for each in candidates if each.kind is RESTRICTED and not each.has_people
        }
        choice = self._rota.choose(candidates, most := self._most())
        others = [each.room for each in candidates if each.kind is OTHERS and each.has_people]
        self.overdue = others if len(others) > most[OTHERS] else []
        outcomes = Counter(await self.turns.all(choice.rooms, begun + PATIENT * self.interval))
        self._forget_but(counts)
        if not outcomes[Outcome.TROUBLE]:
            self._passed(begun, outcomes[Outcome.UNDER_POLICY], choice.put_off + self.turns.behind)
        return frozenset(counts)

    def wake(self, room: RoomId) -> None:
        """Work on one room soon; cheap to call, and safe to call as often as one likes."""
        if self.rank.leads() and not self.candidates.is_invented(room):
            self.turns.wake(room)

    def hint(self, event: Event) -> None:
        """Follow a webhook: remember who hung up, and have a look at their room."""
        binding = self.candidates.directory.binding_of(event.livekit_room)
        if binding is None:
            return
        if event.kind in (EventKind.JOINED, EventKind.PUBLISHED):
            self.candidates.heard(binding.room)
        if self.candidates.policies.counts(binding.room):
            self.room_pass.seats.hang_ups.note(event)
        self.wake(binding.room)

    def note(self, outage: Outage) -> None:
        """Note that no rule could be enforced."""
        reader = self.room_pass.reader
        for policies in reader.policies:
            reader.records.not_enforced(policies.rule.name, outage)

    def _passed(self, begun: float, rooms: int, waiting: int) -> None:
        self.last_good = self.now()
        seconds = self.last_good - begun
        late = seconds > self.interval or waiting + self.room_pass.reader.unasked > 0
        self.journal.passed(seconds, rooms, sum(self.room_pass.people.values()), late)

    def _forget_but(self, counts: Mapping[LiveKitRoom, int]) -> None:
        """Drop what is known of rooms whose LiveKit rooms are gone."""
        bindings = map(self.candidates.directory.binding_of, counts)
        self.room_pass.forget_all_but({binding.room for binding in bindings if binding})

    def _most(self) -> tuple[int, int, int]:
        """How many rooms of each class a pass may work on, at a look-up for each rule.

        Of rooms that are known to be restricted as many as may be asked about in `LONGEST_POLL`
        (where the pace allows no more, their policies hold as they were), of others as many as in
        one interval. Anybody can have a LiveKit room made for a Matrix room that they invent: such
        rooms must not keep those with a policy waiting.
        """
        reader = self.room_pass.reader
        rate = reader.limiter.rate / len(reader.policies.events)
        restricted, others = int(rate * LONGEST_POLL), int(rate * self.interval)
        return max(1, restricted), max(1, others), max(1, others // INVENTED_SHARE)

    async def _work(self, room: RoomId, poll: bool) -> Outcome:
        if poll and self.livekit.outage:
            return Outcome.TROUBLE
        try:
            if poll and room in self._seem_empty and await self.room_pass.is_empty(room):
                return Outcome.UNDER_POLICY
            return await self.room_pass.enforce(room, _Turn(self, room, poll))
        except Outage as outage:
            self.note(outage)
            return Outcome.TROUBLE if await self.livekit.is_out() else Outcome.ALONE
        except CancelledError:
            raise
        except Exception:
            _log.failure("Could not process a room")
        return Outcome.TROUBLE


@frozen
class _Turn:
    """A turn of one room in the loop."""

    live: Live
    room: RoomId
    is_poll: bool

    def again(self, seconds: float) -> None:
        """Wake the room, at once or later."""
        if seconds:
            self.live.clock.callLater(seconds, self.live.wake, self.room)
        else:
            self.live.wake(self.room)

    def excuse(self, seconds: float) -> None:
        """Count less time for the turn."""
        self.live.turns.excuse(self.room, seconds)
