"""What was taken in a call is given back, from end to end on the sandbox."""

import json
import sqlite3
import time
from typing import Any

import pytest
import pytest_twisted
from livekit.protocol import models as lk_models
from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.rules.media import Media
from lotus_guard.rules.rulings import replay
from lotus_guard.run.memory import Housekeeping
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import OPEN
from tests.calls import (
    NO_CAMERA,
    PUSH,
    VIDEO,
    Troubled,
    join,
    last,
    metric,
    push,
    settled,
    sources,
    written,
)
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.model_redis import Memory, ModelRedis
from tests.world import World

ON = {"LOTUS_GUARD_GIVE_BACK": "on"}
CALL = livekit_room_of(RoomId(OPEN), "m.call#ROOM")
WITHOUT_CAMERA = [Source.MICROPHONE, Source.SCREEN_SHARE, Source.SCREEN_SHARE_AUDIO]
STEPS = "lotus_guard_live_steps_total"


def policy(world: World, content: dict[str, Any]) -> None:
    world.sandbox.homeserver.set_state(OPEN, SOURCES_EVENT, content)


async def passes(world: World, count: int = 1) -> None:
    for _ in range(count):
        await world.guard.live.run_pass()


async def narrowed(world: World, **settings: str) -> Any:
    """Somebody in a call from whom the camera was taken."""
    world.start_guard(**{**ON, **settings})
    alice = await join(world, "alice", OPEN)
    policy(world, NO_CAMERA)
    await passes(world, 2)
    assert sources(alice) == WITHOUT_CAMERA
    return alice


def others_set(world: World, identity: str, *allowed: Any) -> None:
    """Somebody else with LiveKit's secret changes what a participant may publish."""
    permission = lk_models.ParticipantPermission()
    permission.CopyFrom(world.sandbox.sfu.rooms[CALL][identity].permission)
    del permission.can_publish_sources[:]
    permission.can_publish_sources.extend(allowed)
    world.sandbox.sfu.permit(CALL, identity, permission)


@pytest_twisted.ensureDeferred
async def test_what_was_taken_is_given_back_once_the_policy_is_lifted(world: World) -> None:
    alice = await narrowed(world)
    policy(world, {})
    await passes(world, 2)
    assert sources(alice) == []
    assert alice.permission.can_publish
    assert metric(world, STEPS, step="give_back", outcome="done") == 1.0
    checked = "lotus_guard_live_steps_checked_total"
    assert metric(world, checked, step="give_back", effect="seen") == 1.0
    assert metric(world, "lotus_guard_claims") == 1.0
    decision = last(world)
    assert decision.ruling.verdict == "given back: may publish everything"
    assert replay(decision.ruling, world.rules) == decision.ruling.verdict


@pytest_twisted.ensureDeferred
async def test_what_the_token_withheld_is_given_too(world: World) -> None:
    world.start_guard(**ON)
    policy(world, NO_CAMERA)
    alice = await join(world, "alice", OPEN)
    assert sources(alice) == WITHOUT_CAMERA
    policy(world, {})
    await passes(world)
    assert sources(alice) == []


@pytest_twisted.ensureDeferred
async def test_what_another_policy_forbids_by_now_is_not_given(world: World) -> None:
    alice = await narrowed(world)
    policy(world, {"allow_screenshare": False})
    await passes(world, 2)
    assert sorted(sources(alice)) == sorted([Source.MICROPHONE, Source.CAMERA])


@pytest.mark.parametrize(
    "settings",
    [
        {"LOTUS_GUARD_GIVE_BACK": "off"},
        {"LOTUS_GUARD_GIVE_BACK": "on", "LOTUS_GUARD_OBSERVE": "live"},
        {"LOTUS_GUARD_GIVE_BACK": "on", "LOTUS_GUARD_OBSERVE": "sources"},
        {"LOTUS_GUARD_GIVE_BACK": "on", "LOTUS_GUARD_MODE": "observe"},
    ],
)
@pytest_twisted.ensureDeferred
async def test_nothing_is_given_or_kept_unless_it_is_wanted(
    world: World, settings: dict[str, str]
) -> None:
    world.start_guard()
    policy(world, NO_CAMERA)
    token = (await world.ask("alice", OPEN, "/get_token")).json()["jwt"]
    world.start_guard(**settings)
    alice = world.sandbox.sfu.join(token)
    await join(world, "bob", OPEN)
    await passes(world, 2)
    policy(world, {})
    await passes(world, 2)
    assert sources(alice) == WITHOUT_CAMERA
    assert world.guard.memory.claims is None
    assert metric(world, "lotus_guard_claims") == 0.0


