"""What the metrics say is what happened."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.protocol import Factory, Protocol
from twisted.logger import formatEvent

from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from tests.calls import NO_CAMERA, PUSH, fill, join, last, metric, push, settled
from tests.events import SOURCES_EVENT
from tests.world import World, http_answer, reactor

SECONDS = "lotus_guard_live_enforcement_seconds"


@pytest_twisted.ensureDeferred
async def test_enforcement_is_measured_from_the_change_of_the_policy(world: World) -> None:
    import time

    world.start_guard(LOTUS_GUARD_PUSH_SECRET=PUSH)
    await join(world, "alice", OPEN)
    push(world, OPEN, {}, time.time() - 8)
    push(world, OPEN, NO_CAMERA, time.time() - 7)
    await settled(world)
    await world.guard.live.run_pass()
    assert metric(world, f"{SECONDS}_count") == 1
    assert 7 <= metric(world, f"{SECONDS}_sum") < 20


@pytest_twisted.ensureDeferred
async def test_a_policy_of_long_ago_is_no_measure(world: World) -> None:
    """The event's time is its homeserver's to say; here it says 1970."""
    world.start_guard()
    await join(world, "alice", OPEN)
    await world.guard.live.run_pass()
    world.sandbox.homeserver.set_state(OPEN, SOURCES_EVENT, NO_CAMERA)
    await world.guard.live.run_pass()
    await world.guard.live.run_pass()
    assert metric(world, f"{SECONDS}_count") == 1
    assert metric(world, f"{SECONDS}_sum") < 20


class Slow(Protocol):
    """Answers after a while."""

    answer = http_answer(b"{}")

    def dataReceived(self, _data: bytes) -> None:
        reactor.callLater(0.4, self.transport.write, self.answer)  # type: ignore[union-attr]


@pytest_twisted.ensureDeferred
async def test_upstreams_time_is_not_ours(world: World) -> None:
    port = world._listen(0, Factory.forProtocol(Slow))
    world.start_guard(LOTUS_GUARD_UPSTREAM=f"http://127.0.0.1:{port}")
    await world.request("GET", "/x")
    assert metric(world, "lotus_guard_added_seconds_count") == 1
    assert metric(world, "lotus_guard_added_seconds_sum") < 0.3


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(("max_age", "wanted"), [("60", "hit"), ("0", "miss")])
async def test_what_is_remembered_is_counted_as_a_hit(
    world: World, max_age: str, wanted: str
) -> None:
    world.start_guard(LOTUS_GUARD_POLICY_MAX_AGE=max_age)
    await world.ask("alice", VOICE)
    for what in ("limit", "sources"):
        counts = {
            outcome: metric(world, "lotus_guard_cache_total", what=what, outcome=outcome)
            for outcome in ("hit", "miss")
        }
        assert counts.pop(wanted) == 1, what
        assert set(counts.values()) == {0}


@pytest_twisted.ensureDeferred
async def test_seats_people_and_refusals_are_counted(world: World) -> None:
    world.start_guard()
    await fill(world)
    await join(world, "alice", VOICE)
    await join(world, "bob", OPEN)
    await world.guard.live.run_pass()
    assert metric(world, "lotus_guard_seats_held") == 2
    assert metric(world, "lotus_guard_live_people") == 2
    assert metric(world, "lotus_guard_live_people_under_policy") == 1
    assert metric(world, "lotus_guard_refused_total", rule="limit") == 1
    await world.request("POST", "/sfu/get", b"{")
    assert metric(world, "lotus_guard_refused_total", rule="request") == 1


@pytest_twisted.ensureDeferred
async def test_pushes_and_webhooks_that_are_not_believed_are_counted(world: World) -> None:
    world.start_guard(LOTUS_GUARD_PUSH_SECRET=PUSH)
    await world.request(
        "POST", "/policy", b"{}", {"Lotus-Guard-Signature": "x"}, base=world.operators
    )
    await world.request("POST", "/webhook", b"{}", {"Authorization": "x"}, base=world.operators)
    got = (await world.request("GET", "/readyz", base=world.operators)).json()
    assert got["pushes"]["refused"] == 1
    assert got["pushes"]["refused_age"] < 60
    assert got["webhooks"] == {"genuine": 0, "forged": 1}
    states = {each["name"]: each["state"] for each in got["dependencies"]}
    assert states["pushes"] == "trouble"
    push(world, OPEN, {})
    got = (await world.request("GET", "/readyz", base=world.operators)).json()
    assert {each["name"]: each["state"] for each in got["dependencies"]}["pushes"] == "ok"
    assert got["pushes"]["taken"] == 1


@pytest_twisted.ensureDeferred
async def test_decisions_are_in_the_log(world: World, logged: list[Any]) -> None:
    world.start_guard()
    await fill(world)
    told = [event for event in logged if "decision" in event]
    assert told[-1]["decision"]["id"] == last(world).id
    assert f"[{last(world).id}] refused in {TWO} for @carol:sandbox" in formatEvent(told[-1])


@pytest_twisted.ensureDeferred
async def test_whom_an_observed_limit_would_refuse_counts_for_the_next(world: World) -> None:
    world.start_guard(LOTUS_GUARD_OBSERVE="limit")
    await fill(world)
    await world.ask("dave", TWO)
    assert last(world).ruling.inputs["taken"] == 3
