"""The live loop finds policies within its share of Synapse's time."""

import time

import pytest_twisted
from twisted.internet.task import deferLater

from lotus_guard.core.model import LiveKitRoom, RoomId
from tests.calls import NO_CAMERA, Counting, join
from tests.events import SOURCES_EVENT
from tests.world import FAST, World, reactor


@pytest_twisted.ensureDeferred
async def test_a_synapse_that_hangs_delays_a_pass_by_one_deadline_not_by_one_a_room(
    world: World,
) -> None:
    world.start_guard(**FAST, LOTUS_GUARD_POLICY_STALE="0", LOTUS_GUARD_POLICY_RATE="5000")
    for number in range(40):
        room = f"!r{number}:sandbox"
        world.sandbox.homeserver.add_room(room, "@admin:sandbox")
        await join(world, "alice", room)
    world.sandbox.homeserver.hangs_for = SOURCES_EVENT
    begun = time.monotonic()
    await world.guard.live.run_pass()
    # Four rooms at a time, until enough have failed in a row; all of them would take 3 s.
    assert time.monotonic() - begun < 2.0


@pytest_twisted.ensureDeferred
async def test_many_rooms_with_a_policy_delay_no_enforcement_of_what_is_known(
    world: World,
) -> None:
    """Anybody can have rooms with a policy of their own, and somebody in each."""
    world.start_guard(LOTUS_GUARD_POLICY_RATE="20", LOTUS_GUARD_RECONCILE_INTERVAL="0.5")
    live, states = world.guard.live, world.sandbox.homeserver
    rooms = [RoomId(f"!{number:02}:sandbox") for number in range(30)]
    for room in rooms:
        states.add_room(room, "@admin:sandbox")
        states.set_state(room, SOURCES_EVENT, NO_CAMERA)
        await join(world, "alice", room)
    looks: list[LiveKitRoom] = []
    live.room_pass.presence.background = Counting(live.service, looks)
    asked = world.sandbox.homeserver.asked = []
    for number in range(1, 4):
        begun = time.monotonic()
        await live.run_pass()
        assert len(looks) == 30 * number, "all are looked at in each pass"
        assert time.monotonic() - begun < 2.0, "which waits for no more than its interval's pace"
    assert len(asked) < 2 * 30 * 2
    ages = [live.candidates.policies.of("sources").age(room) or 0.0 for room in rooms]
    await deferLater(reactor, 0.7, lambda: None)
    await live.run_pass()
    oldest = sorted(rooms, key=lambda room: -ages[rooms.index(room)])[:3]
    assert all(
        (live.candidates.policies.of("sources").age(room) or 0.0) < 0.7 for room in oldest
    ), "the oldest are read first"
