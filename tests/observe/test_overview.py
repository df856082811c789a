"""What an operator sees of a guard, as JSON can hold it."""

import json
import os
from types import SimpleNamespace
from typing import Any

from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.observe.health import Health
from lotus_guard.observe.overview import MOST_DECISIONS, Overview
from lotus_guard.rules.decision import Decision, Deed, Ruling
from lotus_guard.version import VERSION


def decision(number: int) -> Decision:
    ruling = Ruling(Deed.REFUSED, "limit", "refused", "The call is full.", RoomId("!r:s"))
    return Decision(f"id{number}", float(number), False, ruling)


def overview(decisions: int, clock: Clock) -> Overview:
    rooms: Any = SimpleNamespace(all=lambda: [{"room": "!r:s"}])
    records: Any = SimpleNamespace(recent=[decision(number) for number in range(decisions)])
    identity = {"instance": "abc", "rules": {"limit": "enforce"}}
    return Overview(rooms, records, Health(clock.seconds), clock.seconds, identity)


def test_a_guard_has_the_time_of_its_beginning() -> None:
    clock = Clock()
    clock.advance(100)
    made = overview(0, clock)
    clock.advance(50)
    assert made.guard() == {
        "pid": os.getpid(),
        "version": VERSION,
        "started": 100.0,
        "instance": "abc",
        "rules": {"limit": "enforce"},
    }


def test_the_last_decisions_come_newest_first_and_not_all_of_them() -> None:
    shown = overview(MOST_DECISIONS + 7, Clock()).decisions()
    assert len(shown) == MOST_DECISIONS
    assert [shown[0]["id"], shown[-1]["id"]] == [f"id{MOST_DECISIONS + 6}", "id7"]
    assert shown[0]["why"] == "The call is full."


def test_a_snapshot_is_all_of_it_as_json() -> None:
    made = overview(2, Clock())
    shown = json.loads(json.dumps(made.snapshot()))
    assert shown == {
        "guard": made.guard(),
        "dependencies": made.dependencies(),
        "rooms": [{"room": "!r:s"}],
        "decisions": made.decisions(),
    }
    assert {each["name"] for each in shown["dependencies"]} >= {"synapse", "livekit"}
