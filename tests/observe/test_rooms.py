"""The live rooms as an operator sees them, from what the guard knows anyway."""

import json
from typing import Any

import pytest_twisted

from lotus_guard.observe import rooms as module
from lotus_guard.observe.rooms import described
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from tests.calls import fill, join
from tests.world import World


async def watched(world: World) -> list[dict[str, Any]]:
    """Have the loop look at what there is, and describe it."""
    await world.guard.live.run_pass()
    return world.guard.overview.rooms.all()


@pytest_twisted.ensureDeferred
async def test_rooms_under_a_policy_come_first_and_then_those_with_most_people(
    world: World,
) -> None:
    world.start_guard()
    for name in ("alice", "bob", "carol"):
        await join(world, name, OPEN)
    await join(world, "dave", VOICE)
    shown = await watched(world)
    assert [each["room"] for each in shown] == [VOICE, OPEN]
    assert [each["people"] for each in shown] == [1, 3]
    assert world.guard.overview.rooms.people() == 4


@pytest_twisted.ensureDeferred
async def test_who_is_there_is_known_where_a_policy_restricts_the_room(world: World) -> None:
    world.start_guard()
    for room in (VOICE, OPEN):
        await join(world, "alice", room)
    restricted, other = await watched(world)
    assert restricted["users"] == ["@alice:sandbox"]
    assert [each["rule"] for each in restricted["policy"]] == ["sources"]
    assert restricted["forbidden"] == ["camera", "screen_share", "screen_share_audio"]
    assert (other["users"], other["policy"], other["taken"]) == ([], [], None)
    assert (other["max_users"], other["forbidden"]) == (None, [])
    json.dumps([restricted, other])


@pytest_twisted.ensureDeferred
async def test_seats_that_are_held_show_a_room_in_which_nobody_is_yet(world: World) -> None:
    world.start_guard()
    assert (await fill(world)).status == 403
    (shown,) = await watched(world)
    counts = {name: shown[name] for name in ("room", "people", "taken", "max_users", "refused")}
    assert counts == {"room": TWO, "people": 0, "taken": 2, "max_users": 2, "refused": 1}
    assert world.guard.overview.rooms.held() == 2


@pytest_twisted.ensureDeferred
async def test_a_room_has_its_name_once_synapse_has_told(world: World) -> None:
    world.start_guard()
    await join(world, "alice", VOICE)
    rooms = world.guard.overview.rooms
    rooms.name_of = {VOICE: "Kitchen"}.get
    assert [each["name"] for each in await watched(world)] == ["Kitchen"]


@pytest_twisted.ensureDeferred
async def test_no_more_rooms_are_shown_than_a_page_can_hold(world: World, monkeypatch: Any) -> None:
    monkeypatch.setattr(module, "MOST_ROOMS", 1)
    world.start_guard()
    for room in (OPEN, VOICE):
        await join(world, "alice", room)
    assert [each["room"] for each in await watched(world)] == [VOICE]


def test_what_a_rule_says_of_a_room() -> None:
    assert described(Limit(), LimitPolicy(5)) == {
        "rule": "limit",
        "words": ["at most 5 people"],
        "brief": ["at most 5"],
        "seats": 5,
    }
