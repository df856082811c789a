"""A server's clock beside ours: how far they are apart, and which one is followed."""

from email.utils import formatdate

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.clock import MOST_APART, MOST_FOLLOWED, ServerClock, seconds_ahead

SECONDS = st.floats(-1e6, 1e6)
NOW = 1_790_000_000.0


@given(truth=SECONDS, way=st.floats(0.0, 5.0), back=st.floats(0.0, 5.0))
def test_the_truth_lies_within_the_bounds(truth: float, way: float, back: float) -> None:
    """Whatever the ways to the server and back take; a Date has whole seconds."""
    date = formatdate(NOW + truth, usegmt=True)
    bounds = seconds_ahead(date, NOW - way, NOW + back)
    assert bounds is not None
    assert bounds[0] - 1e-3 <= truth <= bounds[1] + 1e-3


@given(truth=SECONDS, start=st.floats(0.0, 1.0), steps=st.lists(st.floats(0.0, 3.0), max_size=20))
def test_a_clock_that_stays_is_told_within_a_second(
    truth: float, start: float, steps: list[float]
) -> None:
    now = [NOW + start]
    clock = ServerClock("it", lambda: now[0])
    for step in [0.0, *steps]:
        now[0] += step
        clock.saw(formatdate(now[0] + truth, usegmt=True), now[0])
    assert clock.ahead is not None
    assert abs(clock.ahead - truth) <= 1.001


@given(jump=st.floats(-1e5, 1e5), again=st.floats(0.0, 0.9))
def test_an_answer_under_way_while_our_clock_is_set_hides_nothing(
    jump: float, again: float
) -> None:
    """It bounds next to nothing itself; the next one tells, be it of the same second."""
    now = [NOW]
    clock = ServerClock("it", lambda: now[0])
    clock.saw(formatdate(NOW, usegmt=True), NOW)
    now[0] += jump
    clock.saw(formatdate(NOW, usegmt=True), NOW)
    now[0] += again
    clock.saw(formatdate(NOW + again, usegmt=True), now[0])
    assert clock.ahead is not None
    assert abs(clock.ahead + jump) <= 1.001


@pytest.mark.parametrize("date", ["", "yesterday", "Thu, 99 Foo 2026 99:99:99 GMT", "\x00" * 99])
def test_what_is_no_date_tells_nothing(date: str) -> None:
    clock = ServerClock("it", lambda: NOW)
    clock.saw(date, NOW)
    assert clock.ahead is None
    assert clock.trouble() == ""
    assert clock.candidate(5.0) == 0.0


def test_what_a_server_has_told_is_known_though_ours_is_followed() -> None:
    clock = ServerClock("LiveKit", lambda: 1000.0)
    assert clock.told() == clock.epoch() == 1000.0
    clock.saw(formatdate(1020.0, usegmt=True), 1000.0)
    assert clock.told() == pytest.approx(1020.5)
    assert clock.epoch() == 1000.0


def test_the_distance_is_said_from_this_machines_side() -> None:
    clock = ServerClock("LiveKit", lambda: NOW)
    clock.ahead = 600.4
    assert clock.trouble() == "this machine's clock is 600 s behind LiveKit's"
    clock.ahead = -600.4
    assert clock.trouble() == "this machine's clock is 600 s ahead of LiveKit's"
    clock.ahead = MOST_APART
    assert clock.trouble() == ""


def test_a_clock_a_day_off_is_named_and_not_followed() -> None:
    clock = ServerClock("LiveKit", lambda: NOW)
    clock.saw(formatdate(NOW + MOST_FOLLOWED + 100.0, usegmt=True), NOW)
    assert clock.candidate(5.0) == 0.0
    assert "behind" in clock.trouble()
