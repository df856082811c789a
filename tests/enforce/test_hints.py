"""Webhooks and pushes are believed when they are signed, and only once."""

import json
import time
from typing import Any

import pytest
import pytest_twisted

from lotus_guard.core.model import LiveKitRoom, RoomId
from lotus_guard.core.token import KeyPair, mint
from lotus_guard.rules.push import sign_push
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import KEY, OPEN, SECRET, VOICE
from tests.calls import (
    NO_CAMERA,
    PUSH,
    Counting,
    join,
    metric,
    push,
    settled,
    sources,
)
from tests.events import SOURCES_EVENT, push_of
from tests.world import FAST, World


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
