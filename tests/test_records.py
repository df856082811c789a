"""What becomes of a decision: the recorder, the log, the tables, and news of dependencies."""

import io
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogLevel, LogPublisher, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.enforce.records import MOST_RECENT, ONCE_SECONDS, Recorder, mask_of, short_id
from lotus_guard.memory import sqlite_schema as tables
from lotus_guard.memory.sqlite_schema import SCHEMA, Batch, Beat, select_decisions
from lotus_guard.observe.health import TROUBLE_SECONDS, Dependency, Health
from lotus_guard.observe.log import (
    MOST_ALIKE,
    MOST_DECISIONS,
    MOST_KINDS,
    MOST_LINES,
    DecisionLog,
    JsonLines,
    Rationed,
    line_of,
    ration_all,
    unration_all,
)
from lotus_guard.observe.room_names import MOST_ASKED, RoomNames
from lotus_guard.rules.decision import Decision, Deed, Ruling
from lotus_guard.rules.rulings import let_through, not_enforced, request_refused
from tests.rulings import seat_refused
from tests.test_decisions import logged
from tests.test_store import Memory

__all__ = ["logged"]
ROOM = RoomId("!r:s")
HOSTILE = RoomId("!r\n2026-11-23 [ok] all is well\x1b[2J\u202e:s")


class Counted:
    """Counters that count nothing but calls."""

    def __init__(self) -> None:
        self.decisions = 0
        self.fail_opens = self.unenforced = 0

    def decided(self, ruling: Ruling, observed: bool) -> None:
        self.decisions += 1

    def failed_open(self, rule: str, outage: Outage) -> None:
        self.fail_opens += 1

    def not_enforced(self, rule: str, outage: Outage) -> None:
        self.unenforced += 1


def recorder(clock: Clock, counted: Counted | None = None) -> Recorder:
    numbers = iter(range(10_000))
    return Recorder(
        epoch=lambda: 1_790_000_000.0 + clock.seconds(),
        now=clock.seconds,
        random=lambda size: next(numbers).to_bytes(size, "big"),
        mask=lambda person: person,
        counters=counted or Counted(),
    )


def refusal(number: int = 0, room: RoomId = ROOM) -> Decision:
    return Decision(f"id{number}", 1000.0 + number, False, seat_refused(room, "@u:s", 2, 2, []))


def test_what_is_tried_again_and_again_is_counted_each_time_and_written_once_a_minute() -> None:
    clock, counted = Clock(), Counted()
    records = recorder(clock, counted)
    outage = Outage(Reason.TIMEOUT, "late")
    for _ in range(3):
        records.failed_open("limit", outage, ROOM, again=True)
    assert (counted.fail_opens, len(records.recent)) == (3, 1)
    records.failed_open("sources", outage, ROOM, again=True)
    records.failed_open("limit", outage, RoomId("!other:s"), again=True)
    assert len(records.recent) == 3
    clock.advance(ONCE_SECONDS)
    records.failed_open("limit", outage, ROOM, again=True)
    records.failed_open("limit", outage, ROOM)
    assert len(records.recent) == 5


def test_what_the_live_loop_cannot_enforce_is_no_fail_open_and_is_written_once_a_minute() -> None:
    clock, counted = Clock(), Counted()
    records = recorder(clock, counted)
    for detail in ("late", "later"):
        records.not_enforced("limit", Outage(Reason.TIMEOUT, detail))
    records.not_enforced("limit", Outage(Reason.REFUSED, "not there"))
    records.not_enforced("sources", Outage(Reason.TIMEOUT, "late"))
    assert (counted.fail_opens, counted.unenforced) == (0, 4)
    told = [(each.ruling.deed, each.ruling.rule, each.ruling.why) for each in records.recent]
    assert told == [
        ("unenforced", "limit", "timeout: late"),
        ("unenforced", "limit", "refused: not there"),
        ("unenforced", "sources", "timeout: late"),
    ]
    clock.advance(ONCE_SECONDS)
    records.not_enforced("limit", Outage(Reason.TIMEOUT, "late"))
    assert len(records.recent) == 4
    assert "not enforced, by the limit rule: timeout: late" in line_of(records.recent[-1])


def test_the_same_complaint_has_the_same_id() -> None:
    records = recorder(Clock())
    ruling = request_refused(400, "M_BAD_JSON", "twice")
    assert records.decided(ruling, once="a") == records.decided(ruling, once="a")
    assert records.decided(ruling) != records.decided(ruling)


