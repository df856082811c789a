"""What an operator sees of a guard, as JSON can hold it."""

import json
import os
from collections import deque
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
    rooms: Any = SimpleNamespace(
        all=lambda: [{"room": "!r:s"}], full=lambda: [RoomId("!r:s")], people=lambda: 7
    )
    recent = [decision(number) for number in range(decisions)]
    records: Any = SimpleNamespace(recent=recent, unguarded=[], watchers=[])
    identity = {"instance": "abc", "rules": {"limit": "enforce"}}
    return Overview(rooms, records, Health(clock.seconds), clock.seconds, identity)


def test_a_guard_has_the_time_of_its_beginning() -> None:
    clock = Clock()
    clock.advance(100)
    made = overview(0, clock)
    clock.advance(50)
    assert made.guard() == {
        "version": VERSION,
        "pid": os.getpid(),
        "started": 100.0,
        "instance": "abc",
        "rules": {"limit": "enforce"},
    }


def test_the_last_decisions_come_newest_first_and_not_all_of_them() -> None:
    shown = overview(MOST_DECISIONS + 7, Clock()).decisions()
    assert len(shown) == MOST_DECISIONS
    assert [shown[0]["id"], shown[-1]["id"]] == [f"id{MOST_DECISIONS + 6}", "id7"]
    assert shown[0]["why"] == "The call is full."


def test_a_flood_of_refusals_does_not_push_an_unguarded_join_out_of_sight() -> None:
    made = overview(MOST_DECISIONS + 7, Clock())
    first = made.records.recent[0]
    made.records.unguarded = deque([first, made.records.recent[-1]])
    shown = made.decisions()
    assert len(shown) == MOST_DECISIONS + 1
    assert [shown[0]["id"], shown[-1]["id"]] == [f"id{MOST_DECISIONS + 6}", first.id]


def test_a_snapshot_is_all_of_it_as_json() -> None:
    made = overview(2, Clock())
    shown = json.loads(json.dumps(made.snapshot()))
    assert shown == {
        "guard": made.guard(),
        "dependencies": made.dependencies(),
        "rooms": [{"room": "!r:s", "refused_at": None, "failed_open_at": None, "full_since": 0.0}],
        "decisions": made.decisions(),
        "hour": [],
    }
    assert {each["name"] for each in shown["dependencies"]} >= {"synapse", "livekit"}


def test_a_look_notes_people_and_full_rooms() -> None:
    clock = Clock()
    made = overview(0, clock)
    made.look()
    clock.advance(30.0)
    made.look()
    assert [(each["at"], each["people"]) for each in made.hour.minutes()] == [(0, 7)]
    (room,) = made.live_rooms()
    assert room["full_since"] == 0.0


def test_a_look_that_fails_is_no_end_of_looks() -> None:
    made = overview(0, Clock())
    rooms: Any = made.rooms
    rooms.people = lambda: 1 // 0
    made.look()
    rooms.people = lambda: 3
    made.look()
    assert [each["people"] for each in made.hour.minutes()] == [3]


def test_what_is_decided_is_counted_and_timed() -> None:
    clock = Clock()
    made = overview(0, clock)
    clock.advance(5.0)
    for watch in made.records.watchers:
        watch(decision(1).ruling, False)
    assert made.hour.minutes()[0]["refused"] == 1
    assert made.live_rooms()[0]["refused_at"] == 5.0
