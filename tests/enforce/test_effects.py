"""Steps carried out, and seen to be done in the next look."""

import time
from typing import Any

import pytest
import pytest_twisted
from attrs import define, evolve, field
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock, deferLater

from lotus_guard.core.directory import Directory
from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import Grant, Identity, LiveKitRoom, Participant, RoomId, Source
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.core.seats import Seats
from lotus_guard.enforce.effects import BACK_SECONDS, Effects, Removals, key_of
from lotus_guard.enforce.giving import Hands
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.seat_store import LocalSeats
from lotus_guard.rules.plan import NOTHING, Ban, Curb, Narrow, Remove, Silence, Step
from lotus_guard.sandbox.stack import OPEN, TWO
from tests.calls import NO_CAMERA, full_room_and_a_drawer, join, metric, people, sources
from tests.core.seating import make
from tests.enforce.stand_ins import ROOM, Rank, Records, Turn, result
from tests.events import SOURCES_EVENT
from tests.world import World, reactor


@pytest_twisted.ensureDeferred
async def test_a_step_without_effect_is_tried_again_and_shows(world: World) -> None:
    world.start_guard()
    alice = await join(world, "alice", OPEN)
    world.sandbox.homeserver.set_state(OPEN, SOURCES_EVENT, NO_CAMERA)
    world.sandbox.sfu.permit = lambda *_: None  # type: ignore[method-assign]
    await world.guard.live.run_pass()
    await world.guard.live.run_pass()
    assert sources(alice) == []
    name = "lotus_guard_live_steps_checked_total"
    assert metric(world, name, step="narrow", effect="not_seen") == 1.0
    assert metric(world, "lotus_guard_live_steps_total", step="narrow", outcome="done") == 2.0


@pytest_twisted.ensureDeferred
async def test_who_was_put_out_and_is_back_at_once_is_gone_before_the_next_pass(
    world: World,
) -> None:
    world.start_guard()
    drawer = await full_room_and_a_drawer(world)
    (alice,) = people(world, TWO)
    identity = world.sandbox.sfu.join(drawer).identity
    await world.guard.live.run_pass()
    assert people(world, TWO) == {alice}
    for _ in range(2):
        world.sandbox.sfu.join(drawer)
        end = time.monotonic() + 10.0
        while people(world, TWO) != {alice} and time.monotonic() < end:
            await deferLater(reactor, 0.02, lambda: None)
        assert people(world, TWO) == {alice}, "no pass has come by"
    assert identity in world.guard.memory.seats.table(RoomId(TWO)).put_out


@pytest_twisted.ensureDeferred
async def test_a_removal_revokes_the_tokens_given_before_and_none_that_come_after(
    world: World,
) -> None:
    world.start_guard()
    drawer = await full_room_and_a_drawer(world)
    where = (livekit_room_of(RoomId(TWO), "m.call#ROOM"), world.sandbox.sfu.join(drawer).identity)
    await world.guard.live.run_pass()
    begins = world.sandbox.sfu.open_token(drawer)["nbf"]
    assert world.sandbox.sfu.revoked == {where: begins + 1}
    world.guard.live.room_pass.effects.removals.begins.pop(where[1])  # as after a restart
    world.sandbox.sfu.join(drawer)
    await world.guard.live.run_pass()
    assert time.time() - 70.0 < world.sandbox.sfu.revoked[where] <= time.time() - 60.0


# By itself, with a LiveKit that does as the test says.

CALL = LiveKitRoom("call")
EPOCH = 1_790_000_000.0
ALICE = Participant(Identity("@a:s:D"), "S1", Grant(True, ()))
NARROW = Narrow(
    CALL, ALICE, Grant(True, ("microphone",)), (Ban("one", frozenset({Source.CAMERA})),)
)
SILENCE = Silence(CALL, ALICE)
CURB = Curb(CALL, ALICE)
REMOVE = Remove(CALL, ALICE, "@a:s")


@define(eq=False)
class LiveKit:
    """Does what is asked, or fails."""

    failure: Outage | None = None
    done: list[tuple[Any, ...]] = field(factory=list)

    def _do(self, *what: Any) -> None:
        if self.failure:
            raise self.failure
        self.done.append(what)

    async def permit(self, livekit_room: LiveKitRoom, participant: Participant, grant: Any) -> None:
        self._do("permit", livekit_room, participant.identity, grant)

    async def curb(self, livekit_room: LiveKitRoom, identity: Identity) -> None:
        self._do("curb", livekit_room, identity)

    async def remove(
        self, livekit_room: LiveKitRoom, participant: Participant, revoked: int
    ) -> None:
        self._do("remove", livekit_room, participant.identity, revoked)


