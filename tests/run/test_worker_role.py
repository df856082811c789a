"""What a worker knows of itself, and how it ends with its supervisor."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
from twisted.internet.error import ReactorNotRunning

from lotus_guard.run.config import read_config
from lotus_guard.run.systemd import Reporter
from lotus_guard.run.worker_role import (
    NUMBER,
    TELL,
    WATCHDOG_SECONDS,
    Lifeline,
    Role,
    own_environment,
    role_of,
)
from tests.test_docs import GOOD


def test_a_worker_finds_out_what_it_is_and_tells() -> None:
    read, write = os.pipe()
    environment = {NUMBER: "1", TELL: str(write), "A": "b"}
    assert own_environment(environment) == {"A": "b"}
    role = role_of(environment)
    assert role is not None
    assert (role.number, environment) == (1, {"A": "b"})
    assert role.reporter.watchdog == WATCHDOG_SECONDS
    role.reporter.ready()
    assert os.read(read, 100) == b"READY=1\n"
    os.close(read)
    role.reporter.status("nobody hears it")
    os.close(write)


@pytest.mark.parametrize(
    "environment", [{}, {NUMBER: "1"}, {TELL: "4"}, {NUMBER: "one", TELL: "4"}]
)
def test_a_process_that_no_supervisor_has_started(environment: dict[str, str]) -> None:
    assert role_of(environment) is None
    assert environment == {}


def test_a_worker_has_an_operators_port_of_its_own() -> None:
    environment = {**GOOD, "LOTUS_GUARD_STATE": "redis://localhost", "LOTUS_GUARD_WORKERS": "3"}
    config = read_config(environment)
    roles = [Role(number, Reporter()) for number in (0, 1, 2)]
    assert [role.config(config).admin_listen for role in roles] == [
        f"tcp:{port}:interface=127.0.0.1" for port in (8072, 8073, 8074)
    ]
    none = read_config({**environment, "LOTUS_GUARD_ADMIN_LISTEN": ""})
    assert roles[1].config(none).admin_listen == ""
    unix = read_config({**environment, "LOTUS_GUARD_ADMIN_LISTEN": "unix:/run/desk"})
    assert [role.config(unix).admin_listen for role in roles] == ["unix:/run/desk", "", ""]


class Reactor:
    """A reactor that is stopped at most once."""

    def __init__(self) -> None:
        self.did: list[str] = []

    def removeReader(self, _reader: object) -> None:
        self.did.append("removeReader")

    def stop(self) -> None:
        if "stop" in self.did:
            raise ReactorNotRunning
        self.did.append("stop")


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    read, write = os.pipe()
    yield read, write
    for fd in (read, write):
        try:
            os.close(fd)
        except OSError:
            continue  # the test has closed it


def test_a_worker_ends_with_its_supervisor(pipe: tuple[int, int], logged: list[Any]) -> None:
    read, write = pipe
    reactor = Reactor()
    lifeline = Lifeline(reactor, read)
    assert lifeline.fileno() == read
    os.write(write, b"whatever")
    lifeline.doRead()
    assert reactor.did == []
    os.close(write)
    lifeline.doRead()
    assert reactor.did == ["removeReader", "stop"]
    lifeline.connectionLost(None)
    assert reactor.did.count("stop") == 1
    assert len(logged) == 1


def test_a_worker_that_is_ending_already_says_nothing_of_it(
    pipe: tuple[int, int], logged: list[Any]
) -> None:
    reactor = Reactor()
    reactor.stop()
    Lifeline(reactor, pipe[0]).connectionLost(None)
    assert logged == []
