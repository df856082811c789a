"""The table of failure classes: one test for each cell.

Each shows that the call starts within the deadline and that the other rule still holds. The table
in docs/failures.md is made of these cells, and `test_docs.py` compares the two.
"""

import time
from collections.abc import Callable
from pathlib import Path

import pytest
import pytest_twisted

from lotus_guard.enforce.ports import Outage
from lotus_guard.rules import RULES
from lotus_guard.sandbox.stack import TWO, VOICE
from tests.events import JUDGING, LIMIT_EVENT, SOURCES_EVENT
from tests.real.processes import free_port
from tests.world import DEADLINE, FAST, World, http_answer

Backend = Callable[[World], str]

HUGE = 10**12
FAULTS: dict[str, tuple[Backend, str]] = {
    "refused": (lambda w: f"http://127.0.0.1:{free_port()}", "refused"),
    "hangs before headers": (lambda w: w.serve(), "timeout"),
    "hangs in the body": (
        lambda w: w.serve(http_answer(b'{"state', length=1000)),
        "timeout",
    ),
    "reset": (lambda w: w.serve(abort=True), "reset"),
    "5xx": (lambda w: w.serve(http_answer(b"{}", "503 Service Unavailable")), "server_error"),
    "401": (lambda w: w.serve(http_answer(b"{}", "401 Unauthorized")), "unauthorized"),
    "403": (lambda w: w.serve(http_answer(b"{}", "403 Forbidden")), "unauthorized"),
    "404 of something else": (lambda w: w.serve(http_answer(b"", "404 Not Found")), "not_found"),
    "garbage": (lambda w: w.serve(b"\x00\x01 what is this\r\n\r\n"), "garbage"),
    "wrong type": (lambda w: w.serve(http_answer(b'{"state": 5}')), "garbage"),
    "oversized": (lambda w: w.serve(http_answer(b"x", length=HUGE)), "oversized"),
    "DNS": (lambda w: "http://no-such-host.invalid", "dns"),
}
SLACK = 1.5  # seconds that a loaded machine may add; the deadline itself is 0.3


def fast(fault: str) -> dict[str, str]:
    """The short deadline; a resolver may take longer than that to find nothing."""
    return {**FAST, "LOTUS_GUARD_DEADLINE": "1.5"} if fault == "DNS" else FAST


async def both_rules(world: World) -> None:
    """Return the room for two a source policy as well."""
    world.sandbox.homeserver.set_state(TWO, SOURCES_EVENT, {"allow_camera": False})


@pytest_twisted.ensureDeferred
async def test_livekit_saying_more_than_can_be_read_opens_nothing(world: World) -> None:
    """Participants write their own metadata, so this one is a client's to cause."""
    neighbour, _ = FAULTS["oversized"]
    world.start_guard(**FAST, LOTUS_GUARD_LIVEKIT_URL=neighbour(world))
    await both_rules(world)
    for name in ("alice", "bob"):
        got = await world.ask(name, TWO)
        assert got.sources == ["microphone", "screen_share", "screen_share_audio"]
    assert (await world.ask("carol", TWO)).status == 403
    assert world.fail_opens() == {}


@pytest.mark.parametrize("fault", sorted(FAULTS.keys() - {"oversized"}))
@pytest_twisted.ensureDeferred
async def test_livekit_in_trouble_skips_the_limit_and_not_the_sources(
    world: World, fault: str
) -> None:
    neighbour, reason = FAULTS[fault]
    world.start_guard(**fast(fault), LOTUS_GUARD_LIVEKIT_URL=neighbour(world))
    await both_rules(world)
    for name in ("alice", "bob", "carol"):
        begun = time.monotonic()
        got = await world.ask(name, TWO)
        assert time.monotonic() - begun < DEADLINE + SLACK
        assert got.sources == ["microphone", "screen_share", "screen_share_audio"]
    assert world.fail_opens() == {("limit", reason): 3.0}


@pytest.mark.parametrize("fault", FAULTS)
@pytest_twisted.ensureDeferred
async def test_synapse_in_trouble_lets_calls_start(world: World, fault: str) -> None:
    neighbour, reason = FAULTS[fault]
    world.start_guard(**fast(fault), LOTUS_GUARD_SYNAPSE_URL=neighbour(world))
    for name in ("alice", "bob", "carol"):
        begun = time.monotonic()
        got = await world.ask(name, TWO)
        assert time.monotonic() - begun < DEADLINE + SLACK
        assert got.claims["exp"] - got.claims["nbf"] == 3600
    assert world.fail_opens() == {(rule.name, reason): 3.0 for rule in JUDGING}


async def run_pass(world: World) -> None:
    """Run a pass as the live loop's service does."""
    try:
        await world.guard.live.run_pass()
    except Outage as outage:
        world.guard.live.note(outage)


