"""Levels that everybody in a room has: `policy` calls senseless what the guard doubts."""

import json

import pytest_twisted

from lotus_guard.commands.policy_power import doubted, power_in, with_doubts
from lotus_guard.commands.policy_room import read, read_with_lost
from lotus_guard.commands.policy_words import policies_of
from lotus_guard.core.model import RoomId
from lotus_guard.core.power import PowerLevels
from lotus_guard.neighbours.matrix import Matrix
from lotus_guard.rules import RULES
from tests.command_line import run
from tests.commands.kitchen import CAMERA, MOD, ROOM, Kitchen
from tests.events import LIMIT_EVENT, SOURCES_EVENT

LEVELS = {"users": {"@mod:sandbox": 50}, "users_default": 10}
BYPASS = f"{LIMIT_EVENT}: bypass_level is 5, which everybody has here; expected more than 10"
START = f"{LIMIT_EVENT}: start_level is 10, which everybody has here; expected more than 10"


@pytest_twisted.ensureDeferred
async def test_levels_that_everybody_has_are_called_senseless(kitchen: Kitchen) -> None:
    kitchen.states.set_state(ROOM, "m.room.power_levels", LEVELS)
    options = ("--max-users", "2", "--limit-bypass-level", "5", "--start-level", "10")
    out, err, code = await run(kitchen.world, "policy", "set", ROOM, *options, "--token", MOD)
    assert (code, err) == (0, "")
    said = [f"warning: {BYPASS}", f"warning: {START}"]
    assert [line.strip() for line in out.splitlines()[-2:]] == said
    out, _, _ = await run(kitchen.world, "policy", "show", ROOM)
    lines = [line.strip() for line in out.splitlines()]
    assert [line for line in lines if line.startswith("warning")] == said
    out, _, _ = await run(kitchen.world, "policy", "show", ROOM, "--json")
    assert json.loads(out)["limit"]["complaints"] == [BYPASS, START]


@pytest_twisted.ensureDeferred
async def test_levels_that_not_everybody_has_are_none(kitchen: Kitchen) -> None:
    changed = await kitchen.set(max_users=2, limit_bypass_level=5, start_level=10)
    assert changed.policies.complaints == ()
    kitchen.states.set_state(ROOM, "m.room.power_levels", LEVELS)
    again = await kitchen.set(max_users=2, limit_bypass_level=11, start_level=11)
    assert again.policies.complaints == ()


@pytest_twisted.ensureDeferred
async def test_levels_are_asked_for_only_where_they_matter_and_without_them_nothing_is_said(
    kitchen: Kitchen,
) -> None:
    room, nowhere = RoomId(ROOM), Matrix(kitchen.http, "http://127.0.0.1:1", "x")
    kitchen.states.set_state(ROOM, "m.room.power_levels", LEVELS)
    admin = kitchen.sides().admin
    assert (await power_in(admin, room)).users_default == 10
    kitchen.has(LIMIT_EVENT, {"max_users": 2, "bypass_level": 5})
    found = await read(kitchen.sides(), room, RULES)
    assert (await with_doubts(admin, found)).complaints == (BYPASS,)
    assert await with_doubts(nowhere, found) == found
    denied = Matrix(kitchen.http, kitchen.world.sandbox.addresses.synapse, "no-token")
    assert await with_doubts(denied, found) == found
    kitchen.has(LIMIT_EVENT, {"max_users": 2})
    kitchen.has(SOURCES_EVENT, {"bypass_level": 5})
    bare = await read_with_lost(kitchen.sides(), room, RULES)
    assert (await with_doubts(admin, bare)) is bare, "exempt from nothing: nobody is asked"


def test_rules_of_one_event_doubt_it_once_and_a_new_content_is_not_doubted_yet() -> None:
    content = {CAMERA: False, "max_cameras": 4, "bypass_level": 0}
    event = {"content": content}
    events = {rule.event: event if rule.event == SOURCES_EVENT else None for rule in RULES}
    found = doubted(policies_of(RoomId(ROOM), RULES, events), PowerLevels())
    (doubt,) = found.complaints
    assert doubt.startswith(f"{SOURCES_EVENT}: bypass_level is 0, which everybody has here")
    assert found.replaced(SOURCES_EVENT, {}).complaints == ()
