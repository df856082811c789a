"""The supervisor of several workers, on a clock turned by hand."""

import os
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lotus_guard.run.config import Faulty, read_config
from lotus_guard.run.systemd import HandedOver, Supervisor
from lotus_guard.run.workers import (
    LONGEST_DELAY,
    NUMBER,
    STOP_SECONDS,
    TELL,
    WATCHDOG_SECONDS,
    Fleet,
    Worker,
    config_of,
    own_environment,
    worker_of,
)
from tests.test_docs import GOOD


@define(eq=False)
class Yard:
    """A fleet whose processes are made up."""

    clock: Clock = field(factory=Clock)
    started: list[tuple[int, dict[str, str], dict[int, Any]]] = field(factory=list)
    signals: list[tuple[int, str]] = field(factory=list)
    said: list[bytes] = field(factory=list)
    sockets: list[tuple[str, HandedOver]] = field(factory=list)

    def fleet(self, count: int) -> Fleet:
        made = Fleet(
            self.clock, count, {"A": "b"}, self.sockets, Supervisor(self.said.append), self.spawn
        )
        made.startService()
        return made

    def spawn(self, worker: Worker, environment: dict[str, str], fds: dict[int, Any]) -> None:
        yard = self

        class Transport:
            def signalProcess(self, name: str) -> None:
                if worker.ended is None:
                    raise ProcessExitedAlready
                yard.signals.append((worker.number, name))

        worker.transport = Transport()  # type: ignore[assignment]
        self.started.append((worker.number, environment, fds))


def die(worker: Worker) -> None:
    worker.processEnded(Failure(ProcessTerminated(1)))


def tell(worker: Worker, *lines: bytes) -> None:
    worker.childDataReceived(3, b"".join(line + b"\n" for line in lines))


def test_each_worker_knows_its_number_and_the_service_is_ready_with_the_last_one() -> None:
    yard = Yard()
    fleet = yard.fleet(3)
    assert [(n, env[NUMBER], env["A"]) for n, env, _ in yard.started] == [
        (0, "0", "b"),
        (1, "1", "b"),
        (2, "2", "b"),
    ]
    assert all(fds[0] == "w" and fds[int(env[TELL])] == "r" for _, env, fds in yard.started)
    tell(fleet.workers[0], b"READY=1")
    tell(fleet.workers[2], b"STATUS=x", b"READY=1")
    assert yard.said == []
    fleet.workers[1].childDataReceived(3, b"REA")
    fleet.workers[1].childDataReceived(3, b"DY=1\n")
    assert yard.said == [b"READY=1"]
    assert fleet.status() == "3 of 3 workers ready"


def test_one_that_dies_is_replaced_at_once_one_that_keeps_dying_later_and_later() -> None:
    yard = Yard()
    fleet = yard.fleet(2)
    yard.clock.advance(60.0)
    die(fleet.workers[1])
    yard.clock.advance(0.0)
    assert len(yard.started) == 3
    waits = []
    for _ in range(12):
        die(fleet.workers[1])
        before, waited = len(yard.started), 0.0
        while len(yard.started) == before:
            yard.clock.advance(0.25)
            waited += 0.25
        waits.append(waited)
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert waits[-1] == LONGEST_DELAY
    assert {number for number, _, _ in yard.started[2:]} == {1}


def test_one_that_is_stuck_is_killed_and_the_others_are_not() -> None:
    yard = Yard()
    fleet = yard.fleet(2)
    yard.clock.advance(WATCHDOG_SECONDS)
    tell(fleet.workers[0], b"WATCHDOG=1")
    yard.clock.advance(1.0)
    assert fleet.is_well()
    assert yard.signals == [(1, "KILL")]


def test_an_end_is_orderly_and_then_by_force_and_nobody_is_started_again() -> None:
    yard = Yard()
    fleet = yard.fleet(2)
    over: list[object] = []
    fleet.stopService().addCallback(over.append)
    assert yard.signals == [(0, "TERM"), (1, "TERM")]
    die(fleet.workers[0])
    yard.clock.advance(STOP_SECONDS)
    assert yard.signals[2:] == [(1, "KILL")]
    assert over == []
    die(fleet.workers[1])
    assert len(over) == 1
    yard.clock.advance(100.0)
    assert len(yard.started) == 2


