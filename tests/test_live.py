"""The live loop on the sandbox: what it does, and that nothing kills or stalls it."""

import json
import sqlite3
import time
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from livekit.protocol import models as lk_models
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock, deferLater

from lotus_guard.core.model import LiveKitRoom, RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.core.token import KeyPair, mint
from lotus_guard.enforce.candidates import JUST_LOOKED_UP
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.rules.limit import LimitPolicy
from lotus_guard.rules.media import SourcePolicy
from lotus_guard.rules.plan import MOST, Remove
from lotus_guard.rules.push import sign_push
from lotus_guard.rules.rule import Reading
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.loop import LoopTick
from lotus_guard.run.memory import Housekeeping
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.livekit_webhooks import sign_webhook
from lotus_guard.sandbox.stack import KEY, OPEN, SECRET, TWO, VOICE
from tests.events import LIMIT_EVENT, SOURCES_EVENT, push_of
from tests.world import DEADLINE, FAST, World, reactor

VIDEO, AUDIO = lk_models.TrackType.VIDEO, lk_models.TrackType.AUDIO
PUSH = "a-push-secret-for-tests"
NO_CAMERA = {"allow_camera": False}


async def join(world: World, name: str, room: str, **more: Any) -> Any:
    """Get a token through the guard and join; gives LiveKit's view of the participant."""
    got = await world.ask(name, room, "/get_token", **more)
    assert got.status == 200, got.body
    return world.sandbox.sfu.join(got.json()["jwt"])


async def full_room_and_a_drawer(world: World) -> str:
    """Fill the room for one, watched by the loop; gives carol's token from before the limit."""
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {})
    drawer: str = (await world.ask("carol", TWO, "/get_token")).json()["jwt"]
    await join(world, "alice", TWO)
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    await world.guard.live.run_pass()
    return drawer


def sources(info: Any) -> list[int]:
    return list(info.permission.can_publish_sources)


def people(world: World, room: str) -> set[str]:
    return set(world.sandbox.sfu.rooms[livekit_room_of(RoomId(room), "m.call#ROOM")])


def metric(world: World, name: str, **labels: str) -> float:
    return world.guard.metrics.registry.get_sample_value(name, labels) or 0.0


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
async def test_calls_grow_with_restrictive_rooms_and_not_with_rooms(world: World) -> None:
    world.start_guard()
    for name in ("alice", "bob"):
        await join(world, name, OPEN)
        await join(world, name, VOICE)
    looks: list[LiveKitRoom] = []
    service = world.guard.live.service

    world.guard.live.room_pass.presence.in_background = Counting(service, looks)
    await world.guard.live.run_pass()
    assert looks == [livekit_room_of(RoomId(VOICE), "m.call#ROOM")]


class Counting:
    """A RoomService that writes down which rooms are looked at."""

    def __init__(self, inner: Any, looks: list[LiveKitRoom]) -> None:
        self._inner, self._looks = inner, looks

    async def attendance(self, livekit_room: LiveKitRoom, allowance: Any = None) -> Any:
        self._looks.append(livekit_room)
        return await self._inner.attendance(livekit_room, allowance)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._inner, name)


class Troubled(Counting):
    """A RoomService of which some calls, with spaces between, fail in a given way."""

    def __init__(self, inner: Any, methods: str, fault: str) -> None:
        super().__init__(inner, [])
        self._methods, self._fault = methods.split(), fault

    def __getattribute__(self, name: str) -> Any:
        if name in ("_methods", "_fault", "_inner", "_looks", "_trouble"):
            return object.__getattribute__(self, name)
        if name in self._methods:
            return self._trouble
        return getattr(self._inner, name)

    async def _trouble(self, *_args: Any) -> Any:
        if self._fault == "bug":
            raise RuntimeError("a bug")
        raise Outage(Reason(self._fault), "made up")


