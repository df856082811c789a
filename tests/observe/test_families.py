"""How metrics are declared, and their log lines held back."""

import pytest
from prometheus_client import generate_latest

from lotus_guard.core.log_throttle import QUIET_SECONDS
from lotus_guard.enforce.ports import Reason
from tests.observe.metered import Metered


def test_each_kind_is_exposed_with_its_text() -> None:
    metered = Metered()
    metered.families.counter("a_total", "Times", ["why"]).labels("x").inc()
    metered.families.gauge("b", "Now").set(2)
    metered.families.histogram("c_seconds", "How long", [0.1, 1.0]).observe(0.5)
    lines = generate_latest(metered.families.registry).decode().splitlines()
    assert {
        "# HELP a_total Times",
        "# TYPE a_total counter",
        'a_total{why="x"} 1.0',
        "b 2.0",
        'c_seconds_bucket{le="0.1"} 0.0',
        'c_seconds_bucket{le="1.0"} 1.0',
        'c_seconds_bucket{le="+Inf"} 1.0',
    } <= set(lines)


def test_what_is_counted_is_told_whenever_somebody_asks() -> None:
    metered = Metered()
    plain, named = (
        metered.families.counter("lotus_guard_plain_total", "Times"),
        metered.families.counter("lotus_guard_named_total", "Times", ["why"]),
    )
    assert metered.value("plain_total") == 0.0
    assert metered.value("named_total", why="x") is None
    for times in (1, 2):
        plain.inc(3)
        named.labels("x").inc()
        named.labels(Reason.TIMEOUT).inc(2)
        for _ in range(2):
            assert metered.value("plain_total") == 3.0 * times
            assert metered.value("named_total", why="x") == 1.0 * times
            assert metered.value("named_total", why="timeout") == 2.0 * times


def test_values_of_labels_go_by_their_order_and_number() -> None:
    named = Metered().families.counter("named_total", "Times", ["why", "how"])
    with pytest.raises(TypeError, match="order"):
        named.labels(how="y", why="x")
    with pytest.raises(ValueError, match="count"):
        named.labels("x")


def test_a_number_is_worked_out_when_somebody_asks() -> None:
    metered, numbers = Metered(), [1.0]
    metered.families.show("lotus_guard_n", "A number", lambda: numbers[-1])
    numbers.append(7.0)
    assert metered.value("n") == 7.0


def test_what_is_not_known_has_no_sample() -> None:
    metered, numbers = Metered(), list[float | None]([None])
    metered.families.show("lotus_guard_n", "A number", lambda: numbers[-1])
    assert generate_latest(metered.families.registry).decode().splitlines() == [
        "# HELP lotus_guard_n A number",
        "# TYPE lotus_guard_n gauge",
    ]
    numbers.append(0.0)
    assert metered.value("n") == 0.0


def test_an_age_grows_and_is_absent_where_nothing_has_happened() -> None:
    metered, times = Metered(), [None, 3.0]
    metered.families.show_age("lotus_guard_never", "Never", lambda: times[0])
    metered.families.show_age("lotus_guard_at_3", "At 3", lambda: times[1])
    metered.clock.advance(10)
    assert (metered.value("never"), metered.value("at_3")) == (None, 7.0)


def test_what_another_part_counts_is_a_counter() -> None:
    metered = Metered()
    metered.families.show_count("lotus_guard_n_total", "Times", lambda: 3)
    assert generate_latest(metered.families.registry).decode().splitlines() == [
        "# HELP lotus_guard_n_total Times",
        "# TYPE lotus_guard_n_total counter",
        "lotus_guard_n_total 3.0",
    ]


def test_there_is_no_time_of_making_beside_each_sample() -> None:
    metered = Metered()
    metered.families.counter("a_total", "Times").inc()
    metered.families.histogram("b_seconds", "How long", [1.0]).observe(0.5)
    assert "_created" not in generate_latest(metered.families.registry).decode()


def test_trouble_has_a_line_a_minute_and_one_at_its_end() -> None:
    metered = Metered()
    trouble = metered.families.trouble("redis")
    assert trouble.ends() is None, "it has not begun"
    assert [trouble.lasts("refused"), trouble.lasts("refused")] == [True, False]
    metered.clock.advance(7.0)
    assert trouble.lasts("timeout"), "another line"
    metered.clock.advance(5.0)
    assert [trouble.ends(), trouble.ends()] == [12.0, None]


def test_trouble_that_was_not_told_of_has_no_line_at_its_end() -> None:
    metered = Metered()
    trouble = metered.families.trouble("redis")
    trouble.lasts()
    trouble.ends()
    assert not trouble.lasts()
    assert trouble.ends() is None
    metered.clock.advance(QUIET_SECONDS)
    assert trouble.lasts()
    assert trouble.ends() == 0.0


def test_a_name_is_taken_once() -> None:
    metered = Metered()
    metered.families.counter("a_total", "Times")
    with pytest.raises(ValueError, match="Duplicated"):
        metered.families.gauge("a", "Now")


def test_a_line_may_be_written_once_a_minute_and_others_are_no_matter() -> None:
    families, clock = (metered := Metered()).families, metered.clock
    assert families.may_say("open", "limit")
    assert not families.may_say("open", "limit")
    assert families.may_say("open", "sources")
    clock.advance(QUIET_SECONDS)
    assert families.may_say("open", "limit")
