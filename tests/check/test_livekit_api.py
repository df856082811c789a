"""How the check calls LiveKit's API."""

import time

import jwt
from pytest_twisted import ensureDeferred

from lotus_guard.check.context import PREFIX
from lotus_guard.check.livekit_api import authorization, call_livekit, remove_room
from tests.check.checked_stack import CheckedStack, context_of


def test_a_token_is_for_now_by_livekits_clock(stack: CheckedStack) -> None:
    context = context_of(stack)
    token = authorization(context, {"roomList": True}, 3600.0)["Authorization"].split()[1]
    claims = jwt.decode(token, context.config.secret, algorithms=["HS256"], leeway=4000)
    assert abs(claims["nbf"] - time.time() - 3590) < 5
    assert claims["video"] == {"roomList": True}
    assert (claims["iss"], claims["sub"]) == (context.config.key, PREFIX)


@ensureDeferred
async def test_rooms_are_listed_and_removed(stack: CheckedStack) -> None:
    context, sfu = context_of(stack), stack.world.sandbox.sfu
    sfu.create("ours")
    listed = await call_livekit(context, "ListRooms", {"roomList": True}, {"names": ["ours"]})
    assert b'"ours"' in listed.body
    assert await remove_room(context, "ours")
    assert await remove_room(context, "never there")
    assert sfu.rooms == {}


@ensureDeferred
async def test_a_clock_that_is_far_off_is_no_refusal(stack: CheckedStack) -> None:
    stack.world.sandbox.sfu.epoch = lambda: time.time() + 7200.0
    listed = await call_livekit(context_of(stack), "ListRooms", {"roomList": True}, {})
    assert listed.status == 200


@ensureDeferred
async def test_what_cannot_be_removed_is_not_gone(stack: CheckedStack) -> None:
    sfu = stack.world.sandbox.sfu
    sfu.create("ours")
    sfu.secret = "another-secret-of-at-least-32-bytes"
    assert not await remove_room(context_of(stack), "ours")
