"""The rooms in which the live loop looks for people."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from lotus_guard.core.model import LiveKitRoom, RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.enforce.candidates import JUST_LOOKED_UP
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import OPEN, VOICE
from tests.calls import NO_CAMERA, Counting, chosen, delivered, hook_up, join, sources
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.world import World, reactor


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
