"""Who is put out of a full room, and about whom there is too much doubt for that."""

from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock, deferLater

from lotus_guard.core.model import Attendance, Identity, RoomId
from lotus_guard.core.seats import SPARE, Seats
from lotus_guard.core.webhook import Event, EventKind
from lotus_guard.enforce.hang_ups import HangUps
from lotus_guard.enforce.live_seats import LiveSeats
from lotus_guard.enforce.policies import Known
from lotus_guard.enforce.presence import Seen
from lotus_guard.enforce.room_rules import RoomRule
from lotus_guard.enforce.seat_store import LocalSeats
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.sandbox.stack import TWO
from tests.calls import Troubled, delivered, full_room_and_a_drawer, hook_up, join, metric, people
from tests.core.seating import CALL, ROOM, look, make
from tests.enforce.stand_ins import AWAY, Homeserver, Rank, policies_of, result
from tests.events import LIMIT_EVENT
from tests.world import DEADLINE, FAST, World, reactor


@pytest_twisted.ensureDeferred
async def test_a_drawer_token_is_put_out_and_nobody_else(world: World) -> None:
    world.start_guard()
    states = world.sandbox.homeserver
    states.set_state(TWO, LIMIT_EVENT, {})
    drawer = (await world.ask("carol", TWO, "/get_token")).json()["jwt"]
    alice, bob = await join(world, "alice", TWO), await join(world, "bob", TWO)
    states.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    await world.guard.live.run_pass()
    for _ in range(2):
        world.sandbox.sfu.join(drawer)
        await world.guard.live.run_pass()
        assert people(world, TWO) == {alice.identity, bob.identity}
    assert metric(world, "lotus_guard_live_steps_total", step="remove", outcome="done") == 2.0


@pytest_twisted.ensureDeferred
async def test_live_limit_off_removes_nobody(world: World) -> None:
    world.start_guard(LOTUS_GUARD_LIVE_LIMIT="off")
    drawer = await full_room_and_a_drawer(world)
    world.sandbox.sfu.join(drawer)
    await world.guard.live.run_pass()
    assert len(people(world, TWO)) == 2


@pytest_twisted.ensureDeferred
async def test_a_limit_that_is_only_remembered_removes_nobody(world: World) -> None:
    world.start_guard(**FAST)
    drawer = await full_room_and_a_drawer(world)
    world.sandbox.homeserver.hangs_for = LIMIT_EVENT
    world.sandbox.sfu.join(drawer)
    await world.guard.live.run_pass()
    assert len(people(world, TWO)) == 2
    assert metric(world, "lotus_guard_stale_policy_total", rule="limit", reason="timeout") >= 1.0


@pytest_twisted.ensureDeferred
async def test_who_came_while_the_limit_was_uncertain_is_not_seated_by_that(world: World) -> None:
    world.start_guard(**FAST)
    drawer = await full_room_and_a_drawer(world)
    world.sandbox.homeserver.hangs_for = LIMIT_EVENT
    world.sandbox.sfu.join(drawer)
    await world.guard.live.run_pass()
    assert len(people(world, TWO)) == 2
    world.sandbox.homeserver.hangs_for = ""
    await world.guard.live.run_pass()
    assert len(people(world, TWO)) == 1


@pytest_twisted.ensureDeferred
async def test_who_came_while_livekit_was_out_of_sight_is_not_put_out(world: World) -> None:
    world.start_guard()
    states = world.sandbox.homeserver
    states.set_state(TWO, LIMIT_EVENT, {})
    drawer = (await world.ask("carol", TWO, "/get_token")).json()["jwt"]
    await join(world, "alice", TWO)
    states.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    live = world.guard.live
    await live.run_pass()
    good = live.room_pass.presence.background
    live.room_pass.presence.background = Troubled(good, "attendance ping", "refused")
    await live.run_pass()
    world.sandbox.sfu.join(drawer)
    live.room_pass.presence.background = good
    await live.run_pass()
    assert len(people(world, TWO)) == 2


@pytest.mark.parametrize("limit", [{}, {"max_users": 1}])
@pytest_twisted.ensureDeferred
async def test_nobody_is_put_out_by_a_limit_that_may_have_been_lifted(
    world: World, limit: dict[str, int]
) -> None:
    """Found by the soak (seed 2026): a hint goes by the policy at hand, two seconds old."""
    world.start_guard(**FAST, LOTUS_GUARD_POLICY_MAX_AGE="60")
    drawer = await full_room_and_a_drawer(world)
    sent = hook_up(world)
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, limit)
    if limit:  # it has not been, but Synapse does not say so
        world.sandbox.homeserver.hangs_for = LIMIT_EVENT
    world.sandbox.sfu.join(drawer)
    await delivered(world, sent)
    await deferLater(reactor, 1.5 * DEADLINE, lambda: None)
    assert len(people(world, TWO)) == 2


