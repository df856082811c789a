"""`lotus-guard explain`, against a guard in this process and against the state file alone."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import pytest_twisted

from lotus_guard.sandbox.stack import TWO, VOICE
from tests.calls import fill
from tests.command_line import ROOT, neutral_environment, run
from tests.test_docs import GOOD
from tests.world import World


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
async def test_the_reference_that_a_refused_user_reads_is_explained(world: World) -> None:
    """As they hand it over: out of the sentence, in capitals, with what stands around it."""
    world.start_guard()
    refused = await fill(world)
    reference = refused.headers["Lotus-Guard-Decision"]
    assert reference in refused.json()["error"]
    for handed in (reference, f"Reference: {reference.upper()}.", f"[{reference}]"):
        out, err, code = await run(world, "explain", handed)
        assert (code, err) == (0, ""), handed
        assert f"[{reference}]  refused" in out
        assert "user    @carol:sandbox" in out
        assert "replay  the same: refused" in out
    await world.guard.memory.cluster.store.close()
    out, _, code = await run(world, "explain", reference, LOTUS_GUARD_ADMIN_LISTEN="tcp:1")
    assert code == 0
    assert f"[{reference}]  refused" in out


@pytest_twisted.ensureDeferred
async def test_a_reference_that_leads_nowhere_ends_with_1(world: World) -> None:
    world.start_guard()
    out, err, code = await run(world, "explain", "aaaaaaaa")
    assert (code, err) == (1, "")
    assert "No decision has the reference aaaaaaaa" in out
    out, _, code = await run(world, "explain", "aaaaaaaa", "--json")
    assert (code, out) == (1, "")


@pytest_twisted.ensureDeferred
async def test_a_room_is_known_by_its_alias_too(world: World) -> None:
    world.start_guard()
    await fill(world)
    world.sandbox.homeserver.aliases["#two:sandbox"] = TWO
    for arguments in (("#two:sandbox",), ("@carol:sandbox", "#two:sandbox"), (TWO,)):
        out, err, code = await run(world, "explain", *arguments)
        assert (code, err) == (0, ""), arguments
        assert f"room    {TWO}" in out
        assert "refused" in out
    _, err, code = await run(world, "explain", "#gone:sandbox")
    assert code == 1
    assert "no room has the alias #gone:sandbox" in err
    where = {"LOTUS_GUARD_SYNAPSE_URL": ""}
    _, err, code = await run(world, "explain", "#two:sandbox", **where)
    assert code == 2
    assert "an alias is looked up at the homeserver" in err
    assert "expected --homeserver URL, or the room's ID" in err
    address = ("--homeserver", world.sandbox.addresses.synapse)
    out, _, code = await run(world, "explain", "#two:sandbox", *address, **where)
    assert (code, f"room    {TWO}" in out) == (0, True)


@pytest_twisted.ensureDeferred
async def test_only_the_guards_address_is_needed(world: World) -> None:
    world.start_guard()
    reference = (await fill(world)).headers["Lotus-Guard-Decision"]
    nothing = {**dict.fromkeys(world.sandbox.environment(), ""), "LOTUS_GUARD_DEADLINE": "soon"}
    out, err, code = await run(world, "explain", reference, "--guard", world.operators, **nothing)
    assert (code, err) == (0, "")
    assert f"[{reference}]" in out


@pytest_twisted.ensureDeferred
async def test_users_that_are_not_recorded_are_said_to_be_so(world: World) -> None:
    world.start_guard(LOTUS_GUARD_LOG_USERS="no")
    reference = (await fill(world)).headers["Lotus-Guard-Decision"]
    for more in ({}, {"LOTUS_GUARD_ADMIN_LISTEN": "tcp:1"}):
        users = {"LOTUS_GUARD_LOG_USERS": "no", **more}
        _, err, code = await run(world, "explain", "@carol:sandbox", **users)
        assert code == 2
        assert "users are not recorded (LOTUS_GUARD_LOG_USERS=no)" in err
    out, _, code = await run(world, "explain", reference)
    assert (code, "user    not recorded" in out) == (0, True)


@pytest_twisted.ensureDeferred
async def test_hashed_users_are_found_in_the_file_too(world: World) -> None:
    world.start_guard(LOTUS_GUARD_LOG_USERS="hash")
    await fill(world)
    await world.guard.memory.cluster.store.close()
    more = {"LOTUS_GUARD_ADMIN_LISTEN": "tcp:1", "LOTUS_GUARD_LOG_USERS": "hash"}
    out, _, code = await run(world, "explain", "@carol:sandbox", **more)
    assert code == 0
    assert "user    u:" in out
    assert "carol" not in out


@pytest.mark.parametrize(
    ("arguments", "more", "wanted"),
    [
        (("carol",), {}, "expected a reference of eight letters and digits"),
        (("@carol",), {}, "'@carol' cannot be looked up"),
        (("\x1b[31m",), {}, "cannot be looked up"),
        (("@c:s", "room"), {}, "a room ID such as"),
        (("k3v2t2xq", "!r:s"), {}, "cannot be looked up"),
        (("@c:s",), {"LOTUS_GUARD_ADMIN_LISTEN": ""}, "give the guard no operators' port"),
        (("@c:s", "--guard", "http://127.0.0.1:1"), {}, "no guard answers at http://127.0.0.1:1"),
        (
            ("k3v2t2xq",),
            {"LOTUS_GUARD_ADMIN_LISTEN": "tcp:1", "LOTUS_GUARD_STATE": "redis://127.0.0.1:1"},
            "share their decisions in Redis",
        ),
    ],
)
def test_what_it_cannot_do_it_says_and_exits_with_2(
    arguments: tuple[str, ...], more: dict[str, str], wanted: str, tmp_path: Path
) -> None:
    """The command as a process: the reactor of this one runs already."""
    done = subprocess.run(
        [sys.executable, "-m", "lotus_guard.cli", "explain", *arguments],
        cwd=tmp_path,
        env={**neutral_environment(), **GOOD, "PYTHONPATH": str(ROOT), **more},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert wanted in done.stderr
    assert "Traceback" not in done.stderr
    assert "\x1b" not in done.stderr
