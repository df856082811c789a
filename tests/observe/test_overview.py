"""What an operator sees of a running guard: plain values, the newest decision first."""

import json
import os
from typing import Any

from twisted.internet.task import Clock

from lotus_guard.enforce.records import Recorder
from lotus_guard.observe.health import Dependency, Health
from lotus_guard.observe.overview import MOST_DECISIONS, Overview
from lotus_guard.rules.rulings import request_refused

EPOCH = 1_790_000_000.0


class Uncounted:
    def decided(self, *_args: Any) -> None: ...
    def failed_open(self, *_args: Any) -> None: ...
    def not_enforced(self, *_args: Any) -> None: ...


class Rooms:
    def all(self) -> list[dict[str, Any]]:
        return [{"room": "!r:s"}]


def overview_of(clock: Clock) -> Overview:
    numbers = iter(range(10_000))

    def epoch() -> float:
        return EPOCH + clock.seconds()

    records = Recorder(
        epoch,
        clock.seconds,
        lambda size: next(numbers).to_bytes(size, "big"),
        lambda person: person,
        Uncounted(),
    )
    rooms: Any = Rooms()
    identity = {"instance": "i", "rules": {"limit": "enforce"}}
    return Overview(rooms, records, Health(clock.seconds), epoch, identity)


def test_a_guard_says_which_it_is_and_since_when() -> None:
    clock = Clock()
    overview = overview_of(clock)
    clock.advance(60.0)
    assert overview.guard() == {
        "pid": os.getpid(),
        "started": EPOCH,
        "instance": "i",
        "rules": {"limit": "enforce"},
    }


def test_the_last_decisions_come_newest_first_and_are_not_too_many() -> None:
    clock = Clock()
    overview = overview_of(clock)
    assert overview.decisions() == []
    for number in range(MOST_DECISIONS + 2):
        overview.records.decided(request_refused(400, "M_BAD_JSON", f"why {number}"))
        clock.advance(1.0)
    told = [each["why"] for each in overview.decisions()]
    assert len(told) == MOST_DECISIONS
    assert (told[0], told[-1]) == (f"why {MOST_DECISIONS + 1}", "why 2")


def test_a_snapshot_is_all_of_it_as_json() -> None:
    overview = overview_of(Clock())
    overview.health.note(Dependency.SYNAPSE, "away")
    told = json.loads(json.dumps(overview.snapshot()))
    assert told["rooms"] == [{"room": "!r:s"}]
    assert told["guard"]["instance"] == "i"
    assert told["decisions"] == []
    states = {each["name"]: each["state"] for each in told["dependencies"]}
    assert states["synapse"] == "trouble"
    assert overview.dependencies() == overview.health.dependencies()
