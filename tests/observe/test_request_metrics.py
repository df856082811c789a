"""What clients ask for, and how they are served."""

from typing import Any

from twisted.logger import formatEvent

from lotus_guard.core.log_throttle import QUIET_SECONDS
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.observe.request_metrics import RequestMetrics
from tests.observe.metered import Metered


def test_answers_are_counted_by_endpoint_and_status() -> None:
    metered = Metered()
    requests = RequestMetrics(metered.families)
    for endpoint, status in (("get_token", 200), ("get_token", 200), ("get_token", 403)):
        requests.answered(endpoint, status)
    requests.answered("other", 200)
    assert metered.value("requests_total", endpoint="get_token", status="200") == 2
    assert metered.value("requests_total", endpoint="get_token", status="403") == 1
    assert metered.value("requests_total", endpoint="other", status="200") == 1


def test_what_is_added_is_measured() -> None:
    metered = Metered()
    requests = RequestMetrics(metered.families)
    requests.added(0.003)
    requests.added(0.3)
    assert metered.value("added_seconds_count") == 2
    assert metered.value("added_seconds_bucket", le="0.005") == 1


def test_an_answer_of_upstream_is_no_failure() -> None:
    metered = Metered()
    RequestMetrics(metered.families).upstream_did(None)
    assert metered.value("upstream_failures_total", reason="refused") is None


def test_failures_are_all_counted_and_logged_once_a_minute(logged: list[Any]) -> None:
    metered = Metered()
    requests = RequestMetrics(metered.families)
    for _ in range(3):
        requests.upstream_did(Outage(Reason.REFUSED, "nobody listens"))
    requests.upstream_did(Outage(Reason.TIMEOUT, "late"))
    assert metered.value("upstream_failures_total", reason="refused") == 3
    assert metered.value("upstream_failures_total", reason="timeout") == 1
    assert len(logged) == 2, "one for each reason"
    assert "lk-jwt-service is down" in formatEvent(logged[0])
    assert "LOTUS_GUARD_UPSTREAM" in formatEvent(logged[0])
    metered.clock.advance(QUIET_SECONDS)
    requests.upstream_did(Outage(Reason.REFUSED, "nobody listens"))
    assert len(logged) == 3


def test_the_end_of_a_failure_is_logged_once(logged: list[Any]) -> None:
    metered = Metered()
    requests = RequestMetrics(metered.families)
    requests.upstream_did(Outage(Reason.REFUSED, "nobody listens"))
    metered.clock.advance(12.3)
    for _ in range(3):
        requests.upstream_did(None)
    told = [(event["log_level"].name, formatEvent(event)) for event in logged]
    assert told[1:] == [("info", "lk-jwt-service is back after 12.3 s")]


def test_requests_over_a_share_are_counted_and_logged_once_a_minute(logged: list[Any]) -> None:
    metered = Metered()
    requests = RequestMetrics(metered.families)
    for _ in range(100):
        requests.turned_one_away()
    assert metered.value("turned_away_total") == 100
    assert len(logged) == 1
    assert "One address sends more than its share" in formatEvent(logged[0])


def test_closed_connections_are_counted_by_reason() -> None:
    metered = Metered()
    requests = RequestMetrics(metered.families)
    for why in ("late", "late", "idle"):
        requests.cut(why)
    assert metered.value("connections_cut_total", reason="late") == 2
    assert metered.value("connections_cut_total", reason="idle") == 1
    assert metered.value("connections_cut_total", reason="room") is None


def test_transactions_are_counted_and_one_that_is_passed_over_is_logged(logged: list[Any]) -> None:
    metered = Metered()
    requests = RequestMetrics(metered.families)
    for outcome in ("taken", "taken", "too_long", "too_long"):
        requests.took_transaction(outcome)
    assert metered.value("transactions_total", outcome="taken") == 2
    assert metered.value("transactions_total", outcome="too_long") == 2
    told = [formatEvent(event) for event in logged]
    assert [
        text for text in told if "Skipped a transaction from the homeserver: too long." in text
    ] == told
    assert len(told) == 1