@define(eq=False)
class Roll:
    """A roll call for which somebody is calm again, or not."""

    is_calm: bool = True

    def calmed(self, _livekit_room: LiveKitRoom, _identity: Identity) -> bool:
        return self.is_calm

    @property
    def roll_call(self) -> Any:
        return self


@define(eq=False)
class Arm:
    """Effects, and all that they touch."""

    clock: Clock = field(factory=Clock)
    livekit: LiveKit = field(factory=LiveKit)
    roll: Any = field(factory=Roll)
    rank: Rank = field(factory=Rank)
    records: Records = field(factory=Records)
    seats: Seats = field(factory=make)
    turn: Turn = field(factory=Turn)
    notes: list[tuple[Any, ...]] = field(factory=list)
    begins: LruDict[Identity, int] = field(factory=lambda: LruDict(10))
    effects: Effects = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(100.0)
        service: Any = self.livekit
        now = self.clock.seconds
        removals = Removals(service, LocalSeats(self.seats), self.begins, now, lambda: EPOCH)
        self.effects = Effects(
            Hands(service), removals, self.roll, Directory(), self.rank, self, self.records, now
        )

    def stepped(self, step: Step, is_done: bool) -> None:
        self.notes.append(("stepped", type(step), is_done))

    def deposed(self, step: Step) -> None:
        self.notes.append(("deposed", type(step)))

    def confirmed(self, step: type[Step], seconds: float) -> None:
        self.notes.append(("confirmed", step, seconds))

    def unconfirmed(self, step: type[Step]) -> None:
        self.notes.append(("unconfirmed", step))

    def carry_out(self, step: Step) -> None:
        done = ensureDeferred(self.effects.carry_out(ROOM, step, "one", self.turn))
        assert result(done) is None

    def look(self, *steps: Step, kept: tuple[Step, ...] | None = None, age: float = 0.0) -> Any:
        """Compare with a look that calls for these steps; what is noted of it."""
        self.notes.clear()
        self.effects.confirm(ROOM, steps, steps if kept is None else kept, age)
        return list(self.notes)


@pytest.fixture
def arm() -> Arm:
    return Arm()


@pytest.mark.parametrize(
    ("step", "done"),
    [
        (NARROW, ("permit", CALL, ALICE.identity, NARROW.grant)),
        (SILENCE, ("permit", CALL, ALICE.identity, NOTHING)),
        (CURB, ("curb", CALL, ALICE.identity)),
        (REMOVE, ("remove", CALL, ALICE.identity, int(EPOCH - 60))),
    ],
)
def test_a_step_is_carried_out_and_put_on_record(arm: Arm, step: Step, done: Any) -> None:
    arm.carry_out(step)
    assert arm.livekit.done == [done]
    assert arm.notes == [("stepped", type(step), True)]
    ((ruling, observed),) = arm.records.decisions
    assert (ruling.deed, ruling.rule, ruling.user, observed) == ("step", "one", "@a:s", False)


def test_a_step_that_fails_is_on_record_with_the_reason_and_ends_nothing(arm: Arm) -> None:
    arm.livekit.failure = Outage(Reason.TIMEOUT, "late")
    arm.carry_out(NARROW)
    assert arm.notes == [("stepped", Narrow, False)]
    ((ruling, _),) = arm.records.decisions
    assert ruling.why.endswith("; it failed: late (timeout)")


def test_a_step_that_is_tried_again_is_the_same_until_it_ends_otherwise(arm: Arm) -> None:
    arm.carry_out(NARROW)
    arm.carry_out(NARROW)
    arm.livekit.failure = Outage(Reason.TIMEOUT, "late")
    arm.carry_out(NARROW)
    arm.carry_out(Narrow(CALL, evolve(ALICE, sid="S2"), NARROW.grant))
    first, again, failed, other = arm.records.once
    assert first == again
    assert len({first, failed, other}) == 3
    assert arm.effects.records is arm.records


