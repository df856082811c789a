"""Clocks that are apart."""

import time

from lotus_guard.check.clocks import judge
from lotus_guard.check.finding import Level
from tests.check.breaks import Break, W, each_is_found
from tests.check.checked_stack import CheckedStack


def synapse_is_ahead(stack: CheckedStack) -> None:
    stack.before("LOTUS_GUARD_SYNAPSE_URL").skew = 40.0


def livekit_is_behind(stack: CheckedStack) -> None:
    stack.before("LOTUS_GUARD_LIVEKIT_URL").skew = -40.0


def livekit_is_an_hour_ahead(stack: CheckedStack) -> None:
    """So far that it refuses tokens: the key is right all the same."""
    stack.before("LOTUS_GUARD_LIVEKIT_URL").skew = 3600.0
    stack.world.sandbox.sfu.epoch = lambda: time.time() + 3600.0
    stack.user_token = ""


BREAKS: list[tuple[Break, str, Level, str]] = [
    (synapse_is_ahead, "clocks", W, "Synapse is 4"),
    (livekit_is_behind, "clocks", W, "of LiveKit"),
    (livekit_is_an_hour_ahead, "clocks", W, "LiveKit is 36"),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)


def test_clocks_are_judged_by_the_two_farthest_apart() -> None:
    assert judge({"a": 0.0, "b": 29.0}).level is Level.OK
    assert judge({"a": 0.0, "b": 31.0}).level is Level.WARNING
    found = judge({"a": 0.0, "b": 20.0, "c": -20.0})
    assert (found.level, "of b is 40 s ahead of the clock of c" in found.seen) == (
        Level.WARNING,
        True,
    )
