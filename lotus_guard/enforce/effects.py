"""Steps are carried out, and confirmed by the next look: only what LiveKit then shows is done."""

from collections.abc import Callable, Iterable
from collections.abc import Set as AbstractSet
from typing import Protocol

from attrs import define, field

from lotus_guard.core.directory import Directory
from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId
from lotus_guard.enforce.giving import Giving, Hands
from lotus_guard.enforce.ports import Now, Outage, Rank, Records, RoomService
from lotus_guard.enforce.presence import Presence
from lotus_guard.enforce.seat_store import SeatStore
from lotus_guard.enforce.turn import Turn
from lotus_guard.rules.plan import Curb, Expel, GiveBack, Remove, Restraint, Step
from lotus_guard.rules.rulings import step_taken

BACK_SECONDS = (0.3, 0.8, 1.5, 2.2)
"""Seconds after which a room is looked at again when somebody was put out of it: between two passes
at the usual interval, about as often as a client can be back."""
MOST_TURNS = 20_000
CLOCKS_APART = 60.0
"""Seconds by which the clocks of this machine and of lk-jwt-service's may differ."""

_Key = tuple[LiveKitRoom, Identity, str, type[Step]]


class StepJournal(Protocol):
    """Takes note of steps, for metrics and the log."""

    def stepped(self, step: Step, is_done: bool) -> None:
        """Note a step that was carried out, or that it was not."""

    def deposed(self, step: Step) -> None:
        """Note a step that was not carried out because another guard leads by now."""

    def confirmed(self, step: type[Step], seconds: float) -> None:
        """Note that a look shows a step's effect, so many seconds after what called for it."""

    def unconfirmed(self, step: type[Step]) -> None:
        """Note that a look does not show a step's effect; it is tried again."""


class _Deposed(Exception):
    """Another guard leads."""


def key_of(step: Step) -> _Key:
    """What makes a step the same as one that was tried before."""
    participant = step.participant
    return step.livekit_room, participant.identity, participant.sid, type(step)


@define(eq=False)
class Removals:
    """Puts people out so that the token that they came in with does not let them in again."""

    service: RoomService
    store: SeatStore
    begins: LruDict[Identity, int]
    """From when on the last token that was given to each identity is valid (`nbf`)."""
    now: Now
    epoch: Callable[[], float]

    async def put_out(self, room: RoomId, step: Remove | Expel, turn: Turn) -> None:
        """Remove a participant, and look again soon: they may be back with the same token."""
        identity = step.participant.identity
        await self.service.remove(step.livekit_room, step.participant, self._revoked(identity))
        await self.store.change(room, lambda seats: seats.put_out(room, identity, self.now()))
        for seconds in BACK_SECONDS:
            turn.again(seconds)

    def _revoked(self, identity: Identity) -> int:
        """From when on a token must be valid to let in somebody who is put out.

        Just after the last one that was given to them, by the clock of lk-jwt-service. Where that
        is not known, a minute ago by ours: the two may differ, and a token given from now on must
        not be refused.
        """
        begins = self.begins.get(identity)
        return int(self.epoch() - CLOCKS_APART) if begins is None else begins + 1


@define(eq=False)
class Effects:
    """Carries steps out and confirms them."""

    hands: Hands
    removals: Removals
    presence: Presence
    directory: Directory
    rank: Rank
    journal: StepJournal
    records: Records
    now: Now
    _tried: dict[RoomId, dict[_Key, float]] = field(init=False, factory=dict)
    """What was tried in each room, and since when it is called for."""
    _turns: LruDict[tuple[LiveKitRoom, Identity], tuple[type[Step], int]] = field(
        init=False, factory=lambda: LruDict(MOST_TURNS)
    )
    """What was done to each participant last, and how often that changed its kind."""

    @property
    def giving(self) -> Giving | None:
        """What knows what is to be given back; None where nothing is."""
        return self.hands.giving

    def confirm(
        self, room: RoomId, steps: Iterable[Step], kept: Iterable[Step], age: float
    ) -> None:
        """Compare what was tried with what is still to be done.

        `age`: for how many seconds what is tried for the first time has been called for.
        """
        since = self.now() - age
        needed = {key_of(step) for step in steps}
        before = self._tried.get(room, {})
        for key, at in before.items():
            if key in needed:
                self.journal.unconfirmed(key[3])
            else:
                self.journal.confirmed(key[3], self.now() - at)
        tried = {key_of(step): before.get(key_of(step), since) for step in kept}
        if tried:
            self._tried[room] = tried
        else:
            self._tried.pop(room, None)

    def forget(self, room: RoomId) -> None:
        """Forget what was tried in a room: it has no policy any more."""
        self._tried.pop(room, None)

    def forget_all_but(self, rooms: AbstractSet[RoomId]) -> None:
        """Forget what was tried in rooms whose calls are over."""
        for room in self._tried.keys() - rooms:
            del self._tried[room]

    def would(self, room: RoomId, step: Step, rule: str) -> None:
        """Put on record what a rule that is only observed would do."""
        who = self.directory.person(step.participant.identity)
        ruling = step_taken(room, who, step, rule)
        self.records.decided(ruling, observed=True, once=("would", room, key_of(step)))

    async def carry_out(self, room: RoomId, step: Step, rule: str, turn: Turn) -> None:
        """Carry a step out for a rule, and put it on record; a failure is a value, not the end."""
        failure = ""
        try:
            self._check_rank(step)
            await self._do(room, step, turn)
        except Outage as outage:
            failure = str(outage)
        except _Deposed:
            self.journal.deposed(step)
            return
        self.journal.stepped(step, is_done=not failure)
        who = self.directory.person(step.participant.identity)
        ruling = step_taken(room, who, step, rule, failure)
        # The same step is tried again in every pass until it works: it is on record once a minute,
        # and anew once another kind of step was done to them.
        turns = 0 if failure else self._turns_of(step)
        self.records.decided(ruling, once=("step", room, key_of(step), failure, turns))

    def _turns_of(self, step: Step) -> int:
        """How often what is done to a participant has changed its kind, by this step included."""
        who = (step.livekit_room, step.participant.identity)
        kind, turns = self._turns.get(who) or (type(step), 0)
        if kind is not type(step):
            turns += 1
        self._turns.put(who, (type(step), turns))
        return turns

    def _check_rank(self, step: Step) -> None:
        """Raise _Deposed where this guard leads no more: it may have been paused for a while."""
        if not self.rank.leads() or (isinstance(step, Remove) and not self.rank.may_remove()):
            raise _Deposed

    async def _do(self, room: RoomId, step: Step, turn: Turn) -> None:
        identity = step.participant.identity
        if isinstance(step, Remove | Expel):
            await self.removals.put_out(room, step, turn)
        elif isinstance(step, Curb):
            await self.hands.curb(step.livekit_room, identity)
            if self.presence.roll_call.calmed(step.livekit_room, identity):
                turn.again(0.0)  # now LiveKit shows who else is there
        elif isinstance(step, Restraint):
            await self.hands.permit(step.livekit_room, step.participant, step.grant)
        elif isinstance(step, GiveBack):
            await self.hands.give(step)
