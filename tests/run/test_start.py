"""What twistd runs: a guard, a worker, or the supervisor of several."""

import os
import socket
from pathlib import Path
from typing import Any

import pytest
from twisted.internet.testing import MemoryReactorClock

from lotus_guard.run.config import read_config
from lotus_guard.run.hangup import Hangups
from lotus_guard.run.live_service import LiveService
from lotus_guard.run.readiness import Readiness, WorkerReadiness
from lotus_guard.run.start import make_service
from lotus_guard.run.systemd import HandedOver
from lotus_guard.run.worker_role import NUMBER, TELL, Lifeline
from lotus_guard.run.workers import Fleet
from tests.test_docs import GOOD


class Reactor(MemoryReactorClock):
    """A reactor that does nothing by itself."""

    def callFromThread(self, work: Any) -> None:
        self.callLater(0.0, work)


WORKERS = {"LOTUS_GUARD_WORKERS": "2", "LOTUS_GUARD_STATE": "redis://127.0.0.1:1"}


@pytest.fixture(autouse=True)
def own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (NUMBER, TELL, "LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "NOTIFY_SOCKET"):
        monkeypatch.delenv(name, raising=False)


def parts_of(service: Any) -> list[type[Any]]:
    return [type(each) for each in service]


def test_alone_a_guard(tmp_path: Path) -> None:
    settings = {**GOOD, "LOTUS_GUARD_STATE": str(tmp_path / "state.sqlite")}
    reactor = Reactor()
    parts = parts_of(make_service(read_config(settings), reactor))
    assert LiveService in parts
    assert Readiness in parts
    assert Fleet not in parts
    assert reactor.getReaders() == []


def test_several_workers_have_a_supervisor_that_serves_nobody() -> None:
    parts = parts_of(make_service(read_config({**GOOD, **WORKERS}), Reactor()))
    assert Fleet in parts
    assert LiveService not in parts


@pytest.mark.parametrize("more", [{}, WORKERS])
def test_the_log_has_the_level_of_the_settings(more: dict[str, str], tmp_path: Path) -> None:
    state = {"LOTUS_GUARD_STATE": str(tmp_path / "state.sqlite")}
    settings = {**GOOD, **state, **more, "LOTUS_GUARD_LOG_LEVEL": "warn"}
    assert make_service(read_config(settings), Reactor()).log_level == "warn"


def test_a_worker_is_a_guard_that_ends_with_its_supervisor(monkeypatch: Any) -> None:
    monkeypatch.setenv(NUMBER, "1")
    monkeypatch.setenv(TELL, "99")
    reactor = Reactor()
    parts = parts_of(make_service(read_config({**GOOD, **WORKERS}), reactor))
    assert WorkerReadiness in parts
    assert LiveService in parts
    assert [type(each) for each in reactor.getReaders()] == [Lifeline]
    assert NUMBER not in os.environ


def test_without_an_operators_port_there_is_one_server_less(tmp_path: Path) -> None:
    settings = {**GOOD, "LOTUS_GUARD_STATE": str(tmp_path / "state.sqlite")}
    both = parts_of(make_service(read_config(settings), Reactor()))
    one = parts_of(
        make_service(read_config({**settings, "LOTUS_GUARD_ADMIN_LISTEN": ""}), Reactor())
    )
    assert len(both) == len(one) + 1


def test_a_homeservers_port_is_there_where_a_setting_or_a_socket_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = {**GOOD, "LOTUS_GUARD_STATE": str(tmp_path / "state.sqlite")}
    none = parts_of(make_service(read_config(settings), Reactor()))
    told = {**settings, "LOTUS_GUARD_HOMESERVER_LISTEN": "tcp:8069:interface=127.0.0.1"}
    assert len(parts_of(make_service(read_config(told), Reactor()))) == len(none) + 1
    held = [("homeserver", HandedOver(3, socket.AF_INET))]
    monkeypatch.setattr("lotus_guard.run.start.handed_over", lambda *_: held)
    assert len(parts_of(make_service(read_config(settings), Reactor()))) == len(none) + 1


def test_a_sighup_that_came_early_reads_the_credentials_again(tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("first-token")
    settings = {
        **GOOD,
        "LOTUS_GUARD_STATE": str(tmp_path / "state.sqlite"),
        "LOTUS_GUARD_SYNAPSE_TOKEN_FROM_FILE": str(token),
    }
    config, reactor, hangups = read_config(settings), Reactor(), Hangups()
    token.write_text("second-token")
    hangups.came()
    make_service(config, reactor, hangups)
    reactor.advance(0.0)
    assert config.synapse_token == "second-token"


def test_a_worker_reads_its_credentials_again(monkeypatch: Any, tmp_path: Path) -> None:
    monkeypatch.setenv(NUMBER, "0")
    monkeypatch.setenv(TELL, "99")
    token = tmp_path / "token"
    token.write_text("first-token")
    settings = {**GOOD, **WORKERS, "LOTUS_GUARD_SYNAPSE_TOKEN_FROM_FILE": str(token)}
    config, reactor, hangups = read_config(settings), Reactor(), Hangups()
    make_service(config, reactor, hangups)
    token.write_text("second-token")
    hangups.came()
    reactor.advance(0.0)
    assert config.synapse_token == "second-token"


def test_a_sighup_of_the_supervisor_goes_to_the_workers(logged: list[Any]) -> None:
    reactor, hangups = Reactor(), Hangups()
    make_service(read_config({**GOOD, **WORKERS}), reactor, hangups)
    hangups.came()
    reactor.advance(0.0)
    assert any("Passing SIGHUP on" in str(event["log_format"]) for event in logged)
