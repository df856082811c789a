"""Trouble with the state file, with Redis, and with seats that several guards change."""

from typing import Any

from twisted.logger import formatEvent

from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.observe.memory_metrics import MemoryMetrics
from tests.observe.metered import Metered


def test_the_state_files_failures_are_counted_and_logged_once_a_minute(logged: list[Any]) -> None:
    metered = Metered()
    memory = MemoryMetrics(metered.families)
    memory.store_failed("disk full")
    memory.store_failed("disk full")
    assert metered.value("store_failures_total") == 2
    assert len(logged) == 1
    assert "Can't use the state file: disk full." in formatEvent(logged[0])


def test_a_round_trip_that_fails_counts_and_is_said_only_once_redis_is_away(
    logged: list[Any],
) -> None:
    metered = Metered()
    memory = MemoryMetrics(metered.families)
    memory.redis_failed(Outage(Reason.TIMEOUT, "late"))
    assert metered.value("store_failures_total") == 1
    assert logged == []
    for reason in (Reason.TIMEOUT, Reason.TIMEOUT, Reason.REFUSED):
        memory.redis_is_away(Outage(reason, "x"))
    assert metered.value("store_failures_total") == 1
    assert len(logged) == 2, "one for each reason"
    assert formatEvent(logged[0]).startswith("Redis is down: x (timeout).")


def test_it_is_logged_once_that_the_state_is_back(logged: list[Any]) -> None:
    metered = Metered()
    memory = MemoryMetrics(metered.families)
    memory.store_written()
    memory.redis_answers()
    assert logged == []
    memory.store_failed("disk full")
    memory.redis_is_away(Outage(Reason.TIMEOUT, "late"))
    metered.clock.advance(3.0)
    for _ in range(2):
        memory.store_written()
        memory.redis_answers()
    told = [(event["log_level"].name, formatEvent(event)) for event in logged[2:]]
    assert told == [
        ("info", "The state file works again after 3.0 s"),
        ("info", "Redis is back after 3.0 s"),
    ]


def test_a_change_made_again_is_counted() -> None:
    metered = Metered()
    MemoryMetrics(metered.families).contended()
    assert metered.value("seats_contended_total") == 1