def test_recent_decisions_are_bounded_and_rooms_are_tallied() -> None:
    records = recorder(Clock())
    for _ in range(MOST_RECENT + 10):
        records.decided(refusal().ruling)
    assert len(records.recent) == MOST_RECENT
    assert records.tally(ROOM)[Deed.REFUSED] == MOST_RECENT + 10
    assert records.tally(RoomId("!other:s"))[Deed.REFUSED] == 0


def test_a_hashed_user_is_the_same_each_time_and_depends_on_the_secret() -> None:
    hashed = mask_of("hash", "secret")
    assert hashed("@a:s") == hashed("@a:s") != hashed("@b:s")
    assert hashed("@a:s") != mask_of("hash", "other")("@a:s")
    assert mask_of("no", "secret")("@a:s") is None
    assert mask_of("yes", "secret")("@a:s") == "@a:s"


def test_an_id_can_be_read_out() -> None:
    assert short_id(lambda size: b"\xff" * size) == "77777777"
    assert short_id(lambda size: b"\0" * size) == "aaaaaaaa"


# --- the log -------------------------------------------------------------------------------------


def test_hostile_names_make_one_line() -> None:
    ruling = seat_refused(HOSTILE, "@u\r:s", 1, 1)
    line = line_of(Decision("id", 0.0, False, ruling))
    assert line.isprintable()
    assert "1 in the call or about to join, 1 allowed" in line
    assert line_of(Decision("id", 0.0, True, ruling)).startswith("[id] would have been: refused")


def test_a_flood_of_decisions_is_counted_in_the_log(logged: list[Any]) -> None:
    clock = Clock()
    log = DecisionLog(clock.seconds)
    clock.advance(100)
    for number in range(MOST_DECISIONS + 7):
        log.write(refusal(number, RoomId(f"!{number}:s")))
    assert len(logged) == MOST_DECISIONS
    clock.advance(60.0)
    log.write(refusal())
    assert formatEvent(logged[-2]) == "7 more decisions are not in the log"
    assert len(logged) == MOST_DECISIONS + 2


def test_one_user_in_one_room_takes_few_of_the_logs_lines(logged: list[Any]) -> None:
    clock = Clock()
    log = DecisionLog(clock.seconds)
    clock.advance(100)
    for number in range(200):
        log.write(refusal(number))
    log.write(refusal(201, RoomId("!other:s")))
    assert len(logged) == MOST_ALIKE + 1
    clock.advance(60.0)
    log.write(refusal())
    assert formatEvent(logged[-2]) == "195 more decisions are not in the log"


def test_a_decision_names_as_many_people_as_there_is_room_for() -> None:
    few = [f"@{number}:s" for number in range(60)]
    assert seat_refused(ROOM, "@u:s", 2, 2, few).people == tuple(few[:50])
    long = [f"@{number}{'x' * 990}:s" for number in range(60)]
    assert seat_refused(ROOM, "@u:s", 2, 2, long).people == tuple(long[:4])


def kept_in(out: list[Any]) -> Any:
    """Make an observer that keeps all events."""

    @implementer(ILogObserver)
    def keep(event: Any) -> None:
        out.append(event)

    return keep


def event(**more: Any) -> dict[str, Any]:
    return {"log_namespace": "n", "log_format": "f {x}", "log_time": 1000.0, **more}


def test_of_lines_that_are_alike_some_a_minute_are_written_and_the_others_counted() -> None:
    out: list[Any] = []
    rationed = Rationed(kept_in(out))
    for number in range(200):
        rationed(event(x=number, log_time=1000.0 + number / 10))
    rationed(event(log_format="another"))
    rationed(event(log_failure=Failure(ValueError("x"))))
    assert len(out) == MOST_LINES + 2
    rationed(event(log_time=1061.0, x=7))
    assert formatEvent(out[-2]) == "180 more lines like this one in a minute: f {x}"
    assert formatEvent(out[-1]) == "f 7"


def test_lines_that_are_all_different_are_bounded_too() -> None:
    out: list[Any] = []
    rationed = Rationed(kept_in(out))
    for number in range(5000):
        rationed(event(log_format=f"format {number}"))
    assert len(out) == MOST_KINDS + MOST_LINES


def test_decisions_have_a_bound_of_their_own() -> None:
    out: list[Any] = []
    rationed = Rationed(kept_in(out))
    for _ in range(200):
        rationed(event(decision={}))
    assert len(out) == 200