FAULTS = ["refused", "timeout", "server_error", "garbage", "bug"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("method", ["existing", "attendance", "permit", "remove"])
@pytest_twisted.ensureDeferred
async def test_no_fault_at_any_call_kills_the_loop_or_throws_anybody_out(
    world: World, method: str, fault: str
) -> None:
    world.start_guard()
    await join(world, "alice", TWO)
    bob = await join(world, "bob", TWO)
    world.sandbox.homeserver.set_state(TWO, SOURCES_EVENT, NO_CAMERA)
    live, good = world.guard.live, world.guard.live.service
    tick = LoopTick(world.guard.loop, Clocks(reactor, time.monotonic, time.time))
    troubled = Troubled(good, method, fault)
    live.service = live.room_pass.presence.in_background = troubled
    await tick()
    assert len(people(world, TWO)) == 2
    assert (await world.ask("alice", TWO)).status == 200, "tokens flow"
    live.service = live.room_pass.presence.in_background = good
    await tick()
    assert Source.CAMERA not in sources(bob)
    assert bob.permission.can_publish
    assert live.last_good is not None
    assert len(people(world, TWO)) == 2


@pytest_twisted.ensureDeferred
async def test_a_pass_that_is_stuck_is_given_up_and_tokens_flow_meanwhile(world: World) -> None:
    world.start_guard()
    clock = Clock()
    stuck: Deferred[Any] = Deferred()

    class Stuck(Troubled):
        async def _trouble(self, *_args: Any) -> Any:
            await stuck

    live = world.guard.live
    live.service = Stuck(live.service, "existing", "")
    running = LoopTick(world.guard.loop, Clocks(clock, time.monotonic, time.time))()
    assert (await world.ask("alice", VOICE)).sources == ["microphone"]
    assert not running.called
    clock.advance(61.0)
    assert running.called


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


@pytest.mark.parametrize("reason", [Reason.OVERSIZED, Reason.SERVER_ERROR, Reason.TIMEOUT])
@pytest_twisted.ensureDeferred
async def test_one_rooms_trouble_is_not_anothers(world: World, reason: Reason) -> None:
    """A room that Synapse cannot read, as its owner can bring about; so many of them, so early."""
    world.start_guard(LOTUS_GUARD_POLICY_RATE="1000")
    states = world.sandbox.homeserver
    states.set_state(TWO, LIMIT_EVENT, {})
    drawer = (await world.ask("carol", TWO, "/get_token")).json()["jwt"]
    await join(world, "alice", TWO)
    for number in range(12):
        states.add_room(f"!a{number}:sandbox", "@admin:sandbox")
        await join(world, "bob", f"!a{number}:sandbox")
    states.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    limits = world.guard.live.candidates.policies.of("limit")
    limits.homeserver = limits.background = Poisoned(limits.homeserver, reason)
    await world.guard.live.run_pass()
    world.sandbox.sfu.join(drawer)
    await world.guard.live.run_pass()
    assert len(people(world, TWO)) == 1


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


@frozen
class Poisoned:
    """Synapse, of which rooms that a client has invented make no sense."""

    synapse: Any
    reason: Reason

    async def policy(self, room: RoomId, rule: Any) -> Any:
        if room.startswith("!a"):
            raise Outage(self.reason, "made up")
        return await self.synapse.policy(room, rule)

    async def name(self, room: RoomId) -> Any:
        return await self.synapse.name(room)

    async def rooms(self, start: int) -> Any:
        return await self.synapse.rooms(start)


def chosen(world: World, seconds: float = 0.0) -> list[RoomId]:
    """Choose the rooms of a pass that is begun so many seconds from now."""
    live, now = world.guard.live, time.monotonic() + seconds
    candidates = live.candidates
    candidates.now = candidates.policies.of("limit").now = lambda: now
    candidates.policies.of("sources").now = candidates.now
    found = candidates.of(live.counts, live.room_pass.people, live.room_pass.seats.limited)
    return live._rota.choose(found, live._most()).rooms


@pytest_twisted.ensureDeferred
async def test_other_rooms_do_not_keep_those_with_a_policy_waiting(world: World) -> None:
    world.start_guard(LOTUS_GUARD_POLICY_RATE="10", LOTUS_GUARD_RECONCILE_INTERVAL="1")
    live, states = world.guard.live, world.sandbox.homeserver
    await join(world, "alice", VOICE)
    for number in range(30):
        states.add_room(f"!{number:02}:sandbox", "@admin:sandbox")
        await join(world, "bob", f"!{number:02}:sandbox")
    live.counts = await live.service.existing()
    seen: set[RoomId] = set()
    for number in range(6):
        rooms = chosen(world, number)
        assert VOICE in rooms[:1]
        assert len(rooms) == 1 + 5, "as many others as may be looked up in one interval"
        seen.update(rooms)
    assert len(seen) == 31, "who has waited longest comes first"


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
    live.room_pass.presence.in_background = Counting(live.service, looks)
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


@pytest_twisted.ensureDeferred
async def test_invented_rooms_have_a_small_share_and_wake_nobody(world: World) -> None:
    world.start_guard(LOTUS_GUARD_POLICY_RATE="10", LOTUS_GUARD_RECONCILE_INTERVAL="2")
    live = world.guard.live
    await join(world, "alice", OPEN)
    for number in range(30):
        await join(world, "bob", f"!invented{number:02}:sandbox")
    live.counts = await live.service.existing()
    for number in range(3):
        rooms = chosen(world, number)
        assert OPEN in rooms
        assert len(rooms) == 1 + 1
    looks: list[LiveKitRoom] = []
    live.room_pass.presence.in_background = Counting(live.service, looks)
    asked = world.sandbox.homeserver.asked = []
    live.wake(RoomId("!invented00:sandbox"))
    await settled(world)
    assert (looks, asked) == ([], [])


@pytest_twisted.ensureDeferred
async def test_empty_rooms_cost_nothing_unless_somebody_is_expected(world: World) -> None:
    world.start_guard()
    live = world.guard.live
    for number in range(5):
        world.sandbox.homeserver.add_room(f"!{number}:sandbox", "@admin:sandbox")
        await world.ask("bob", f"!{number}:sandbox")
    await world.ask("bob", VOICE)
    live.counts = await live.service.existing()
    assert chosen(world) == [VOICE], "what a token request has just looked up needs no poll"
    assert len(chosen(world, 2.0)) == 6
    assert chosen(world, 11.0) == []


class Behind(Counting):
    """A RoomService whose count of people is as old as LiveKit's."""

    async def existing(self, *_args: Any) -> dict[LiveKitRoom, int]:
        return dict.fromkeys(await self._inner.existing(), 0)


@pytest.mark.parametrize("event", [SOURCES_EVENT, LIMIT_EVENT])
@pytest_twisted.ensureDeferred
async def test_a_new_policy_holds_for_who_has_come_before_livekit_counts_them(
    world: World, event: str
) -> None:
    world.start_guard()
    states, live = world.sandbox.homeserver, world.guard.live
    if event == LIMIT_EVENT:  # one that is known already
        states.set_state(OPEN, LIMIT_EVENT, {"max_users": 5})
    alice = await join(world, "alice", OPEN)
    states.set_state(OPEN, SOURCES_EVENT, NO_CAMERA)
    live.service = Behind(live.service, [])
    await deferLater(reactor, JUST_LOOKED_UP + 0.1, lambda: None)
    await live.run_pass()
    assert Source.CAMERA not in (sources(alice) or [Source.CAMERA])


@pytest_twisted.ensureDeferred
async def test_a_room_is_looked_at_until_the_loop_has_seen_it_empty(world: World) -> None:
    world.start_guard()
    alice = await join(world, "alice", VOICE)
    live = world.guard.live
    await live.run_pass()
    livekit_room = livekit_room_of(RoomId(VOICE), "m.call#ROOM")
    world.sandbox.sfu.leave(livekit_room, alice.identity)
    live.counts = {livekit_room: 0}
    assert chosen(world, 11.0) == [VOICE]
    await live.run_pass()
    live.counts = {livekit_room: 0}
    assert chosen(world, 11.0) == []


@pytest_twisted.ensureDeferred
async def test_what_livekit_says_of_a_room_counts_before_its_count_does(world: World) -> None:
    world.start_guard()
    token = (await world.ask("alice", OPEN)).json()["jwt"]
    sent = hook_up(world)
    chosen(world, 11.0)
    world.sandbox.sfu.join(token)
    await delivered(world, sent)
    world.guard.live.counts = {livekit_room_of(RoomId(OPEN), "m.call#ROOM"): 0}
    assert chosen(world, 12.0) == [OPEN]


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
    good = live.room_pass.presence.in_background
    live.room_pass.presence.in_background = Troubled(good, "attendance ping", "refused")
    await live.run_pass()
    world.sandbox.sfu.join(drawer)
    live.room_pass.presence.in_background = good
    await live.run_pass()
    assert len(people(world, TWO)) == 2


# On demand.


@pytest_twisted.ensureDeferred
async def test_asked_for_twice_a_room_is_worked_on_once_more_and_not_at_once(world: World) -> None:
    world.start_guard()
    await join(world, "alice", VOICE)
    looks: list[LiveKitRoom] = []
    live = world.guard.live
    live.room_pass.presence.in_background = Counting(live.service, looks)
    for _ in range(5):
        live.wake(RoomId(VOICE))
    await settled(world)
    assert len(looks) == 2


async def settled(world: World) -> None:
    for _ in range(100):
        await deferLater(reactor, 0.01, lambda: None)
        if world.guard.live.turns.is_idle:
            return
    raise AssertionError("the room is still being worked on")


def hook_up(world: World) -> list[Deferred[Any]]:
    """Send LiveKit's webhooks to the guard, as LiveKit would."""
    sent: list[Deferred[Any]] = []

    def send(event: Any) -> None:
        body, token = sign_webhook(event, KEY, SECRET, time.time())
        headers = {"Authorization": token, "Content-Type": "application/webhook+json"}
        sent.append(ensureDeferred(world.request("POST", "/sfu_webhook", body, headers)))

    world.sandbox.sfu.listeners.append(send)
    return sent


async def delivered(world: World, sent: list[Deferred[Any]]) -> None:
    for each in sent:
        assert (await each).status == 200
    sent.clear()
    await settled(world)


@pytest_twisted.ensureDeferred
async def test_a_webhook_wakes_the_loop_for_its_room(world: World) -> None:
    world.start_guard()
    alice = await join(world, "alice", VOICE)
    sent = hook_up(world)
    livekit_room = livekit_room_of(RoomId(VOICE), "m.call#ROOM")
    world.sandbox.sfu.publish(livekit_room, alice.identity, Source.MICROPHONE, VIDEO)
    await delivered(world, sent)
    assert not alice.permission.can_publish


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
    """Found by the soak (seed 2026): put out by the limit that his guard could not know of."""
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


@pytest.mark.parametrize("reason", ["CLIENT_INITIATED", "CONNECTION_TIMEOUT"])
@pytest_twisted.ensureDeferred
async def test_who_hangs_up_frees_his_seat_and_who_is_cut_off_keeps_it(
    world: World, reason: str
) -> None:
    world.start_guard()
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    sent = hook_up(world)
    alice = await join(world, "alice", TWO)
    await delivered(world, sent)
    livekit_room = livekit_room_of(RoomId(TWO), "m.call#ROOM")
    world.sandbox.sfu.leave(livekit_room, alice.identity, lk_models.DisconnectReason.Value(reason))
    await delivered(world, sent)
    expected = 200 if reason == "CLIENT_INITIATED" else 403
    assert (await world.ask("bob", TWO)).status == expected


@pytest_twisted.ensureDeferred
async def test_a_late_departure_does_not_cost_who_is_back_his_seat(world: World) -> None:
    world.start_guard()
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    events: list[Any] = []
    world.sandbox.sfu.listeners.append(
        lambda event: events.append(type(event).FromString(event.SerializeToString()))
    )
    alice = await join(world, "alice", TWO)
    livekit_room = livekit_room_of(RoomId(TWO), "m.call#ROOM")
    world.sandbox.sfu.leave(livekit_room, alice.identity)
    await join(world, "alice", TWO)  # the same identity, a new sid
    left = next(event for event in events if event.event == "participant_left")
    for _ in range(2):  # late, and twice
        body, token = sign_webhook(left, KEY, SECRET, time.time())
        await world.request("POST", "/sfu_webhook", body, {"Authorization": token})
    await settled(world)
    assert (await world.ask("bob", TWO)).status == 403


@pytest_twisted.ensureDeferred
async def test_forged_webhooks_wake_nobody(world: World) -> None:
    world.start_guard()
    await join(world, "alice", VOICE)
    looks: list[LiveKitRoom] = []
    live = world.guard.live
    live.room_pass.presence.service = Counting(live.service, looks)
    event = {"event": "track_published", "id": "EV", "room": {"name": "x"}}
    body, token = sign_webhook_json(event, SECRET)
    forgeries = [
        (body, ""),
        (body + b" ", token),
        (body, sign_webhook_json(event, "another-secret-of-more-than-32-characters")[1]),
        (b"\xff", token),
    ]
    for each, header in forgeries:
        await world.request("POST", "/sfu_webhook", each, {"Authorization": header})
    assert looks == []
    assert metric(world, "lotus_guard_webhooks_forged") == len(forgeries)


def sign_webhook_json(event: dict[str, Any], secret: str) -> tuple[bytes, str]:
    import base64
    import hashlib

    body = json.dumps(event).encode()
    digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
    return body, mint(KeyPair(KEY, secret), sha256=digest)


# Pushes.


def push(world: World, room: str, sources: dict[str, Any], sent: float | None = None) -> None:
    body = push_of(RoomId(room), None, sources)
    world.guard.hints.push(body, sign_push(body, PUSH, sent or time.time()))


@pytest_twisted.ensureDeferred
async def test_a_push_is_enforced_at_once_and_saves_the_polling(world: World) -> None:
    world.start_guard(LOTUS_GUARD_PUSH_SECRET=PUSH)
    alice = await join(world, "alice", OPEN)
    push(world, OPEN, NO_CAMERA)
    await settled(world)
    assert Source.CAMERA not in sources(alice)
    world.sandbox.homeserver.ignores_type = True
    asked = world.sandbox.homeserver.asked = []
    await world.guard.live.run_pass()
    assert asked == [], "policies that are pushed are not polled"
    assert (await world.ask("bob", OPEN)).sources is not None


@pytest_twisted.ensureDeferred
async def test_old_repeated_and_unsigned_pushes_change_nothing(world: World) -> None:
    from lotus_guard.rules.push import Unsigned

    world.start_guard(**FAST, LOTUS_GUARD_PUSH_SECRET=PUSH)
    now = time.time()
    push(world, OPEN, NO_CAMERA, now)
    body = push_of(RoomId(OPEN), None, {})
    for header in (
        "",
        "x",
        sign_push(body, "another-push-secret", now),
        sign_push(body, PUSH, now - 61),
    ):
        with pytest.raises(Unsigned):
            world.guard.hints.push(body, header)
    once = sign_push(body, PUSH, now - 1)
    world.guard.hints.push(body, once)  # genuine, but sent before what we have
    with pytest.raises(Unsigned):
        world.guard.hints.push(body, once)
    world.sandbox.homeserver.hangs_for = SOURCES_EVENT
    assert "camera" not in ((await world.ask("alice", OPEN)).sources or ["camera"])


# Memory.


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
    assert knowledge.place_of(voice) is not None
    assert knowledge.user_of(alice.identity) is not None, "and there again"
    for seconds, known in ((0.0, True), (3298.0, True), (2.0, False)):
        clock.advance(seconds)
        housekeeping.tidy()
        assert (knowledge.place_of(voice) is not None) == known
        assert (knowledge.user_of(alice.identity) is not None) == known
    assert knowledge.place_of(open_) is not None
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


@pytest_twisted.ensureDeferred
async def test_tokens_for_rooms_in_which_nobody_is_make_no_pass_longer(world: World) -> None:
    """Rooms of a client's own, with policies: each would cost two look-ups of fifty a second."""
    world.start_guard()
    for number in range(60):
        room = f"!own{number:02}:sandbox"
        world.sandbox.homeserver.add_room(room, "@alice:sandbox")
        world.sandbox.homeserver.set_state(room, LIMIT_EVENT, {"max_users": 5})
        assert (await world.ask("alice", room, "/get_token")).status == 200
    bob = await join(world, "bob", VOICE)
    livekit_room = livekit_room_of(RoomId(VOICE), "m.call#ROOM")
    world.sandbox.sfu.publish(livekit_room, bob.identity, Source.MICROPHONE, VIDEO)
    before, begun = lookups(world), time.monotonic()
    await world.guard.live.run_pass()
    assert list(bob.tracks) == []
    assert time.monotonic() - begun < 1.0, "and not the 2.4 s of 120 look-ups"
    assert lookups(world) - before <= 4.0


def lookups(world: World) -> float:
    return sum(
        metric(world, "lotus_guard_synapse_calls_total", method=method)
        for method in (LIMIT_EVENT, SOURCES_EVENT)
    )
