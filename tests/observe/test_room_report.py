"""A room as its moderators see it."""

import json
from collections.abc import Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from attrs import define, evolve, field

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import (
    Attendance,
    Grant,
    Identity,
    LiveKitRoom,
    Participant,
    RoomId,
    UserId,
)
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.observe.last_decisions import LastDecisions
from lotus_guard.observe.room_report import MOST_DECISIONS, MOST_PEOPLE, RoomReport
from lotus_guard.rules.decision import Decision, Deed, Ruling
from tests.neighbours.answering import result_of
from tests.observe.test_last_decisions import Kept, decision

ROOM = RoomId("!r:s")
SLOTS = ("m.call#ROOM", "m.call#2", "io.board")
CALL, OTHER, BOARD = (livekit_room_of(ROOM, slot) for slot in SLOTS)


@define(eq=False)
class Town:
    """LiveKit rooms of one room, with who is in each."""

    there: dict[LiveKitRoom, list[str]] = field(factory=dict)
    decisions: list[Decision] = field(factory=list)
    asked: list[LiveKitRoom] = field(factory=list)
    gives_back: bool = False
    directory: Directory = field(factory=lambda: Directory(data_slots=("io.board",)))

    def __attrs_post_init__(self) -> None:
        for slot in SLOTS:
            binding = Binding(ROOM, slot, Evidence.PROOF)
            self.directory.learn_room(livekit_room_of(ROOM, slot), binding)

    async def ask(self, rooms: Sequence[LiveKitRoom]) -> Mapping[LiveKitRoom, Attendance]:
        self.asked += rooms
        return {room: attendance(*self.there.get(room, [])) for room in rooms}

    def report(self) -> dict[str, Any]:
        records: Any = SimpleNamespace(recent=[])
        last = LastDecisions(Kept(self.decisions), records)
        made = RoomReport(self.ask, self.directory, lambda _room: 5, last, self.gives_back)
        found: dict[str, Any] = json.loads(json.dumps(result_of(made.of(ROOM))))
        return found


def attendance(*identities: str) -> Attendance:
    grant = Grant(True, ())
    people = (Participant(Identity(each), "", grant) for each in identities)
    return Attendance(0.0, tuple(people))


def test_people_are_named_once_whatever_their_devices() -> None:
    town = Town({CALL: ["@a:s:PHONE", "@a:s:DESK", "hash1"], OTHER: ["@b:s:X"], BOARD: ["@c:s:Y"]})
    town.directory.learn_identity(Identity("hash1"), UserId("@d:s"), CALL)
    for device in ("PHONE", "DESK"):
        town.directory.learn_identity(Identity(f"@a:s:{device}"), UserId("@a:s"), CALL)
    shown = town.report()
    assert shown["people"] == sorted(["@a:s", town.directory.person(Identity("@b:s:X")), "@d:s"])
    assert (shown["count"], shown["limit"]) == (3, 5)
    assert BOARD not in town.asked, "nobody talks in a slot for data"


def test_an_empty_room_is_nobody() -> None:
    empty = {"people": [], "count": 0, "limit": 5, "decisions": []}
    assert Town().report() == {**empty, "gives_back": False}
    assert Town(gives_back=True).report() == {**empty, "gives_back": True}


def test_a_long_list_is_cut_and_counted() -> None:
    shown = Town({CALL: [f"p{n:04d}" for n in range(MOST_PEOPLE + 20)]}).report()
    assert (len(shown["people"]), shown["count"]) == (MOST_PEOPLE, MOST_PEOPLE + 20)


def test_a_decision_says_what_was_done_and_not_what_is_wrong_with_us() -> None:
    ruling = Ruling(Deed.FAIL_OPEN, "limit", "let through", "refused: at 10.0.0.1", ROOM, "@a:s")
    (shown,) = Town(decisions=[Decision("x1", 5.0, False, ruling)]).report()["decisions"]
    assert shown == {
        "id": "x1",
        "at": 5.0,
        "kind": "fail_open",
        "rule": "limit",
        "observed": False,
        "user": "@a:s",
    }


def test_the_last_few_decisions_are_told_and_none_that_nobody_notices() -> None:
    quiet = evolve(
        decision(99).ruling, deed=Deed.CHANGED, why="a token is short-lived in a room with a policy"
    )
    taken = evolve(quiet, why="the room forbids camera")
    told = [decision(number) for number in range(MOST_DECISIONS + 5)]
    more = [Decision("q", 98.0, False, quiet), Decision("t", 97.0, False, taken)]
    shown = [each["id"] for each in Town(decisions=[*told, *more]).report()["decisions"]]
    assert len(shown) == MOST_DECISIONS
    assert shown[:2] == ["t", f"id{MOST_DECISIONS + 4}"]


@pytest.mark.parametrize(
    ("deed", "rule", "inputs", "kind"),
    [
        (Deed.REFUSED, "limit", {"max_users": 2, "taken": 2, "is_seated": False}, "refused"),
        (Deed.REFUSED, "limit", {"start_level": 50, "level": 0}, "not_started"),
        (Deed.REFUSED, "limit", {"slots": 9}, "too_many"),
        (Deed.REFUSED, "permission", {"level": 0, "needed": 50}, "refused"),
        (Deed.STEP, "limit", {"is_standing": True}, "step"),
        (Deed.STEP, "limit", {"is_standing": False}, "for_data"),
        (Deed.STEP, "limit", {"is_standing": False, "is_loud": True}, "curbed"),
        (Deed.STEP, "give_back", {"granted": {}}, "step"),
        (Deed.STEP, "give_back", {"granted": {}, "failure": "timeout"}, "failed"),
    ],
)
def test_what_looks_different_to_people_has_a_kind_of_its_own(
    deed: Deed, rule: str, inputs: dict[str, Any], kind: str
) -> None:
    ruling = Ruling(deed, rule, "v", "w", ROOM, "@a:s", inputs)
    (shown,) = Town(decisions=[Decision("x1", 5.0, False, ruling)]).report()["decisions"]
    assert (shown["kind"], shown["rule"]) == (kind, rule)