def test_whatever_observers_there_are_get_a_ration_and_lose_it_again() -> None:
    out: list[Any] = []
    publisher = LogPublisher(kept_in(out))
    ration_all(publisher)
    ration_all(publisher)
    for _ in range(200):
        publisher(event())
    assert len(out) == MOST_LINES
    unration_all(publisher)
    publisher(event())
    assert len(out) == MOST_LINES + 1


def test_a_fail_open_is_a_warning_and_carries_its_fields(logged: list[Any]) -> None:
    ruling = let_through("limit", "timeout", "late", ROOM, "@u:s")
    decision = Decision("id", 0.0, False, ruling)
    DecisionLog(Clock().seconds).write(decision)
    assert logged[0]["log_level"] is LogLevel.warn
    assert logged[0]["decision"] == decision.as_json()


def test_json_lines_are_lines_of_json_whatever_is_in_them() -> None:
    out = io.StringIO()
    write = JsonLines(out)
    try:
        raise ValueError(HOSTILE)
    except ValueError:
        failure = Failure()
    write({"log_format": "{room}", "room": HOSTILE, "log_level": LogLevel.error, "log_time": 0.5})
    write({"log_format": "{nothing}", "log_failure": failure, "log_time": 1.0})
    write({"log_format": "x", "decision": refusal(room=HOSTILE).as_json()})
    first, second, third = [json.loads(line) for line in out.getvalue().splitlines()]
    assert out.getvalue().isascii()
    assert first == {
        "time": "1970-01-01T00:00:00.500Z",
        "level": "error",
        "logger": "",
        "text": HOSTILE,
    }
    assert "ValueError" in second["traceback"]
    assert third["decision"]["room"] == HOSTILE


# --- the tables ----------------------------------------------------------------------------------


@pytest.fixture
def cursor() -> sqlite3.Cursor:
    connection = sqlite3.connect(":memory:")
    connection.executescript(SCHEMA)
    return connection.cursor()


def beat(instance: str = "me", at: float = 2000.0, oldest: float = 0.0) -> Batch:
    return Batch(beat=Beat(instance, 7, "tcp:8070", at, oldest))


def test_decisions_are_bounded_by_age(cursor: sqlite3.Cursor) -> None:
    batch = Batch()
    for number in range(10):
        batch.decided(refusal(number))
    batch.write(cursor)
    beat(oldest=1004.0).write(cursor)
    assert [each.id for each in select_decisions(cursor, None, None, 3)] == ["id9", "id8", "id7"]
    assert len(select_decisions(cursor, None, None, 100)) == 6


def test_a_flood_of_one_kind_leaves_the_others(cursor: sqlite3.Cursor) -> None:
    batch = Batch()
    batch.decided(refusal(0))
    flood = request_refused(400, "M_BAD_JSON", "twice")
    for n in range(50):
        batch.decided(Decision(f"f{n}", 1000.0, False, flood))
    batch.write(cursor)
    Batch(beat=Beat("me", 7, "tcp:8070", 2000.0, 0.0, most=5)).write(cursor)
    found = [each.id for each in select_decisions(cursor, None, None, 100)]
    assert found == ["f49", "f48", "f47", "f46", "f45", "id0"]


def test_a_flood_waits_for_the_disk_within_bounds(cursor: sqlite3.Cursor) -> None:
    batch = Batch()
    batch.decided(refusal(0))
    flood = request_refused(400, "M_BAD_JSON", "twice")
    for n in range(1000):
        batch.decided(Decision(f"f{n}", 1000.0, False, flood))
    batch.write(cursor)
    found = [each.id for each in select_decisions(cursor, None, None, 5000)]
    assert len(found) == 1 + tables.MOST_WAITING
    assert found[0] == "f999"
    assert "id0" in found


def test_names_that_sqlite_does_not_take_do_not_stop_the_rest(cursor: sqlite3.Cursor) -> None:
    batch = Batch()
    batch.decided(refusal(room=RoomId("!\ud800:s")))
    batch.write(cursor)
    assert len(select_decisions(cursor, None, None, 100)) == 1


KINDS_BEFORE = {"refused", "changed", "step", "fail_open"}
"""What the release before `unenforced` could read; one other kind, and it showed no decision."""


def test_an_earlier_release_that_is_put_back_can_read_what_this_one_wrote(
    cursor: sqlite3.Cursor,
) -> None:
    batch = Batch()
    batch.decided(refusal(0))
    batch.decided(Decision("u", 1001.0, False, not_enforced("limit", "timeout", "late")))
    batch.write(cursor)
    bodies = [json.loads(body) for (body,) in cursor.execute("SELECT body FROM decision")]
    assert {body["kind"] for body in bodies} <= KINDS_BEFORE
    newest, _ = select_decisions(cursor, None, None, 100)
    assert (newest.id, newest.ruling.deed) == ("u", Deed.UNENFORCED)


