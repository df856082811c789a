"""The services that each process of ours has."""

from typing import Any

import pytest
from twisted.application.service import Application, Service
from twisted.internet.error import CannotListenError
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, Logger, formatEvent

from lotus_guard.observe.log import JsonLines
from lotus_guard.run.services import BeatService, GuardService
from lotus_guard.run.systemd import Beats, Reporter
from lotus_guard.version import VERSION

_log = Logger()


@pytest.mark.parametrize(("log_format", "is_json"), [("json", True), ("text", False)])
def test_the_log_is_written_as_it_is_wanted(log_format: str, is_json: bool) -> None:
    application: Any = Application("guard")
    GuardService(log_format, "info").setServiceParent(application)
    observer = application.getComponent(ILogObserver)
    assert isinstance(observer, JsonLines) is is_json


@pytest.mark.parametrize(("level", "lines"), [("debug", 2), ("info", 1), ("warn", 0)])
def test_the_log_has_the_level_that_is_wanted(level: str, lines: int, logged: list[Any]) -> None:
    service = GuardService("text", level)
    service.privilegedStartService()
    _log.debug("for debugging")
    _log.info("for everybody")
    service.stopService()
    assert len([each for each in logged if each["log_format"].startswith("for ")]) == lines


def test_the_log_begins_with_the_version(logged: list[Any]) -> None:
    service = GuardService("text", "info")
    GuardService("text", "info").setServiceParent(service)
    service.privilegedStartService()
    service.stopService()
    assert [formatEvent(event) for event in logged] == [f"lotus-guard {VERSION} is starting"]


class Taken(Service):
    def __init__(self, error: Exception) -> None:
        self._error = error

    def privilegedStartService(self) -> None:
        raise self._error


@pytest.mark.parametrize(
    "error",
    [CannotListenError("any", 8070, OSError("in use")), OSError("no such address")],
)
def test_a_port_that_cannot_be_had_ends_the_start(error: Exception, logged: list[Any]) -> None:
    service = GuardService("text", "info")
    Taken(error).setServiceParent(service)
    with pytest.raises(SystemExit) as ended:
        service.privilegedStartService()
    assert ended.value.code == 1
    for port in ("LISTEN", "ADMIN_LISTEN", "HOMESERVER_LISTEN"):
        assert any(f"LOTUS_GUARD_{port}" in str(event["log_format"]) for event in logged)
    assert ".." not in "".join(formatEvent(event) for event in logged)
    service.stopService()


def test_a_bug_at_the_start_is_shown_as_one() -> None:
    service = GuardService("text", "info")
    Taken(ValueError("a bug")).setServiceParent(service)
    with pytest.raises(ValueError, match="a bug"):
        service.privilegedStartService()
    service.stopService()


def test_it_is_reported_that_the_guard_runs_and_that_it_ends() -> None:
    clock, said = Clock(), list[bytes]()
    beats = BeatService(Beats(Reporter(said.append, 20.0), lambda: True, lambda: "fine", clock))
    beats.startService()
    clock.pump([1.0] * 10)
    assert said.count(b"WATCHDOG=1") == 3
    beats.stopService()
    assert said[-1] == b"STOPPING=1"