def test_a_sighup_goes_to_all_workers_and_to_one_that_starts_once_it_is_ready() -> None:
    yard = Yard()
    fleet = yard.fleet(3)
    tell(fleet.workers[0], b"READY=1")
    fleet.reload()
    fleet.reload()
    assert yard.signals == [(0, "HUP"), (0, "HUP")], "one that starts might be ended by it"
    tell(fleet.workers[1], b"READY=1")
    assert yard.signals[2:] == [(1, "HUP")]
    die(fleet.workers[2])
    yard.clock.advance(1.0)
    tell(fleet.workers[2], b"READY=1")
    assert yard.signals[3:] == [], "it has been started since, and has read them anyway"


def test_each_worker_gets_one_of_systemds_sockets() -> None:
    sockets = [
        (name, HandedOver(fd, 2)) for name, fd in (("public", 3), ("operators", 4), ("public", 5))
    ]
    yard = Yard(sockets=sockets)
    yard.fleet(3)
    found = [(env["LISTEN_FDNAMES"], env["LISTEN_FDS"], fds) for _, env, fds in yard.started]
    assert found == [
        ("public:operators", "2", {0: "w", 1: 1, 2: 2, 3: 3, 4: 4, 5: "r"}),
        ("public", "1", {0: "w", 1: 1, 2: 2, 3: 5, 4: "r"}),
        ("public", "1", {0: "w", 1: 1, 2: 2, 3: 3, 4: "r"}),
    ]


def test_a_worker_has_an_operators_port_of_its_own() -> None:
    environment = {**GOOD, "LOTUS_GUARD_STATE": "redis://localhost", "LOTUS_GUARD_WORKERS": "3"}
    config = read_config(environment)
    assert [config_of(config, number).admin_listen for number in (0, 1, 2)] == [
        f"tcp:{port}:interface=127.0.0.1" for port in (8072, 8073, 8074)
    ]
    none = read_config({**environment, "LOTUS_GUARD_ADMIN_LISTEN": ""})
    assert config_of(none, 1).admin_listen == ""


@pytest.mark.parametrize(
    ("settings", "name"),
    [
        ({"LOTUS_GUARD_WORKERS": "2"}, "LOTUS_GUARD_WORKERS: 2 workers"),
        ({"LOTUS_GUARD_WORKERS": "0"}, "LOTUS_GUARD_WORKERS: found '0'"),
        ({"LOTUS_GUARD_WORKERS": "many"}, "LOTUS_GUARD_WORKERS: found 'many'"),
        (
            {
                "LOTUS_GUARD_WORKERS": "2",
                "LOTUS_GUARD_STATE": "redis://h",
                "LOTUS_GUARD_LISTEN": "unix:/s",
            },
            "LOTUS_GUARD_LISTEN",
        ),
        ({"LOTUS_GUARD_STATE": "redis://:hunter2@h/x"}, "LOTUS_GUARD_STATE: it has no number"),
    ],
)
def test_what_workers_cannot_share_is_a_fault(settings: dict[str, str], name: str) -> None:
    with pytest.raises(Faulty) as faulty:
        read_config({**GOOD, **settings})
    assert any(line.startswith(name) for line in faulty.value.faults), faulty.value.faults
    assert "hunter2" not in str(faulty.value)


def test_a_worker_finds_out_what_it_is_and_tells() -> None:
    read, write = os.pipe()
    environment = {NUMBER: "1", TELL: str(write), "A": "b"}
    assert own_environment(environment) == {"A": "b"}
    number, send = worker_of(environment)
    assert (number, environment) == (1, {"A": "b"})
    assert send is not None
    send(b"READY=1")
    assert os.read(read, 100) == b"READY=1\n"
    os.close(read)
    send(b"nobody hears it")
    os.close(write)
    assert worker_of({}) == (None, None)