@pytest_twisted.ensureDeferred
async def test_what_somebody_else_took_since_stays_taken(world: World) -> None:
    alice = await narrowed(world)
    others_set(world, alice.identity, Source.MICROPHONE)
    await passes(world)
    policy(world, {})
    await passes(world, 2)
    assert sources(alice) == [Source.MICROPHONE]
    others_set(world, alice.identity, *WITHOUT_CAMERA)  # as we had left it: too late
    await passes(world, 2)
    assert sources(alice) == WITHOUT_CAMERA


@pytest_twisted.ensureDeferred
async def test_what_somebody_else_takes_hours_later_as_we_once_did_stays_taken(
    world: World,
) -> None:
    world.start_guard(**ON)
    giving: Any = world.guard.live.room_pass.effects.giving
    epoch = giving.epoch
    giving.epoch = lambda: epoch() - 2 * 3600.0
    alice = await join(world, "alice", OPEN)
    policy(world, NO_CAMERA)
    await passes(world, 2)
    assert sources(alice) == WITHOUT_CAMERA
    policy(world, {})
    await passes(world, 2)
    assert sources(alice) == []
    world.sandbox.sfu.leave(CALL, alice.identity)
    await passes(world)
    giving.epoch = epoch
    alice = await join(world, "alice", OPEN)
    assert sources(alice) == []
    assert not giving.owes(RoomId(OPEN)), "nobody looks"
    others_set(world, alice.identity, *WITHOUT_CAMERA)
    world.sandbox.homeserver.set_state(OPEN, LIMIT_EVENT, {"max_users": 9})
    await passes(world, 3)
    assert sources(alice) == WITHOUT_CAMERA


@pytest_twisted.ensureDeferred
async def test_what_somebody_takes_between_the_look_and_the_step_stays_taken(
    world: World,
) -> None:
    alice = await narrowed(world)
    policy(world, {})
    giving = world.guard.live.room_pass.effects.giving
    assert giving is not None
    service: Any = giving.service

    class Meanwhile(Troubled):
        async def _trouble(self, *args: Any) -> Any:
            others_set(world, alice.identity, Source.MICROPHONE)
            return await self._inner.participant(*args)

    giving.service = Meanwhile(service, "participant", "")
    await passes(world)
    assert sources(alice) == [Source.MICROPHONE]
    assert metric(world, STEPS, step="give_back", outcome="failed") == 1.0


@pytest_twisted.ensureDeferred
async def test_who_was_silenced_for_a_disguise_gets_nothing_back(world: World) -> None:
    world.start_guard(**ON)
    policy(world, NO_CAMERA)
    alice = await join(world, "alice", OPEN)
    world.sandbox.sfu.publish(CALL, alice.identity, Source.MICROPHONE, VIDEO)
    await passes(world)
    assert not alice.permission.can_publish
    policy(world, {})
    await passes(world, 2)
    assert not alice.permission.can_publish
    await world.ask("alice", OPEN, "/get_token")  # another token changes nothing for this session
    await passes(world, 2)
    assert not alice.permission.can_publish


@pytest_twisted.ensureDeferred
async def test_a_policy_that_is_not_certain_gives_nothing(world: World) -> None:
    alice = await narrowed(world)
    homeserver = world.guard.live.room_pass.reader.policies
    for events in homeserver.events:
        troubled: Any = Troubled(events.background, "policy", "reset")
        events.background = troubled
    policy(world, {})
    await passes(world, 2)
    assert sources(alice) == WITHOUT_CAMERA
    for events in homeserver.events:
        good: Any = events.background
        events.background = good._inner
    await passes(world)
    assert sources(alice) == []


@pytest_twisted.ensureDeferred
async def test_a_rule_that_fails_gives_nothing(world: World) -> None:
    alice = await narrowed(world)

    class Broken(Media):
        def judge(self, *_args: Any) -> Any:
            raise RuntimeError("a bug")

    world.guard.live.room_pass.reader.policies.of("sources").rule = Broken()
    await passes(world, 2)
    assert sources(alice) == WITHOUT_CAMERA


@pytest_twisted.ensureDeferred
async def test_a_lost_answer_is_no_change_of_somebody_else(world: World) -> None:
    world.start_guard(**ON)
    alice = await join(world, "alice", OPEN)
    policy(world, NO_CAMERA)
    hands = world.guard.live.room_pass.effects.hands
    service: Any = hands.service

    class Deaf(Troubled):
        async def _trouble(self, *args: Any) -> Any:
            await self._inner.permit(*args)
            raise Outage(Reason.TIMEOUT, "the answer was lost")

    giving = hands.giving
    assert giving is not None
    hands.service = giving.service = Deaf(service, "permit", "")
    await passes(world, 2)
    assert sources(alice) == WITHOUT_CAMERA
    policy(world, {})
    await passes(world, 2)
    assert sources(alice) == []
    assert metric(world, STEPS, step="give_back", outcome="failed") == 1.0


