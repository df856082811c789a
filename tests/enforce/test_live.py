"""The live loop on the sandbox: which rooms it works on, and that nothing kills or stalls it."""

import time
from typing import Any

import pytest
import pytest_twisted
from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from lotus_guard.core.model import LiveKitRoom, RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.rules import RULES
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.loop import LoopTick
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from tests.calls import (
    NO_CAMERA,
    VIDEO,
    Counting,
    Troubled,
    chosen,
    delivered,
    hook_up,
    join,
    metric,
    people,
    settled,
    sources,
)
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.world import World, reactor

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
    live.service = live.room_pass.presence.background = troubled
    await tick()
    assert len(people(world, TWO)) == 2
    assert (await world.ask("alice", TWO)).status == 200, "tokens flow"
    live.service = live.room_pass.presence.background = good
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


@pytest_twisted.ensureDeferred
async def test_other_rooms_do_not_keep_those_with_a_policy_waiting(world: World) -> None:
    rate = str(5 * len(RULES))
    world.start_guard(LOTUS_GUARD_POLICY_RATE=rate, LOTUS_GUARD_RECONCILE_INTERVAL="1")
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
    live.room_pass.presence.background = Counting(live.service, looks)
    asked = world.sandbox.homeserver.asked = []
    live.wake(RoomId("!invented00:sandbox"))
    await settled(world)
    assert (looks, asked) == ([], [])


@pytest_twisted.ensureDeferred
async def test_asked_for_twice_a_room_is_worked_on_once_more_and_not_at_once(world: World) -> None:
    world.start_guard()
    await join(world, "alice", VOICE)
    looks: list[LiveKitRoom] = []
    live = world.guard.live
    live.room_pass.presence.background = Counting(live.service, looks)
    for _ in range(5):
        live.wake(RoomId(VOICE))
    await settled(world)
    assert len(looks) == 2


@pytest_twisted.ensureDeferred
async def test_a_webhook_wakes_the_loop_for_its_room(world: World) -> None:
    world.start_guard()
    alice = await join(world, "alice", VOICE)
    sent = hook_up(world)
    livekit_room = livekit_room_of(RoomId(VOICE), "m.call#ROOM")
    world.sandbox.sfu.publish(livekit_room, alice.identity, Source.MICROPHONE, VIDEO)
    await delivered(world, sent)
    assert not alice.permission.can_publish


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
