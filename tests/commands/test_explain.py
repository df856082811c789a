"""`lotus-guard explain`, against a guard in this process and against the state file alone."""

import json
from typing import Any

import pytest
import pytest_twisted
from attrs import evolve

from lotus_guard.commands.common import Failed, admin_address
from lotus_guard.commands.explain import lines_of, told
from lotus_guard.core.model import RoomId
from lotus_guard.neighbours.agents import pooled_agents
from lotus_guard.neighbours.http import Http
from lotus_guard.rules.decision import Decision
from lotus_guard.rules.rulings import let_through
from lotus_guard.sandbox.stack import TWO, VOICE
from tests.calls import fill
from tests.command_line import run
from tests.rulings import seat_refused
from tests.world import World, reactor


@pytest_twisted.ensureDeferred
async def test_a_refusal_is_explained_and_replayed(world: World) -> None:
    world.start_guard()
    got = await fill(world)
    out, err, code = await run(world, "explain", "@carol:sandbox", TWO)
    assert (code, err) == (0, "")
    assert f"[{got.headers['Lotus-Guard-Decision']}]  refused" in out
    assert "2 in the call or about to join, 2 allowed, this user not among them" in out
    assert "max_users = 2, taken = 2, is_seated = false" in out
    assert "seated  @alice:sandbox, @bob:sandbox" in out
    assert "replay  the same: refused" in out


@pytest_twisted.ensureDeferred
async def test_for_machines_it_is_a_json_object_a_line(world: World) -> None:
    world.start_guard()
    await world.ask("alice", VOICE)
    await world.ask("alice", VOICE)
    out, _, code = await run(world, "explain", "@alice:sandbox", "--json")
    found = [json.loads(line) for line in out.splitlines()]
    assert (code, len(found)) == (0, 2)
    assert all(each["replayed"] == each["verdict"] for each in found)


@pytest_twisted.ensureDeferred
async def test_without_a_guard_the_state_file_is_read(world: World) -> None:
    world.start_guard()
    await fill(world)
    await world.guard.memory.cluster.store.close()
    out, _, code = await run(
        world, "explain", "@carol:sandbox", TWO, LOTUS_GUARD_ADMIN_LISTEN="tcp:1"
    )
    assert code == 0
    assert "replay  the same: refused" in out


@pytest_twisted.ensureDeferred
async def test_nothing_on_record_is_said_with_what_would_be(world: World) -> None:
    world.start_guard()
    out, _, code = await run(world, "explain", "@dave:sandbox")
    assert code == 0
    assert "No decision on @dave:sandbox is on record" in out


@pytest_twisted.ensureDeferred
async def test_what_it_cannot_do_it_says_and_exits_with_2(world: World) -> None:
    for arguments, more, wanted in (
        (("carol",), {}, "wanted: a user such as @alice:example.org"),
        (("@c:s", "#room:s"), {}, "a room id such as"),
        (("@c:s",), {"LOTUS_GUARD_LOG_USERS": "no"}, "LOTUS_GUARD_LOG_USERS is no"),
        (("@c:s",), {"LIVEKIT_SECRET": ""}, "LIVEKIT_SECRET: not set"),
        (("@c:s",), {"LOTUS_GUARD_ADMIN_LISTEN": ""}, "has no operators' port"),
    ):
        _, err, code = await run(world, "explain", *arguments, **more)
        assert code == 2, arguments
        assert wanted in err
        assert "Traceback" not in err


@pytest_twisted.ensureDeferred
async def test_another_server_on_the_port_is_not_taken_for_a_guard(world: World) -> None:
    world.start_guard()
    port = world.sandbox.addresses.synapse.rpartition(":")[2]
    config: Any = evolve(world.config, admin_listen=f"tcp:{port}")
    agents = pooled_agents(reactor)
    with pytest.raises(Failed, match="not as a guard does"):
        await told(Http(agents.livekit, reactor), config, "@c:s", None, 5)
    await agents.close()


def test_hostile_names_do_not_reach_the_terminal() -> None:
    room = RoomId("!r\x1b[2J\u202e:s")
    for ruling in (
        seat_refused(room, "@u:s", 1, 1, ["@\x1b[31mu:s"]),
        let_through("limit", "timeout", "late\x07", room, "@u:s"),
    ):
        lines = lines_of(Decision("id", 0.0, False, ruling))
        assert all(line.isprintable() for line in lines)


def test_a_different_end_is_told() -> None:
    ruling = evolve(seat_refused(RoomId("!r:s"), "@u:s", 2, 2), inputs={"max_users": 3, "taken": 2})
    ruling = evolve(ruling, inputs={**ruling.inputs, "is_seated": False})
    assert "DIFFERENT" in lines_of(Decision("id", 0.0, False, ruling))[-1]
    broken = evolve(ruling, inputs={"max_users": 3})
    assert "not possible" in lines_of(Decision("id", 0.0, False, broken))[-1]
    observed = lines_of(Decision("id", 0.0, True, ruling))
    assert "nothing was changed" in observed[0]


@pytest_twisted.ensureDeferred
async def test_the_operators_port_is_found_from_its_endpoint(world: World) -> None:
    world.start_guard()
    for endpoint, wanted in (
        ("tcp:8072:interface=127.0.0.1", "http://127.0.0.1:8072"),
        ("tcp:8072", "http://127.0.0.1:8072"),
        ("tcp:8072:interface=0.0.0.0", "http://127.0.0.1:8072"),
        (r"tcp:8072:interface=\:\:1", "http://[::1]:8072"),
        ("tcp:8072:interface=10.0.0.5", "http://10.0.0.5:8072"),
        ("unix:/run/guard.sock", None),
        ("", None),
    ):
        assert admin_address(evolve(world.config, admin_listen=endpoint)) == wanted
