"""The sandbox and a guard as one service; `tests/test_tap.py` runs it by twistd."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import Application, IServiceCollection
from twisted.logger import ILogObserver

from lotus_guard.observe.log import JsonLines
from lotus_guard.run.setting import Faulty
from lotus_guard.sandbox.life_service import LifeService
from lotus_guard.sandbox.ports import Ports
from lotus_guard.sandbox.service import make_sandbox_service
from tests.world import reactor


class Ending:
    """The reactor, with its end in a test's hands: what is to be done there is done once."""

    def __init__(self) -> None:
        self.last: list[tuple[Any, ...]] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(reactor, name)

    def addSystemEventTrigger(self, phase: str, event: str, call: Any, *rest: Any) -> None:
        if (phase, event) == ("after", "shutdown"):
            self.last.append((call, *rest))
        else:
            reactor.addSystemEventTrigger(phase, event, call, *rest)


@pytest.fixture
def ending() -> Iterator[Ending]:
    made = Ending()
    yield made
    for call, *rest in made.last:
        call(*rest)


def free(*taken: int) -> Ports:
    return Ports(lambda port: port not in taken, iter(range(45_001, 46_000)).__next__)


def parts_of(service: Any) -> list[Any]:
    return list(IServiceCollection(service))


def test_three_neighbours_listen_beside_the_guard_and_people_come_and_go(
    ending: Ending, capsys: pytest.CaptureFixture[str]
) -> None:
    parts = parts_of(make_sandbox_service(ending, {}, ports=free()))
    neighbours = [part for part in parts if isinstance(part, StreamServerEndpointService)]
    living = [part for part in parts if isinstance(part, LifeService)]
    assert (len(neighbours), len(living), len(parts)) == (3, 1, 5)
    said = capsys.readouterr().out
    assert "The guard is at http://127.0.0.1:8070" in said
    assert "Status page: http://127.0.0.1:8072/" in said
    assert "is taken" not in said


def test_a_quiet_one_has_nobody(ending: Ending) -> None:
    parts = parts_of(make_sandbox_service(ending, {}, is_quiet=True, ports=free()))
    assert [part for part in parts if isinstance(part, LifeService)] == []


def test_what_the_environment_says_goes_before_the_sandboxes_own(
    ending: Ending, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = {"LOTUS_GUARD_LISTEN": "tcp:1234", "LOTUS_GUARD_ADMIN_LISTEN": ""}
    make_sandbox_service(ending, settings, ports=free(8070, 8072))
    said = capsys.readouterr().out
    assert "is taken" not in said, "nobody wants those"
    assert "The guard is at http://127.0.0.1:1234" in said
    assert "Status page" not in said


def test_ports_that_are_taken_are_said_and_others_used(
    ending: Ending, capsys: pytest.CaptureFixture[str]
) -> None:
    make_sandbox_service(ending, {}, ports=free(8070, 8172))
    said = capsys.readouterr().out
    assert "Port 8172 is taken: the sandbox's LiveKit is on port 45001 instead.\n" in said
    assert "Port 8070 is taken: the guard is on port 45002 instead. To choose" in said
    assert "LiveKit        http://127.0.0.1:45001\n" in said
    assert "The guard is at http://127.0.0.1:45002" in said
    assert "8172" not in said.partition("The guard is at")[2]


def test_the_log_is_json_where_it_is_asked_for(
    ending: Ending, capsys: pytest.CaptureFixture[str]
) -> None:
    service = make_sandbox_service(ending, {"LOTUS_GUARD_LOG_FORMAT": "json"}, ports=free())
    application = Application("test")
    service.setServiceParent(application)
    assert isinstance(application.getComponent(ILogObserver), JsonLines)
    said = capsys.readouterr()
    assert said.out == "", "its lines alone are there"
    assert "The guard is at" in said.err


def test_what_it_remembers_goes_with_it(
    ending: Ending, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    make_sandbox_service(ending, {}, ports=free())
    assert list(tmp_path.iterdir()) != []
    for call, *rest in ending.last:
        call(*rest)
    assert list(tmp_path.iterdir()) == []


def test_a_faulty_environment_is_said(ending: Ending) -> None:
    with pytest.raises(Faulty):
        make_sandbox_service(ending, {"LOTUS_GUARD_DEADLINE": "never"}, ports=free())