@pytest_twisted.ensureDeferred
async def test_a_restart_forgets_no_claim(world: World) -> None:
    alice = await narrowed(world)
    await written(world)
    policy(world, {})
    world.start_guard(**ON)
    await passes(world, 2)
    assert sources(alice) == []


@pytest_twisted.ensureDeferred
async def test_a_restart_without_the_file_gives_nothing(world: World) -> None:
    alice = await narrowed(world)
    await written(world)
    with sqlite3.connect(world.directory / "state.sqlite") as connection:
        ((body,),) = connection.execute("SELECT body FROM claim").fetchall()
        assert json.loads(body)["session"][1] == sorted(
            ["microphone", "screen_share", "screen_share_audio"]
        )
        connection.execute("DELETE FROM claim")
    policy(world, {})
    world.start_guard(**ON)
    await passes(world, 2)
    assert sources(alice) == WITHOUT_CAMERA


@pytest_twisted.ensureDeferred
async def test_whoever_comes_in_late_with_a_narrowed_token_gets_the_rest(world: World) -> None:
    world.start_guard(**ON)
    policy(world, NO_CAMERA)
    await join(world, "bob", OPEN)
    drawer = (await world.ask("alice", OPEN, "/get_token")).json()["jwt"]
    policy(world, {})
    await passes(world, 2)
    alice = world.sandbox.sfu.join(drawer)
    await passes(world)
    assert sources(alice) == []


@pytest_twisted.ensureDeferred
async def test_a_push_that_lifts_a_policy_gives_back_at_once(world: World) -> None:
    alice = await narrowed(world, LOTUS_GUARD_PUSH_SECRET=PUSH)
    policy(world, {})
    push(world, OPEN, {})
    await settled(world)
    assert sources(alice) == []


@pytest_twisted.ensureDeferred
async def test_while_pushes_come_a_room_is_polled_as_long_as_it_owes(world: World) -> None:
    world.start_guard(**ON, LOTUS_GUARD_PUSH_SECRET=PUSH)
    policy(world, NO_CAMERA)
    await join(world, "bob", OPEN)
    drawer = (await world.ask("alice", OPEN, "/get_token")).json()["jwt"]
    policy(world, {})
    push(world, OPEN, {})
    await settled(world)
    assert world.guard.live.candidates.pushing()
    alice = world.sandbox.sfu.join(drawer)
    await passes(world)
    assert sources(alice) == []


@pytest_twisted.ensureDeferred
async def test_nobody_gives_who_does_not_lead(world: World) -> None:
    memory = Memory()
    state = {"LOTUS_GUARD_STATE": "redis://redis:6379/0"}
    world.start_guard(redis=ModelRedis(memory), **ON, **state)
    one = world.guard
    alice = await join(world, "alice", OPEN)
    policy(world, NO_CAMERA)
    assert one.memory.cluster.lease is not None
    await one.memory.cluster.lease.renew()
    await passes(world, 2)
    assert sources(alice) == WITHOUT_CAMERA
    world.start_guard(redis=ModelRedis(memory), **ON, **state)
    two = world.guard
    policy(world, {})
    await two.live.run_pass()
    assert sources(alice) == WITHOUT_CAMERA
    memory.keys.pop("lotus_guard:leader")
    assert two.memory.cluster.lease is not None
    await two.memory.cluster.lease.renew()
    two.memory.directory.learn_room(CALL, one.memory.directory.binding_of(CALL))  # type: ignore[arg-type]
    await two.live.run_pass()
    assert sources(alice) == []


@pytest_twisted.ensureDeferred
async def test_claims_go_with_the_call(world: World) -> None:
    await narrowed(world)
    del world.sandbox.sfu.rooms[CALL]
    await passes(world)
    clock = Clock()
    housekeeping = Housekeeping(world.guard.memory, world.guard.live, clock.seconds)
    housekeeping.tidy()
    clock.advance(3601.0)
    housekeeping.tidy()
    assert metric(world, "lotus_guard_claims") == 0.0
    await written(world)
    with sqlite3.connect(world.directory / "state.sqlite") as connection:
        assert connection.execute("SELECT * FROM claim").fetchall() == []


@pytest.mark.parametrize("seconds", [-40.0, 40.0])
@pytest_twisted.ensureDeferred
async def test_clocks_that_differ_end_no_claim(world: World, seconds: float) -> None:
    """When a session was begun, LiveKit says by its own clock."""
    world.sandbox.sfu.epoch = lambda: time.time() + seconds
    world.sandbox.authorization.issuer.epoch = world.sandbox.sfu.epoch
    world.start_guard(**ON)
    await passes(world)  # LiveKit has told what time it is
    alice = await join(world, "alice", OPEN)
    policy(world, NO_CAMERA)
    await passes(world, 2)
    policy(world, {})
    await passes(world, 2)
    assert sources(alice) == []
