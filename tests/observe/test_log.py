"""The log: a line for each decision, whatever names are in it, and no flood."""

import io
import json
from typing import Any

import pytest
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, LogLevel, LogPublisher, formatEvent
from twisted.python.failure import Failure
from zope.interface import implementer

from lotus_guard.core.model import RoomId
from lotus_guard.observe.log import (
    MOST_ALIKE,
    MOST_DECISIONS,
    MOST_KINDS,
    MOST_LINES,
    DecisionLog,
    JsonLines,
    Rationed,
    line_of,
    predicate_of,
    ration_all,
    unration_all,
)
from lotus_guard.rules.decision import Decision, Deed, Ruling
from lotus_guard.rules.rulings import _FORBIDS, let_through
from tests.rulings import seat_refused

ROOM = RoomId("!r:s")
HOSTILE = RoomId("!r\n2026-11-23 [ok] all is well\x1b[2J\u202e:s")


def refusal(number: int = 0, room: RoomId = ROOM) -> Decision:
    return Decision(f"id{number}", 1000.0 + number, False, seat_refused(room, "@u:s", 2, 2, []))


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
    rationed = Rationed(kept_in(out), predicate_of("info"))
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
    rationed = Rationed(kept_in(out), predicate_of("info"))
    for number in range(5000):
        rationed(event(log_format=f"format {number}"))
    assert len(out) == MOST_KINDS + MOST_LINES


def test_decisions_have_a_bound_of_their_own() -> None:
    out: list[Any] = []
    rationed = Rationed(kept_in(out), predicate_of("info"))
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


@pytest.mark.parametrize(
    ("level", "written"),
    [
        ("debug", ["debug", "info", "warn", "error"]),
        ("info", ["info", "warn", "error"]),
        ("warn", ["warn", "error"]),
        ("error", ["error"]),
    ],
)
def test_lines_below_the_level_are_not_written(level: str, written: list[str]) -> None:
    out: list[Any] = []
    publisher = LogPublisher(kept_in(out))
    ration_all(publisher, level)
    for name in ("debug", "info", "warn", "error"):
        publisher(event(log_level=LogLevel.levelWithName(name)))
    assert [each["log_level"].name for each in out] == written
    unration_all(publisher)
    publisher(event(log_level=LogLevel.debug))
    assert len(out) == len(written) + 1


@pytest.mark.parametrize(
    "logger",
    ["twisted.web.client._Factory", "twisted.application._client_service.ClientService"],
)
@pytest.mark.parametrize(("level", "lines"), [("debug", 1), ("info", 0), ("warn", 0)])
def test_twisteds_talk_of_each_connection_is_for_debugging(
    level: str, lines: int, logger: str
) -> None:
    out: list[Any] = []
    rationed = Rationed(kept_in(out), predicate_of(level))
    rationed(event(log_namespace=logger, log_level=LogLevel.info))
    assert len(out) == lines


def changed(why: str, number: int = 0) -> Decision:
    ruling = Ruling(Deed.CHANGED, "limit", "may publish everything", why, RoomId(f"!{number}:s"))
    return Decision("id", 0.0, False, ruling)


@pytest.mark.parametrize(
    ("why", "level"),
    [(f"{_FORBIDS} camera", "info"), ("a token is short-lived in a room with a policy", "debug")],
)
def test_a_token_that_only_lives_shorter_is_for_debugging(
    why: str, level: str, logged: list[Any]
) -> None:
    DecisionLog(Clock().seconds, "debug").write(changed(why))
    assert [each["log_level"].name for each in logged] == [level]


def test_ordinary_tokens_take_no_lines_from_refusals(logged: list[Any]) -> None:
    log = DecisionLog(Clock().seconds)
    for number in range(MOST_DECISIONS + 7):
        log.write(changed("a token is short-lived in a room with a policy", number))
    assert logged == []
    log.write(refusal())
    assert len(logged) == 1


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
