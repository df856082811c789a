"""What moderators may that others may not, through a guard in front of the sandbox."""

from typing import Any

import pytest
import pytest_twisted

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.core.power import POWER_LEVELS
from lotus_guard.rules.permission import CALL_MEMBER
from lotus_guard.rules.rulings import replay
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import OPEN, TWO
from tests.calls import VIDEO, full_room_and_a_drawer, join, last, metric, people, sources
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.world import World

MOD = "@bob:sandbox"
SOUND = ["microphone", "screen_share", "screen_share_audio"]
BOTH = ("/get_token", "/sfu/get")
NO_CAMERA_BUT_THEIRS = {"allow_camera": False, "bypass": True}


def moderated(world: World, room: str, level: int = 50) -> None:
    world.sandbox.homeserver.set_power(room, {MOD: level})


@pytest.fixture
def guarded(world: World) -> World:
    world.start_guard()
    return world


def limit(world: World, room: str, **content: Any) -> None:
    world.sandbox.homeserver.set_state(room, LIMIT_EVENT, content)


def quality(world: World, content: dict[str, Any]) -> None:
    world.sandbox.homeserver.set_state(OPEN, SOURCES_EVENT, content)


@pytest.mark.parametrize("endpoint", BOTH)
@pytest_twisted.ensureDeferred
async def test_a_moderator_enters_a_full_room_and_counts(guarded: World, endpoint: str) -> None:
    limit(guarded, TWO, max_users=1, bypass=True)
    moderated(guarded, TWO)
    assert (await guarded.ask("alice", TWO, endpoint)).status == 200
    assert (await guarded.ask("carol", TWO, endpoint)).status == 403
    assert (await guarded.ask("bob", TWO, endpoint)).status == 200
    assert last(guarded).ruling.why.endswith(
        "they are exempt from the limit rule, which would refuse"
    )
    refused = await guarded.ask("carol", TWO, endpoint)
    assert (refused.status, refused.json()["io.lotus.limit"]["users"]) == (403, 2)
    (room,) = (r for r in guarded.guard.overview.rooms.all() if r["room"] == TWO)
    assert (room["taken"], room["max_users"], room["limit_bypass"]) == (2, 1, True)


@pytest_twisted.ensureDeferred
async def test_without_the_option_a_moderator_is_bound_like_everybody(guarded: World) -> None:
    limit(guarded, TWO, max_users=1)
    moderated(guarded, TWO)
    assert (await guarded.ask("alice", TWO)).status == 200
    assert (await guarded.ask("bob", TWO)).status == 403
    assert guarded.sandbox.homeserver.rooms[TWO].keys() >= {(POWER_LEVELS, "")}


@pytest_twisted.ensureDeferred
async def test_a_moderator_with_an_old_token_is_seated_in_a_full_room_and_nobody_is_put_out(
    guarded: World,
) -> None:
    drawer = await full_room_and_a_drawer(guarded)
    limit(guarded, TWO, max_users=1, bypass_level=40)
    guarded.sandbox.homeserver.set_power(TWO, {"@carol:sandbox": 40})
    await guarded.guard.live.run_pass()
    guarded.sandbox.sfu.join(drawer)
    await guarded.guard.live.run_pass()
    assert len(people(guarded, TWO)) == 2


@pytest_twisted.ensureDeferred
async def test_a_moderator_keeps_the_camera_that_others_lose(guarded: World) -> None:
    moderated(guarded, OPEN)
    alice, bob = [await join(guarded, name, OPEN) for name in ("alice", "bob")]
    quality(guarded, NO_CAMERA_BUT_THEIRS)
    await guarded.guard.live.run_pass()
    assert Source.CAMERA not in sources(alice)
    assert sources(bob) == [], "everything"
    assert (await guarded.ask("bob", OPEN)).sources is None
    assert (await guarded.ask("alice", OPEN)).sources == SOUND


@pytest_twisted.ensureDeferred
async def test_a_change_of_power_holds_within_a_pass(guarded: World) -> None:
    quality(guarded, NO_CAMERA_BUT_THEIRS)
    moderated(guarded, OPEN)
    bob = await join(guarded, "bob", OPEN)
    await guarded.guard.live.run_pass()
    assert sources(bob) == []
    moderated(guarded, OPEN, 49)
    await guarded.guard.live.run_pass()
    assert Source.CAMERA not in sources(bob)
    assert (await guarded.ask("bob", OPEN)).sources == SOUND
    moderated(guarded, OPEN, 50)
    assert (await guarded.ask("bob", OPEN)).sources is None


