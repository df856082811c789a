"""What of the guard's memory is cleared away once a minute."""

import sqlite3
import time
from typing import Any

import pytest_twisted
from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.rules.limit import LimitPolicy
from lotus_guard.rules.media import SourcePolicy
from lotus_guard.rules.rule import Reading
from lotus_guard.run.memory import Housekeeping
from lotus_guard.sandbox.stack import OPEN, VOICE
from tests.calls import join, written
from tests.world import World


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
    await written(world)
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


@pytest_twisted.ensureDeferred
async def test_nothing_is_forgotten_before_a_pass_has_seen_the_whole_picture(world: World) -> None:
    """Else a LiveKit that is away for an hour would make the guard forget every call."""
    world.start_guard()
    await join(world, "alice", VOICE)
    clock = Clock()
    housekeeping = Housekeeping(world.guard.memory, world.guard.live, clock.seconds)
    housekeeping.tidy()
    clock.advance(4000.0)
    housekeeping.tidy()
    voice = livekit_room_of(RoomId(VOICE), "m.call#ROOM")
    assert world.guard.live.last_good is None
    assert world.guard.memory.directory.binding_of(voice) is not None


@pytest_twisted.ensureDeferred
async def test_a_fault_in_it_ends_nothing(world: World, logged: list[Any]) -> None:
    world.start_guard()

    def broken() -> float:
        raise ValueError("a bug")

    Housekeeping(world.guard.memory, world.guard.live, broken).tidy()
    assert [event["log_namespace"] for event in logged if "log_failure" in event] == [
        "lotus_guard.run.memory"
    ]


@pytest_twisted.ensureDeferred
async def test_what_was_kept_is_taken_up_and_what_is_learnt_is_kept(world: World) -> None:
    world.start_guard()
    alice = await join(world, "alice", VOICE)
    await world.guard.memory.cluster.close()
    world.start_guard()
    assert world.guard.memory.directory.user_of(alice.identity) == "@alice:sandbox"
