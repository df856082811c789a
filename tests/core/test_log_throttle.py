"""Lines that strangers can cause: one a minute for each name, and the count of the rest."""

from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.log_throttle import QUIET_SECONDS, LogThrottle


def test_a_line_may_be_written_once_a_minute_and_says_how_many_were_left_out() -> None:
    at = [0.0]
    throttle = LogThrottle(lambda: at[0])
    assert throttle.more("forged") == ""
    for second in (0.0, 1.0, QUIET_SECONDS - 0.1):
        at[0] = second
        assert throttle.more("forged") is None
    at[0] = QUIET_SECONDS
    assert throttle.more("forged") == " (and 3 more since the line before)"
    at[0] = 2 * QUIET_SECONDS
    assert throttle.more("forged") == "", "none was left out since"


def test_each_name_has_its_own_minute() -> None:
    throttle = LogThrottle(lambda: 0.0)
    assert throttle.more("redis", "timeout") == ""
    assert throttle.more("redis", "refused") == ""
    assert throttle.more("redis") == ""
    assert throttle.more("redis", "timeout") is None


@given(st.lists(st.floats(0.0, 40.0)))
def test_no_line_is_lost_from_the_count(steps: list[float]) -> None:
    at = [0.0]
    throttle = LogThrottle(lambda: at[0])
    written, counted = 0, 0
    for step in steps:
        at[0] += step
        more = throttle.more("x")
        if more is not None:
            written += 1
            counted += int(more.split()[1]) if more else 0
    at[0] += 2 * QUIET_SECONDS
    last = throttle.more("x")
    assert last is not None
    counted += int(last.split()[1]) if last else 0
    assert written + counted == len(steps)