@pytest_twisted.ensureDeferred
async def test_somebody_promoted_has_the_camera_back_where_that_is_switched_on(
    world: World,
) -> None:
    world.start_guard(LOTUS_GUARD_GIVE_BACK="on")
    quality(world, NO_CAMERA_BUT_THEIRS)
    moderated(world, OPEN, 0)
    bob = await join(world, "bob", OPEN)
    await world.guard.live.run_pass()
    assert Source.CAMERA not in sources(bob)
    moderated(world, OPEN)
    for _ in range(2):
        await world.guard.live.run_pass()
    assert sources(bob) == []


@pytest_twisted.ensureDeferred
async def test_who_lost_a_camera_for_want_of_a_place_has_it_back_when_one_is_free(
    world: World,
) -> None:
    world.start_guard(LOTUS_GUARD_GIVE_BACK="on")
    quality(world, {"max_cameras": 1})
    call = livekit_room_of(RoomId(OPEN), "m.call#ROOM")
    sfu = world.sandbox.sfu
    alice, bob = [await join(world, name, OPEN) for name in ("alice", "bob")]
    first = sfu.publish(call, alice.identity, Source.CAMERA, VIDEO)
    await world.guard.live.run_pass()
    sfu.publish(call, bob.identity, Source.CAMERA, VIDEO)
    for _ in range(3):
        await world.guard.live.run_pass()
        assert sources(alice) == []
        assert Source.CAMERA not in sources(bob), "withheld as long as no place is free"
    sfu.unpublish(call, alice.identity, first.sid)
    for _ in range(2):
        await world.guard.live.run_pass()
    assert sources(bob) == []


@pytest_twisted.ensureDeferred
async def test_only_moderators_start_a_call_and_everybody_joins_one(guarded: World) -> None:
    limit(guarded, OPEN, start_level=50)
    moderated(guarded, OPEN)
    refused = await guarded.ask("alice", OPEN)
    assert refused.status == 403
    assert refused.json()["error"].startswith("Only moderators can start a call in this room.")
    decision = last(guarded)
    assert replay(decision.ruling, guarded.rules) == "refused"
    bob = await join(guarded, "bob", OPEN)
    alice = await join(guarded, "alice", OPEN)
    guarded.sandbox.sfu.leave(livekit_room_of(RoomId(OPEN), "m.call#ROOM"), bob.identity)
    await guarded.guard.live.run_pass()
    assert people(guarded, OPEN) == {alice.identity}, "who is in stays in"
    assert (await guarded.ask("carol", OPEN)).status == 200


@pytest.mark.parametrize("endpoint", BOTH)
@pytest_twisted.ensureDeferred
async def test_the_rooms_own_permission_for_calls_holds_where_it_is_switched_on(
    world: World, endpoint: str
) -> None:
    world.start_guard(LOTUS_GUARD_CALL_PERMISSION="on")
    forbidden = dict.fromkeys(CALL_MEMBER, 50)
    world.sandbox.homeserver.set_power(OPEN, {MOD: 50}, events=forbidden)
    refused = await world.ask("alice", OPEN, endpoint)
    assert refused.status == 403
    assert refused.json()["error"].startswith("You do not have permission to join calls")
    assert (await world.ask("bob", OPEN, endpoint)).status == 200
    world.sandbox.homeserver.set_power(OPEN, {}, events=dict.fromkeys(CALL_MEMBER, 0))
    assert (await world.ask("alice", OPEN, endpoint)).status == 200


@pytest_twisted.ensureDeferred
async def test_while_power_levels_are_out_nobody_new_is_exempt_and_nothing_is_taken(
    world: World,
) -> None:
    world.start_guard(LOTUS_GUARD_DEADLINE="0.3")
    moderated(world, OPEN)
    alice, bob = [await join(world, name, OPEN) for name in ("alice", "bob")]
    world.sandbox.homeserver.hangs_for = POWER_LEVELS
    quality(world, NO_CAMERA_BUT_THEIRS)
    await world.guard.live.run_pass()
    assert sources(alice) == sources(bob) == []
    assert metric(world, "lotus_guard_live_steps_total", step="narrow", outcome="done") == 0.0
    assert (await world.ask("bob", OPEN)).sources == SOUND
    assert world.fail_opens() == {}