def test_what_a_later_release_wrote_is_left_out_and_hides_nothing(cursor: sqlite3.Cursor) -> None:
    batch = Batch()
    batch.decided(refusal(0))
    batch.write(cursor)
    for kind, body in (("new", "{}"), ("refused", "{}"), ("refused", "[")):
        row = (1.0, kind, "limit", None, None, body)
        cursor.execute(
            "INSERT INTO decision (at, kind, rule, room, user, body) VALUES (?, ?, ?, ?, ?, ?)", row
        )
    assert [each.id for each in select_decisions(cursor, None, None, 100)] == ["id0"]


def test_guards_on_one_file_see_each_other_until_one_stops(cursor: sqlite3.Cursor) -> None:
    assert beat("one").write(cursor) == []
    assert beat("two").write(cursor) == [7]
    Batch(gone="one").write(cursor)
    assert beat("two").write(cursor) == []
    assert beat("three", at=2000.0 + tables.ALIVE_SECONDS + 1).write(cursor) == []


@pytest_twisted.ensureDeferred
async def test_two_guards_on_one_file_are_told_once(tmp_path: Path, logged: list[Any]) -> None:
    memories = [Memory(tmp_path / "state.sqlite") for _ in range(2)]
    for number, memory in enumerate(memories):
        memory.store.instance = f"guard{number}"
    for _ in range(2):
        for memory in memories:
            memory.store.beat()
            while memory.store._writing is not None:
                await pause()
    for memory in memories:
        await memory.close()
    told = [formatEvent(event) for event in logged if "Other guards" in formatEvent(event)]
    assert len(told) == 2
    with sqlite3.connect(tmp_path / "state.sqlite") as connection:
        assert connection.execute("SELECT * FROM guard").fetchall() == []


async def pause() -> None:
    from twisted.internet import reactor
    from twisted.internet.task import deferLater

    await deferLater(reactor, 0.01, lambda: None)


# --- health and names ----------------------------------------------------------------------------


def state(health: Health, name: Dependency = Dependency.SYNAPSE) -> tuple[str, Any]:
    (found,) = [each for each in health.dependencies() if each["name"] == name]
    return found["state"], found["age"]


def test_trouble_is_told_until_good_news_or_for_a_while() -> None:
    clock = Clock()
    health = Health(clock.seconds)
    note = health.noter(Dependency.SYNAPSE)
    assert state(health) == ("unknown", None)
    note(None)
    clock.advance(5)
    assert state(health) == ("ok", 5.0)
    note(Outage(Reason.TIMEOUT, "late"))
    assert state(health) == ("trouble", 5.0)
    clock.advance(TROUBLE_SECONDS + 1)
    assert state(health) == ("unknown", TROUBLE_SECONDS + 6)
    note(None)
    assert state(health) == ("ok", 0.0)


def test_what_a_client_can_cause_is_no_trouble() -> None:
    health = Health(Clock().seconds)
    health.noter(Dependency.LIVEKIT)(Outage(Reason.OVERSIZED, "metadata"))
    assert state(health, Dependency.LIVEKIT) == ("ok", 0.0)


class Namer:
    """A homeserver that answers when it is told to."""

    def __init__(self) -> None:
        self.waiting: dict[RoomId, Deferred[str | None]] = {}

    async def name(self, room: RoomId) -> str | None:
        self.waiting[room] = Deferred()
        return await self.waiting[room]


def test_names_are_asked_for_once_and_few_at_a_time() -> None:
    clock, namer = Clock(), Namer()
    names = RoomNames(namer, RateLimiter(1000.0, clock, clock.seconds), clock.seconds)  # type: ignore[arg-type]
    rooms = [RoomId(f"!{n}:s") for n in range(100)]
    for _ in range(3):
        for room in rooms:
            assert names.name_of(room) is None
        clock.advance(1.0)
    assert len(namer.waiting) == MOST_ASKED
    namer.waiting[rooms[0]].callback("Kitchen")
    namer.waiting[rooms[1]].errback(Failure(Outage(Reason.TIMEOUT, "late")))
    assert names.name_of(rooms[0]) == "Kitchen"
    assert names.name_of(rooms[1]) is None
    clock.advance(1.0)
    assert len(namer.waiting) == MOST_ASKED, "a room without a name is not asked for at once again"
