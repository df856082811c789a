"""Steps carried out, and seen to be done in the next look."""

import time

import pytest_twisted
from twisted.internet.task import deferLater

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.sandbox.stack import OPEN, TWO
from tests.calls import NO_CAMERA, full_room_and_a_drawer, join, metric, people, sources
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
