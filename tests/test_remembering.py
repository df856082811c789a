"""What the guard knows of rooms and people outlives a restart, and ends with the calls."""

import sqlite3
import time

import pytest_twisted
from twisted.internet.task import Clock, deferLater

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.rules.limit import LimitPolicy
from lotus_guard.rules.media import SourcePolicy
from lotus_guard.rules.rule import Reading
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.loop import LoopTick
from lotus_guard.run.memory import Housekeeping
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from tests.calls import NO_CAMERA, join, settled, sources
from tests.events import SOURCES_EVENT
from tests.world import World, reactor


@pytest_twisted.ensureDeferred
async def test_a_restart_forgets_nobody(world: World) -> None:
    world.start_guard()
    alice, bob = await join(world, "alice", TWO), await join(world, "bob", TWO)
    await world.guard.live.run_pass()
    await deferLater(reactor, 0.2, lambda: None)  # written behind; nothing is closed: kill -9
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
    await deferLater(reactor, 0.2, lambda: None)
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


@pytest_twisted.ensureDeferred
async def test_finished_rooms_are_forgotten_after_an_hour_and_live_ones_never(
    world: World,
) -> None:
    world.start_guard()
    knowledge = world.guard.memory.directory
    alice, bob = await join(world, "alice", VOICE), await join(world, "bob", OPEN)
    voice, open_ = (livekit_room_of(RoomId(r), "m.call#ROOM") for r in (VOICE, OPEN))
    del world.sandbox.sfu.rooms[voice]
    await world.guard.live.run_pass()
    clock = Clock()
    housekeeping = Housekeeping(world.guard.memory, world.guard.live, clock.seconds)
    housekeeping.tidy()
    clock.advance(301.0)
    housekeeping.tidy()
    assert knowledge.user_of(alice.identity) is None, "what was learnt in it is packed away"
    assert knowledge.user_of(bob.identity) is not None
    assert knowledge.binding_of(voice) is not None
    assert knowledge.user_of(alice.identity) is not None, "and there again"
    for seconds, known in ((0.0, True), (3298.0, True), (2.0, False)):
        clock.advance(seconds)
        housekeeping.tidy()
        assert (knowledge.binding_of(voice) is not None) == known
        assert (knowledge.user_of(alice.identity) is not None) == known
    assert knowledge.binding_of(open_) is not None
    assert knowledge.user_of(bob.identity) is not None
    await deferLater(reactor, 0.2, lambda: None)
    rows = sqlite3.connect(world.directory / "state.sqlite").execute("SELECT alias FROM alias")
    assert [livekit_room for (livekit_room,) in rows] == [open_]


@pytest_twisted.ensureDeferred
async def test_policies_that_are_of_no_use_any_more_are_cleared_away(world: World) -> None:
    world.start_guard()
    live, old = world.guard.live, time.monotonic() - 700.0
    live.candidates.policies.of("limit").put(RoomId("!old:s"), Reading(LimitPolicy(3)), old)
    live.candidates.policies.of("sources").put(RoomId("!old:s"), Reading(SourcePolicy()), old)
    clock = Clock()
    housekeeping = Housekeeping(world.guard.memory, world.guard.live, clock.seconds)
    housekeeping.tidy()
    assert live.candidates.policies.of("limit").age(RoomId("!old:s")) is None
    assert live.candidates.policies.of("sources").age(RoomId("!old:s")) is None