@pytest.mark.parametrize(
    ("step", "is_leader", "is_sure", "is_done"),
    [
        (NARROW, False, False, False),
        (NARROW, True, False, True),
        (REMOVE, True, False, False),
        (REMOVE, False, True, False),
        (REMOVE, True, True, True),
    ],
)
def test_a_guard_that_has_been_deposed_does_nothing(
    arm: Arm, step: Step, is_leader: bool, is_sure: bool, is_done: bool
) -> None:
    arm.rank.is_leader, arm.rank.is_sure = is_leader, is_sure
    arm.carry_out(step)
    assert bool(arm.livekit.done) is is_done
    assert arm.notes[0][0] == ("stepped" if is_done else "deposed")
    assert bool(arm.records.decisions) is is_done


@pytest.mark.parametrize(("is_calm", "agains"), [(True, [0.0]), (False, [])])
def test_who_else_is_there_is_looked_for_once_the_loud_are_calm(
    arm: Arm, is_calm: bool, agains: list[float]
) -> None:
    arm.roll.is_calm = is_calm
    arm.carry_out(CURB)
    assert arm.turn.agains == agains


def test_who_is_put_out_is_remembered_and_looked_for_soon(arm: Arm) -> None:
    arm.begins.put(ALICE.identity, 12345)
    arm.carry_out(REMOVE)
    assert arm.livekit.done == [("remove", CALL, ALICE.identity, 12346)]
    assert ALICE.identity in arm.seats.table(ROOM).put_out
    assert tuple(arm.turn.agains) == BACK_SECONDS


def test_who_could_not_be_put_out_is_not_remembered_as_such(arm: Arm) -> None:
    arm.livekit.failure = Outage(Reason.RESET, "made up")
    arm.carry_out(REMOVE)
    assert arm.seats.table(ROOM).put_out == {}
    assert arm.turn.agains == []


def test_what_the_next_look_does_not_call_for_any_more_is_confirmed(arm: Arm) -> None:
    assert arm.look(NARROW) == []
    arm.clock.advance(2.0)
    assert arm.look(NARROW, CURB) == [("unconfirmed", Narrow)]
    arm.clock.advance(3.0)
    assert arm.look() == [("confirmed", Narrow, 5.0), ("confirmed", Curb, 3.0)]
    assert arm.look() == []


def test_enforcement_counts_from_when_it_was_called_for(arm: Arm) -> None:
    arm.look(NARROW, age=7.0)
    arm.clock.advance(2.0)
    arm.look(NARROW, CURB, age=50.0)  # the policy of another rule has changed
    assert arm.look() == [("confirmed", Narrow, 9.0), ("confirmed", Curb, 50.0)]


def test_what_was_put_off_was_not_tried(arm: Arm) -> None:
    arm.look(NARROW, CURB, kept=(NARROW,))
    assert arm.look() == [("confirmed", Narrow, 0.0)]


def test_what_was_tried_in_a_room_without_a_policy_is_forgotten(arm: Arm) -> None:
    arm.look(NARROW)
    arm.effects.forget(ROOM)
    assert arm.look() == []
    arm.look(NARROW)
    arm.effects.forget_all_but({ROOM})
    assert arm.look() == [("confirmed", Narrow, 0.0)]
    arm.look(NARROW)
    arm.effects.forget_all_but(frozenset())
    assert arm.look() == []


def test_what_is_done_anew_after_something_else_was_is_on_record_anew(arm: Arm) -> None:
    """A rule that is lifted and set again: the last record says what holds."""
    for step in (NARROW, SILENCE, NARROW):
        arm.carry_out(step)
    first, _, again = arm.records.once
    assert first != again


def test_what_would_be_done_is_on_record_and_not_done(arm: Arm) -> None:
    arm.effects.would(ROOM, NARROW, "one")
    assert arm.livekit.done == []
    ((ruling, observed),) = arm.records.decisions
    assert (ruling.rule, ruling.user, observed) == ("one", "@a:s", True)
    arm.effects.would(ROOM, NARROW, "one")
    assert arm.records.once[0] == arm.records.once[1] is not None
    arm.carry_out(NARROW)
    assert arm.records.once[2] != arm.records.once[0]


def test_a_step_is_known_again_by_whom_it_is_about_and_not_by_what_it_leaves() -> None:
    assert key_of(NARROW) == key_of(Narrow(CALL, ALICE, NOTHING))
    others = (SILENCE, Narrow(LiveKitRoom("x"), ALICE), Narrow(CALL, evolve(ALICE, sid="S2")))
    assert all(key_of(other) != key_of(NARROW) for other in others)
