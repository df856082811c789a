"""Who hangs up frees their seat at once, where LiveKit agrees that they are gone."""

import time
from typing import Any

import pytest
import pytest_twisted
from livekit.protocol import models as lk_models

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.sandbox.livekit_webhooks import sign_webhook
from lotus_guard.sandbox.stack import KEY, SECRET, TWO
from tests.calls import delivered, hook_up, join, settled
from tests.events import LIMIT_EVENT
from tests.world import World


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
