"""One room brought within its policies: on the sandbox, and by the rules that hold in it."""

import pytest_twisted

from lotus_guard.core.model import LiveKitRoom, RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.rules.plan import MOST, Remove
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from tests.calls import AUDIO, NO_CAMERA, VIDEO, Counting, join, metric, people, sources
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.world import World


@pytest_twisted.ensureDeferred
async def test_a_pass_narrows_whoever_has_too_much_and_keeps_the_rest(world: World) -> None:
    world.start_guard()
    alice = await join(world, "alice", OPEN)
    alice.permission.agent = True  # a field that the guard knows nothing of
    before = type(alice.permission)()
    before.CopyFrom(alice.permission)
    livekit_room = livekit_room_of(RoomId(OPEN), "m.call#ROOM")
    camera = world.sandbox.sfu.publish(livekit_room, alice.identity, Source.CAMERA, VIDEO)
    sound = world.sandbox.sfu.publish(livekit_room, alice.identity, Source.MICROPHONE, AUDIO)
    world.sandbox.homeserver.set_state(OPEN, SOURCES_EVENT, NO_CAMERA)
    await world.guard.live.run_pass()
    wanted = [Source.MICROPHONE, Source.SCREEN_SHARE, Source.SCREEN_SHARE_AUDIO]
    assert sources(alice) == wanted
    assert [t.sid for t in alice.tracks] == [sound.sid]
    assert camera.sid != sound.sid
    before.can_publish_sources.extend(wanted)
    assert alice.permission == before
    await world.guard.live.run_pass()
    assert metric(world, "lotus_guard_live_steps_total", step="narrow", outcome="done") == 1.0
    assert (
        metric(world, "lotus_guard_live_steps_checked_total", step="narrow", effect="seen") == 1.0
    )


@pytest_twisted.ensureDeferred
async def test_a_track_in_disguise_silences_its_publisher_alone(world: World) -> None:
    world.start_guard()
    alice, bob = await join(world, "alice", VOICE), await join(world, "bob", VOICE)
    livekit_room = livekit_room_of(RoomId(VOICE), "m.call#ROOM")
    world.sandbox.sfu.publish(livekit_room, alice.identity, Source.MICROPHONE, VIDEO)
    world.sandbox.sfu.publish(livekit_room, bob.identity, Source.MICROPHONE, AUDIO)
    await world.guard.live.run_pass()
    assert not alice.permission.can_publish
    assert alice.permission.can_subscribe
    assert list(alice.tracks) == []
    assert len(bob.tracks) == 1


@pytest_twisted.ensureDeferred
async def test_no_pass_removes_more_than_its_bound(world: World) -> None:
    world.start_guard()
    states = world.sandbox.homeserver
    states.set_state(TWO, LIMIT_EVENT, {})
    crowd = [f"guest{i}" for i in range(9)]
    for name in crowd:
        states.openid[f"openid-{name}"] = f"@{name}:sandbox"
    drawers = [(await world.ask(name, TWO, "/get_token")).json()["jwt"] for name in crowd]
    await join(world, "alice", TWO)
    states.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    await world.guard.live.run_pass()
    for token in drawers:
        world.sandbox.sfu.join(token)
    await world.guard.live.run_pass()
    assert len(people(world, TWO)) == 10 - MOST[Remove]
    await world.guard.live.run_pass()
    assert len(people(world, TWO)) == 1


@pytest_twisted.ensureDeferred
async def test_calls_grow_with_restrictive_rooms_and_not_with_rooms(world: World) -> None:
    world.start_guard()
    for name in ("alice", "bob"):
        await join(world, name, OPEN)
        await join(world, name, VOICE)
    looks: list[LiveKitRoom] = []
    service = world.guard.live.service

    world.guard.live.room_pass.presence.background = Counting(service, looks)
    await world.guard.live.run_pass()
    assert looks == [livekit_room_of(RoomId(VOICE), "m.call#ROOM")]
