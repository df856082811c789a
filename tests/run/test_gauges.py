"""What metrics and health tell of numbers that other parts keep."""

from twisted.internet.task import Clock

from tests.run.parts import guard_on

AGES = ("live_last_good_pass", "webhook", "push")
NUMBERS = ("webhooks_forged", "pushes_refused", "seats_held", "live_rooms", "live_people")


def test_nothing_is_known_at_first_and_then_what_is() -> None:
    clock = Clock()
    guard = guard_on(clock)
    registry = guard.metrics.registry

    def value(name: str) -> float | None:
        return registry.get_sample_value(f"lotus_guard_{name}")

    assert [value(f"{name}_age_seconds") for name in AGES] == [-1.0, -1.0, -1.0]
    assert [value(name) for name in NUMBERS] == [0.0] * len(NUMBERS)
    guard.live.last_good = guard.hints.webhooks.last = guard.hints.pushes.last = clock.seconds()
    guard.hints.webhooks.forged, guard.hints.pushes.refused = 3, 4
    guard.live.counts = {"one": 2, "other": 5}  # type: ignore[dict-item]
    clock.advance(7.0)
    assert [value(f"{name}_age_seconds") for name in AGES] == [7.0, 7.0, 7.0]
    assert [value(name) for name in NUMBERS] == [3.0, 4.0, 0.0, 2.0, 7.0]


def test_health_tells_of_the_loop_and_of_who_hints() -> None:
    names = [each["name"] for each in guard_on(Clock()).overview.dependencies()]
    assert {"loop", "webhooks", "pushes"} <= set(names)
    assert len(names) == len(set(names))
