"""The live loop's passes, and its steps."""

from typing import Any

import pytest
from twisted.logger import formatEvent

from lotus_guard.core.log_throttle import QUIET_SECONDS
from lotus_guard.core.model import Grant, Identity, LiveKitRoom, Participant, RoomId
from lotus_guard.core.seats import Person
from lotus_guard.observe.loop_metrics import LoopMetrics
from lotus_guard.rules.plan import MOST, Curb, GiveBack, Narrow, Remove, Silence, Step
from tests.observe.metered import Metered

ALICE = Participant(Identity("alice"), "PA_1", Grant(can_publish=True, sources=()))
ROOM = LiveKitRoom("r")


@pytest.mark.parametrize(
    ("step", "name"),
    [
        (Narrow(ROOM, ALICE), "narrow"),
        (Silence(ROOM, ALICE), "silence"),
        (Curb(ROOM, ALICE), "curb"),
        (Remove(ROOM, ALICE, Person("@alice:s")), "remove"),
        (GiveBack(ROOM, ALICE, ALICE.grant, ALICE.grant), "give_back"),
    ],
)
def test_steps_are_counted_by_kind_and_outcome(step: Step, name: str) -> None:
    metered = Metered()
    loop = LoopMetrics(metered.families)
    loop.stepped(step, is_done=True)
    loop.stepped(step, is_done=True)
    loop.stepped(step, is_done=False)
    loop.deposed(step)
    counts = {
        outcome: metered.value("live_steps_total", step=name, outcome=outcome)
        for outcome in ("done", "failed", "deposed")
    }
    assert counts == {"done": 2, "failed": 1, "deposed": 1}


@pytest.mark.parametrize("kind", list(MOST))
def test_every_kind_of_step_can_be_counted(kind: type[Step]) -> None:
    metered = Metered()
    loop = LoopMetrics(metered.families)
    loop.confirmed(kind, 0.7)
    loop.unconfirmed(kind)
    name = "give_back" if kind is GiveBack else kind.__name__.lower()
    assert metered.value("live_steps_checked_total", step=name, effect="seen") == 1
    assert metered.value("live_steps_checked_total", step=name, effect="not_seen") == 1
    assert metered.value("live_enforcement_seconds_count") == 1, "only what was seen has a time"
    assert metered.value("live_enforcement_seconds_sum") == 0.7


def test_rooms_that_are_seen_or_changed_in_part_are_logged_once_a_minute(
    logged: list[Any],
) -> None:
    metered = Metered()
    loop = LoopMetrics(metered.families)
    for name in ("!a:s", "!b:s"):
        loop.saw_partly(RoomId(name))
        loop.put_off(RoomId(name), 20)
    assert metered.value("live_partial_looks_total") == 2
    assert metered.value("live_steps_put_off_total") == 40
    assert [formatEvent(each)[:4] for each in logged] == ["!a:s", "!a:s"]
    metered.clock.advance(QUIET_SECONDS)
    loop.put_off(RoomId("!b:s"), 7)
    assert formatEvent(logged[-1]) == "!b:s: 7 changes are left for the next pass"


def test_a_pass_is_measured_and_its_rooms_are_those_of_the_last() -> None:
    metered = Metered()
    loop = LoopMetrics(metered.families)
    assert (loop.rooms, loop.people) == (None, None)
    loop.passed(0.2, rooms=3, people=9, late=False)
    loop.passed(4.0, rooms=2, people=5, late=True)
    assert metered.value("live_passes_total", pace="in_time") == 1
    assert metered.value("live_passes_total", pace="stretched") == 1
    assert metered.value("live_pass_seconds_bucket", le="0.5") == 1
    assert (loop.rooms, loop.people) == (2, 5)
