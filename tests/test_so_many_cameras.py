"""So many cameras at once, from the event to what LiveKit then lets people do, on the sandbox."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet import reactor
from twisted.internet.task import deferLater

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.sandbox.livekit_state import NotAllowed
from lotus_guard.sandbox.livekit_state import Source as Declared
from lotus_guard.sandbox.stack import OPEN
from tests.calls import AUDIO, VIDEO, join, last, metric, settled, sources
from tests.events import SOURCES_EVENT
from tests.world import World

CALL = livekit_room_of(RoomId(OPEN), "m.call#ROOM")
WITHOUT_CAMERA = [Declared.MICROPHONE, Declared.SCREEN_SHARE, Declared.SCREEN_SHARE_AUDIO]


def allow(world: World, most: Any, **more: Any) -> None:
    content = {"max_cameras": most, **more}
    world.sandbox.homeserver.set_state(OPEN, SOURCES_EVENT, content)


def publish(world: World, info: Any, source: Any = Declared.CAMERA, kind: Any = VIDEO) -> Any:
    return world.sandbox.sfu.publish(CALL, info.identity, source, kind)


async def with_cameras(world: World, *names: str) -> list[Any]:
    """Have people join and put their cameras on, one after the other, with a pass after each."""
    found = []
    for name in names:
        info = await join(world, name, OPEN)
        publish(world, info)
        found.append(info)
        await world.guard.live.run_pass()
    return found


def on(infos: list[Any]) -> list[bool]:
    return [bool(info.tracks) for info in infos]


@pytest_twisted.ensureDeferred
async def test_the_first_keep_theirs_and_the_next_loses_the_right(world: World) -> None:
    world.start_guard()
    allow(world, 2)
    alice, bob, carol = await with_cameras(world, "alice", "bob", "carol")
    assert on([alice, bob, carol]) == [True, True, False]
    assert (sources(alice), sources(bob), sources(carol)) == ([], [], WITHOUT_CAMERA)
    with pytest.raises(NotAllowed):
        publish(world, carol)
    publish(world, carol, Declared.MICROPHONE, AUDIO)
    ruling = last(world).ruling
    assert (ruling.rule, ruling.verdict) == (
        "cameras",
        "narrowed: may publish microphone, screen_share, screen_share_audio",
    )
    assert ruling.why == "there are more cameras than the 2 that the room allows"
    before = world.sandbox.sfu.changes
    await world.guard.live.run_pass()
    assert world.sandbox.sfu.changes == before, "once is enough"


@pytest_twisted.ensureDeferred
async def test_a_new_token_has_the_right_again_and_it_goes_again_while_all_places_are_taken(
    world: World,
) -> None:
    world.start_guard()
    allow(world, 1)
    alice, bob = await with_cameras(world, "alice", "bob")
    (bob,) = await with_cameras(world, "bob")
    assert sources(bob) == WITHOUT_CAMERA
    world.sandbox.sfu.leave(CALL, alice.identity)
    await world.guard.live.run_pass()
    assert sources(bob) == WITHOUT_CAMERA, "the guard only takes away"
    (bob,) = await with_cameras(world, "bob")
    assert (on([bob]), sources(bob)) == ([True], [])


@pytest_twisted.ensureDeferred
async def test_without_a_camera_nobody_loses_the_right(world: World) -> None:
    world.start_guard()
    allow(world, 1)
    await with_cameras(world, "alice")
    bob = await join(world, "bob", OPEN)
    await world.guard.live.run_pass()
    assert sources(bob) == []
    publish(world, bob)
    await world.guard.live.run_pass()
    assert sources(bob) == WITHOUT_CAMERA


@pytest_twisted.ensureDeferred
async def test_who_mutes_is_last_when_they_come_back(world: World) -> None:
    world.start_guard()
    allow(world, 2)
    alice, bob = await with_cameras(world, "alice", "bob")
    for muted in (True, False):
        alice.tracks[0].muted = muted
        await world.guard.live.run_pass()
    assert on([alice, bob]) == [True, True]
    allow(world, 1)
    await world.guard.live.run_pass()
    assert (sources(alice), sources(bob)) == (WITHOUT_CAMERA, [])


@pytest_twisted.ensureDeferred
async def test_a_muted_camera_holds_a_place_until_others_that_are_on_take_it(world: World) -> None:
    world.start_guard()
    allow(world, 2)
    (alice,) = await with_cameras(world, "alice")
    alice.tracks[0].muted = True
    (bob,) = await with_cameras(world, "bob")
    assert (sources(alice), sources(bob)) == ([], [])
    (carol,) = await with_cameras(world, "carol")
    assert (sources(alice), sources(bob), sources(carol)) == (WITHOUT_CAMERA, [], [])
    assert on([alice, bob, carol]) == [False, True, True]


@pytest_twisted.ensureDeferred
async def test_one_too_many_goes_though_it_is_muted_in_every_look(world: World) -> None:
    world.start_guard()
    allow(world, 1)
    (alice,) = await with_cameras(world, "alice")
    bob = await join(world, "bob", OPEN)
    publish(world, bob).muted = True
    await world.guard.live.run_pass()
    assert (sources(alice), sources(bob), on([bob])) == ([], WITHOUT_CAMERA, [False])


@pytest_twisted.ensureDeferred
async def test_a_camera_that_is_on_only_between_two_passes_goes_all_the_same(world: World) -> None:
    world.start_guard()
    world.guard.live.room_pass.stage.chance = lambda: 0.1  # of two seconds
    allow(world, 1)
    await with_cameras(world, "alice")
    bob = await join(world, "bob", OPEN)
    await world.guard.live.run_pass()
    publish(world, bob)
    await deferLater(reactor, 0.3, lambda: None)
    await settled(world)
    assert sources(bob) == WITHOUT_CAMERA


@pytest_twisted.ensureDeferred
async def test_a_camera_in_disguise_counts_and_one_too_many_silences(world: World) -> None:
    world.start_guard()
    allow(world, 1)
    alice = await join(world, "alice", OPEN)
    publish(world, alice, Declared.MICROPHONE, VIDEO)
    await world.guard.live.run_pass()
    assert alice.permission.can_publish
    bob = await join(world, "bob", OPEN)
    publish(world, bob, Declared.MICROPHONE, VIDEO)
    await world.guard.live.run_pass()
    assert (alice.permission.can_publish, bob.permission.can_publish) == (True, False)


@pytest_twisted.ensureDeferred
async def test_a_moderators_camera_is_not_counted_until_they_are_none(world: World) -> None:
    world.start_guard()
    states = world.sandbox.homeserver
    states.set_state(OPEN, "m.room.power_levels", {"users": {"@erin:sandbox": 50}})
    allow(world, 2, bypass=True)
    erin, alice, bob, carol = await with_cameras(world, "erin", "alice", "bob", "carol")
    assert on([erin, alice, bob, carol]) == [True, True, True, False]
    states.set_state(OPEN, "m.room.power_levels", {"users": {}})
    await world.guard.live.run_pass()
    assert on([erin, alice, bob]) == [True, True, False], "erin's came first of all"


@pytest_twisted.ensureDeferred
async def test_what_is_only_observed_is_on_record_and_not_done(world: World) -> None:
    world.start_guard(LOTUS_GUARD_OBSERVE="cameras")
    allow(world, 1)
    alice, bob = await with_cameras(world, "alice", "bob")
    assert on([alice, bob]) == [True, True]
    decision = last(world)
    assert (decision.ruling.rule, decision.observed) == ("cameras", True)


@pytest_twisted.ensureDeferred
async def test_at_a_token_the_rule_is_not_asked_and_costs_nothing(world: World) -> None:
    world.start_guard()
    allow(world, 1)
    await with_cameras(world, "alice")
    got = await world.ask("bob", OPEN)
    assert not got.sources
    assert got.claims["exp"] - got.claims["nbf"] >= 3600, "nor is its life shorter"
    assert metric(world, "lotus_guard_cache_total", what="cameras", outcome="miss") == 0.0


@pytest_twisted.ensureDeferred
async def test_it_may_be_forbidden_beside_the_number(world: World) -> None:
    world.start_guard()
    allow(world, 1, allow_screenshare=False)
    alice, bob = await with_cameras(world, "alice", "bob")
    assert sources(alice) == [Declared.CAMERA, Declared.MICROPHONE]
    assert sources(bob) == [Declared.MICROPHONE]
    allow(world, 9, allow_camera=False)
    await world.guard.live.run_pass()
    assert on([alice]) == [False]


@pytest_twisted.ensureDeferred
async def test_after_the_rule_is_lifted_the_row_is_forgotten(world: World) -> None:
    world.start_guard()
    allow(world, 3)
    await with_cameras(world, "alice")
    stage = world.guard.live.room_pass.stage
    assert len(stage._rows) == 1
    world.sandbox.homeserver.set_state(OPEN, SOURCES_EVENT, {})
    await world.guard.live.run_pass()
    assert len(stage._rows) == 0
    allow(world, 3)
    await world.guard.live.run_pass()
    assert len(stage._rows) == 1
    world.sandbox.sfu.delete(CALL)
    await world.guard.live.run_pass()
    assert len(stage._rows) == 0


@pytest_twisted.ensureDeferred
async def test_where_the_guard_gives_back_it_waits_for_a_free_place(world: World) -> None:
    world.start_guard(LOTUS_GUARD_GIVE_BACK="on")
    allow(world, 1)
    alice, bob = await with_cameras(world, "alice", "bob")
    for _ in range(3):
        await world.guard.live.run_pass()
        assert sources(bob) == WITHOUT_CAMERA, "alice's is on: it would be taken again"
    world.sandbox.sfu.unpublish(CALL, alice.identity, alice.tracks[0].sid)
    await world.guard.live.run_pass()
    await world.guard.live.run_pass()
    assert (sources(alice), sources(bob)) == ([], [])
    publish(world, bob)
    await world.guard.live.run_pass()
    assert (sources(alice), sources(bob)) == ([], []), "and alice may, while nothing shows that"
    publish(world, alice)
    await world.guard.live.run_pass()
    assert (on([alice]), on([bob])) == ([False], [True])
