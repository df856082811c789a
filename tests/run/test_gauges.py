"""What metrics and health tell of numbers that other parts keep."""

from typing import Any

import pytest
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.run.guard import Guard
from tests.model_redis import Memory, ModelRedis
from tests.run.parts import guard_on

AGES = ("live_last_good_pass", "webhook", "push")
COUNTS = ("webhooks_forged_total", "pushes_refused_total")
OF_A_PASS = (
    "live_rooms",
    "live_people",
    "live_rooms_under_policy",
    "live_people_under_policy",
    "live_rooms_with_rules_lost",
    "live_strangers",
)


def value(guard: Guard, name: str, **labels: str) -> float | None:
    return guard.metrics.registry.get_sample_value(f"lotus_guard_{name}", labels)


def test_nothing_is_known_at_first_and_then_what_is() -> None:
    clock = Clock()
    guard = guard_on(clock)
    assert [value(guard, f"{name}_age_seconds") for name in AGES] == [None] * 3
    assert [value(guard, name) for name in (*COUNTS, "seats_held")] == [0.0] * 3
    assert [value(guard, name) for name in OF_A_PASS] == [None] * 6
    guard.live.last_good = guard.hints.webhooks.last = guard.hints.pushes.last = clock.seconds()
    guard.hints.webhooks.forged, guard.hints.pushes.refused = 3, 4
    guard.live.counts = {"one": 2, "other": 5}  # type: ignore[dict-item]
    guard.metrics.loop.passed(0.1, rooms=1, people=4, late=False)
    clock.advance(7.0)
    assert [value(guard, f"{name}_age_seconds") for name in AGES] == [7.0, 7.0, 7.0]
    assert [value(guard, name) for name in COUNTS] == [3.0, 4.0]
    assert [value(guard, name) for name in OF_A_PASS] == [2.0, 7.0, 1.0, 4.0, 0.0, 0.0]


def test_where_another_guard_leads_no_pass_is_shown() -> None:
    """Whoever adds the guards' numbers up would count a room for each guard."""
    clock = Clock()
    redis = ModelRedis(Memory(clock=clock.seconds))
    guard = guard_on(clock, redis, LOTUS_GUARD_STATE="redis://model")
    guard.live.service = Nobody()  # type: ignore[assignment]
    lease = guard.memory.cluster.lease
    assert lease is not None
    shown = []
    for is_ours in (True, False):
        ensureDeferred(lease.renew() if is_ours else lease.step_down())
        ensureDeferred(guard.live.run_pass())
        clock.pump([0.1] * 5)
        shown.append((value(guard, "live_leader"), value(guard, "live_rooms")))
    assert shown == [(1.0, 0.0), (0.0, None)]


class Nobody:
    """Stands for a LiveKit without rooms."""

    async def existing(self) -> dict[Any, int]:
        return {}


def test_alone_a_guard_leads() -> None:
    assert value(guard_on(Clock()), "live_leader") == 1.0


@pytest.mark.parametrize(("setting", "claims"), [("off", None), ("on", 0.0)])
def test_claims_are_shown_where_something_is_given_back(setting: str, claims: float | None) -> None:
    assert value(guard_on(Clock(), LOTUS_GUARD_GIVE_BACK=setting), "claims") == claims


def test_each_rule_has_its_mode() -> None:
    settings = {"LOTUS_GUARD_OBSERVE": "limit,live", "LOTUS_GUARD_CALL_PERMISSION": "off"}
    guard = guard_on(Clock(), **settings)
    modes = {
        sample.labels["rule"]: sample.labels["mode"]
        for family in guard.metrics.registry.collect()
        for sample in family.samples
        if sample.name == "lotus_guard_mode"
    }
    assert modes == {
        "members": "enforce",
        "permission": "off",
        "limit": "observe",
        "sources": "enforce",
        "cameras": "enforce",
        "live": "observe",
    }


def test_health_tells_of_the_loop_and_of_who_hints() -> None:
    names = [each["name"] for each in guard_on(Clock()).overview.dependencies()]
    assert {"loop", "webhooks", "pushes"} <= set(names)
    assert len(names) == len(set(names))