@pytest_twisted.ensureDeferred
async def test_who_is_let_in_by_a_policy_that_is_only_remembered_has_a_seat(world: World) -> None:
    """Found by the soak (seed 2026): put out by the limit that their guard could not know of."""
    world.start_guard(**FAST, LOTUS_GUARD_POLICY_MAX_AGE="0.05")
    states = world.sandbox.homeserver
    states.set_state(TWO, LIMIT_EVENT, {})
    await join(world, "alice", TWO)
    states.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    world.sandbox.homeserver.hangs_for = LIMIT_EVENT
    await deferLater(reactor, 0.1, lambda: None)
    got = await world.ask("carol", TWO, "/get_token")
    world.sandbox.homeserver.hangs_for = ""
    await world.guard.live.run_pass()
    world.sandbox.sfu.join(got.json()["jwt"])
    await world.guard.live.run_pass()
    assert len(people(world, TWO)) == 2


# By itself.

ALICE, BOB = Identity("@a:s:D"), Identity("@b:s:D")


@define(eq=False)
class Store(LocalSeats):
    """Seats of which all are known here, or not."""

    certain: list[bool] = field(factory=list)
    """What it says of that, one after the other; then always yes."""

    def is_certain(self, _room: RoomId) -> bool:
        return self.certain.pop(0) if self.certain else True


@define(eq=False)
class House:
    """A room for one person in which two are, the second one without a seat."""

    is_on: bool = True
    clock: Clock = field(factory=Clock)
    homeserver: Homeserver = field(factory=lambda: Homeserver({"limit": LimitPolicy(1)}))
    rank: Rank = field(factory=Rank)
    seats: Seats = field(factory=make)
    store: Store = field(init=False)
    live_seats: LiveSeats = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1000.0)
        self.store = Store(self.seats)
        policies = policies_of([Limit()], self.homeserver, self.clock)
        self.live_seats = LiveSeats(policies, self.store, self.rank, HangUps(), self.is_on)
        self.seats.saw(ROOM, {CALL: look(998.0, ALICE)})
        self.seats.reassess(ROOM, 1)
        self.seats.saw(ROOM, {CALL: look(1000.0, ALICE, BOB)})

    def unseated(self, most: int | None = 1, is_certain: bool = True) -> Any:
        seating = RoomRule(Limit(), Known(LimitPolicy(most), is_certain))
        return result(ensureDeferred(self.live_seats.unseated(ROOM, seating)))


def test_who_came_into_a_full_room_without_a_seat_is_put_out() -> None:
    assert House().unseated() == ["@b:s"]


@pytest.mark.parametrize(
    "house",
    [
        House(is_on=False),
        House(rank=Rank(is_sure=False)),
        House(homeserver=Homeserver({"limit": LimitPolicy(2)})),
        House(homeserver=Homeserver({"limit": AWAY})),
    ],
    ids=["off", "seats unknown", "lifted since", "Synapse does not say"],
)
def test_nobody_is_put_out_where_there_is_doubt(house: House) -> None:
    assert house.unseated() == []


@pytest.mark.parametrize("certain", [[False], [True, False]], ids=["before", "in between"])
def test_nobody_is_put_out_while_another_guard_may_have_given_seats(certain: list[bool]) -> None:
    house = House()
    house.store.certain = certain
    assert house.unseated() == []


def test_a_policy_that_is_not_certain_puts_out_nobody_and_seats_nobody() -> None:
    house = House()
    assert house.unseated(None, is_certain=False) == []
    assert house.unseated() == ["@b:s"], "they were not seated by it"


def test_in_doubt_everybody_is_seated() -> None:
    house = House(is_on=False)
    house.unseated()
    house.live_seats.is_on = True
    assert house.unseated() == []


def test_whether_a_limit_still_holds_is_asked_only_where_somebody_would_go() -> None:
    house = House()
    assert house.unseated(2) == []
    assert house.homeserver.asked == []


def test_when_a_limit_is_lifted_everybody_has_a_seat() -> None:
    house = House()
    house.unseated()
    assert house.live_seats.limited == {ROOM}
    result(ensureDeferred(house.live_seats.lift(ROOM)))
    assert house.live_seats.limited == set()
    assert house.unseated() == []


def test_a_room_that_had_no_limit_has_none_to_lift() -> None:
    house = House()
    result(ensureDeferred(house.live_seats.lift(ROOM)))
    assert house.unseated() == ["@b:s"]


def test_who_hung_up_frees_their_seat() -> None:
    house = House()
    house.seats.admit(ROOM, "@a:s", ALICE, 1, 1000.0, 1000.0)
    house.seats.saw(ROOM, {CALL: look(1001.0)})
    held = [person for person, until in house.seats.seated(ROOM).items() if until]
    assert "@a:s" in held
    event = Event("EV", EventKind.LEFT, CALL, ALICE, "S1", on_purpose=True)
    house.live_seats.hang_ups.note(event)
    seen = Seen(1001.0, (CALL,), {CALL: Attendance(1001.0, ())})
    result(ensureDeferred(house.live_seats.free(ROOM, seen)))
    until = house.seats.seated(ROOM)["@a:s"]
    assert until is not None
    assert until <= 1001.0 + SPARE, "but for a moment, to come back by another device"
