"""What nearly every part is built from."""

from twisted.internet.task import Clock

from tests.run.parts import basics_on


def test_nothing_has_happened_yet() -> None:
    basics = basics_on(Clock())
    assert {each["state"] for each in basics.health.dependencies()} == {"unknown"}
    assert b'lotus_guard_fail_open_total{reason="timeout"' not in basics.metrics.exposition()


def test_metrics_and_health_are_of_one_guard_only() -> None:
    clock = Clock()
    one, other = basics_on(clock), basics_on(clock)
    one.metrics.families.show("lotus_guard_of_one", "A number", lambda: 1.0)
    assert b"lotus_guard_of_one" not in other.metrics.exposition()