def unenforced(world: World) -> set[tuple[str, str]]:
    found = world.guard.metrics.rules.unenforced.collect()
    samples = [each for metric in found for each in metric.samples if each.value]
    names = ("rule", "reason")
    return {
        (each.labels[names[0]], each.labels[names[1]])
        for each in samples
        if each.name.endswith("_total")
    }


@pytest.mark.parametrize("neighbour", ["SYNAPSE", "LIVEKIT"])
@pytest_twisted.ensureDeferred
async def test_nobody_is_let_through_where_nobody_asked(world: World, neighbour: str) -> None:
    """A call runs, a neighbour is away, and the live loop alone notices."""
    world.start_guard(**FAST)
    await both_rules(world)
    token = (await world.ask("alice", TWO)).json()["jwt"]
    world.sandbox.sfu.join(token)
    await world.guard.memory.cluster.store.close()  # writes what the next guard is to know
    away = f"http://127.0.0.1:{free_port()}"
    world.start_guard(**FAST, **{f"LOTUS_GUARD_{neighbour}_URL": away})
    for _ in range(3):
        await run_pass(world)
    assert world.fail_opens() == {}
    assert unenforced(world) == {(rule.name, "refused") for rule in RULES}
    kinds = [each.ruling.deed for each in world.guard.overview.records.recent]
    assert kinds == ["unenforced"] * len(RULES), "once a minute for each rule"
    await world.ask("bob", TWO)
    counted = {"SYNAPSE": {rule.name for rule in JUDGING}, "LIVEKIT": {"limit"}}[neighbour]
    assert {rule for rule, _ in world.fail_opens()} == counted, "who asks is let through"


@pytest.mark.parametrize("event", [LIMIT_EVENT, SOURCES_EVENT])
@pytest_twisted.ensureDeferred
async def test_one_look_up_failing_leaves_the_other_rule(world: World, event: str) -> None:
    """Synapse answers for one type of event and hangs for the other."""
    world.start_guard(**FAST)
    await both_rules(world)
    world.sandbox.homeserver.hangs_for = event
    assert (await world.ask("alice", TWO)).status == 200
    assert (await world.ask("bob", TWO)).status == 200
    carol = await world.ask("carol", TWO)
    if event == LIMIT_EVENT:
        assert carol.sources == ["microphone", "screen_share", "screen_share_audio"]
        assert world.fail_opens() == {("limit", "timeout"): 3.0}
    else:
        assert carol.status == 403
        assert set(world.fail_opens()) == {("sources", "timeout")}


def unwritable(path: Path) -> Path:
    path.parent.joinpath("file").write_text("")
    return path.parent / "file" / "state.sqlite"


def broken(path: Path) -> Path:
    path.write_bytes(b"this is no database, but long enough to look at" * 100)
    return path


def directory(path: Path) -> Path:
    path.mkdir()
    return path


STORES: dict[str, Callable[[Path], Path]] = {
    "cannot be made": unwritable,
    "is no database": broken,
    "is a directory": directory,
}


@pytest.mark.parametrize("fault", STORES)
@pytest_twisted.ensureDeferred
async def test_the_store_in_trouble_changes_no_verdict(
    world: World, fault: str, tmp_path: Path
) -> None:
    path = STORES[fault](tmp_path / "other.sqlite")
    world.start_guard(**FAST, LOTUS_GUARD_STATE=str(path))
    assert (await world.ask("alice", TWO)).status == 200
    assert (await world.ask("bob", TWO)).status == 200
    assert (await world.ask("carol", TWO)).status == 403
    assert (await world.ask("carol", VOICE)).sources == ["microphone"]
    assert world.fail_opens() == {}
    failures = world.guard.metrics.registry.get_sample_value("lotus_guard_store_failures_total")
    assert failures is not None
    assert failures >= 1.0
    if fault == "is no database":
        assert list(tmp_path.glob("other.sqlite.broken-*")), "moved aside, not lost"


@pytest_twisted.ensureDeferred
async def test_a_policy_known_from_before_serves_while_synapse_is_out(world: World) -> None:
    world.start_guard(**FAST)
    assert (await world.ask("alice", VOICE)).sources == ["microphone"]
    world.sandbox.homeserver.hangs_for = SOURCES_EVENT
    assert (await world.ask("bob", VOICE)).sources == ["microphone"]
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_a_room_that_synapse_does_not_know_is_an_answer(world: World) -> None:
    world.start_guard(**FAST)
    got = await world.ask("alice", "!nowhere:sandbox")
    assert got.claims["exp"] - got.claims["nbf"] == 3600
    assert world.fail_opens() == {}
