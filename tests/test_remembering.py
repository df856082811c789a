"""What the guard knows of rooms and people outlives a restart, and ends with the calls."""

import time

import pytest_twisted
from twisted.internet.task import deferLater

from lotus_guard.run.clocks import Clocks
from lotus_guard.run.loop import LoopTick
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import TWO, VOICE
from tests.calls import NO_CAMERA, join, settled, sources, written
from tests.events import SOURCES_EVENT
from tests.world import World, reactor


@pytest_twisted.ensureDeferred
async def test_a_restart_forgets_nobody(world: World) -> None:
    world.start_guard()
    alice, bob = await join(world, "alice", TWO), await join(world, "bob", TWO)
    await world.guard.live.run_pass()
    await written(world)
    world.start_guard()
    knowledge = world.guard.memory.directory
    assert knowledge.user_of(alice.identity) == "@alice:sandbox"
    assert knowledge.user_of(bob.identity) == "@bob:sandbox"
    assert (await world.ask("carol", TWO)).status == 403
    world.sandbox.homeserver.set_state(TWO, SOURCES_EVENT, NO_CAMERA)
    await world.guard.live.run_pass()
    assert Source.CAMERA not in sources(alice)


@pytest_twisted.ensureDeferred
async def test_a_held_seat_survives_a_restart(world: World) -> None:
    world.start_guard()
    assert (await world.ask("alice", TWO)).status == 200
    assert (await world.ask("bob", TWO)).status == 200
    await written(world)
    world.start_guard()
    assert (await world.ask("carol", TWO)).status == 403
    assert (await world.ask("bob", TWO)).status == 200


@pytest_twisted.ensureDeferred
async def test_the_room_behind_an_unknown_alias_is_looked_for_once(world: World) -> None:
    world.start_guard()
    upstream = world.sandbox.addresses.authorization
    got = await world.ask("alice", VOICE, base=upstream)  # before we were here
    alice = world.sandbox.sfu.join(got.json()["jwt"])
    world.sandbox.sfu.rooms["an alias of nobody's"] = {}
    asked = world.sandbox.homeserver.asked = []
    tick = LoopTick(world.guard.loop, Clocks(reactor, time.monotonic, time.time))
    for _ in range(3):
        await tick()
        await deferLater(reactor, 0.1, lambda: None)
        await settled(world)
    assert sources(alice) == [Source.MICROPHONE]
    assert asked.count("rooms") == 1
