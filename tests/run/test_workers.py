"""The supervisor of several workers, on a clock turned by hand."""

import sys
from collections.abc import Sequence
from typing import Any

from twisted.internet.error import ProcessExitedAlready, ProcessTerminated
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lotus_guard.run.systemd import HandedOver, Reporter
from lotus_guard.run.worker_role import NUMBER, TELL, WATCHDOG_SECONDS
from lotus_guard.run.workers import LONGEST_DELAY, STOP_SECONDS, Fleet, Worker, delay_after


class Yard(Clock):
    """A clock turned by hand, and processes that are made up."""

    def __init__(self) -> None:
        super().__init__()
        self.started: list[tuple[int, dict[str, str], dict[int, Any]]] = []
        self.signals: list[tuple[int, str]] = []
        self.said: list[bytes] = []
        self.cannot_fork = False

    def fleet(self, count: int, sockets: Sequence[tuple[str, HandedOver]] = ()) -> Fleet:
        made = Fleet(self, count, {"A": "b"}, sockets, Reporter(self.said.append))
        made.startService()
        return made

    def spawnProcess(
        self,
        worker: Worker,
        executable: str,
        _arguments: Sequence[str],
        environment: dict[str, str],
        childFDs: dict[int, Any],
    ) -> None:
        if self.cannot_fork:
            raise OSError("Cannot allocate memory")
        yard = self

        class Transport:
            def signalProcess(self, name: str) -> None:
                if worker.ended.called:
                    raise ProcessExitedAlready
                yard.signals.append((worker.number, name))

        assert executable == sys.executable
        worker.transport = Transport()  # type: ignore[assignment]
        self.started.append((worker.number, environment, childFDs))

    def look_for(self, seconds: float) -> None:
        """Let time pass second by second."""
        self.pump([1.0] * int(seconds))


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
    yard.advance(60.0)
    die(fleet.workers[1])
    yard.advance(0.0)
    assert len(yard.started) == 3
    waits = []
    for _ in range(12):
        die(fleet.workers[1])
        before, waited = len(yard.started), 0.0
        while len(yard.started) == before:
            yard.advance(0.25)
            waited += 0.25
        waits.append(waited)
    assert waits[:4] == [0.5, 1.0, 2.0, 4.0]
    assert waits[-1] == LONGEST_DELAY
    assert {number for number, _, _ in yard.started[2:]} == {1}


def test_one_that_is_stuck_is_killed_and_the_others_are_not() -> None:
    yard = Yard()
    fleet = yard.fleet(2)
    yard.look_for(WATCHDOG_SECONDS)
    assert yard.signals == []
    tell(fleet.workers[0], b"WATCHDOG=1")
    yard.look_for(WATCHDOG_SECONDS / 3)
    assert yard.signals == [(1, "KILL")]
    die(fleet.workers[1])
    tell(fleet.workers[0], b"WATCHDOG=1")
    yard.look_for(WATCHDOG_SECONDS / 3)
    assert [number for number, _, _ in yard.started] == [0, 1, 1]
    assert yard.signals == [(1, "KILL")], "the new one has its own time"


def test_nobody_was_silent_while_the_whole_machine_was_paused() -> None:
    yard = Yard()
    yard.fleet(2)
    yard.advance(10 * WATCHDOG_SECONDS)
    assert yard.signals == []


def test_one_that_cannot_be_started_is_tried_again() -> None:
    yard = Yard()
    yard.cannot_fork = True
    fleet = yard.fleet(1)
    yard.advance(0.5)
    assert fleet.status() == "0 of 1 workers ready"
    yard.cannot_fork = False
    fleet.reload()  # there is no process that a signal could go to
    yard.advance(1.0)
    assert len(yard.started) == 1


def test_how_long_the_next_one_waits() -> None:
    delays = [delay_after(deaths) for deaths in (0, 1, 2, 6, 7, 2000)]
    assert delays == [0.0, 0.5, 1.0, 16.0, LONGEST_DELAY, LONGEST_DELAY]


def test_an_end_is_orderly_and_then_by_force_and_nobody_is_started_again() -> None:
    yard = Yard()
    fleet = yard.fleet(2)
    over: list[object] = []
    fleet.stopService().addCallback(over.append)
    assert yard.signals == [(0, "TERM"), (1, "TERM")]
    die(fleet.workers[0])
    yard.advance(STOP_SECONDS)
    assert yard.signals[2:] == [(1, "KILL")]
    assert over == []
    die(fleet.workers[1])
    assert len(over) == 1
    yard.advance(100.0)
    assert len(yard.started) == 2


def test_one_that_was_to_be_replaced_is_not_once_the_end_has_begun() -> None:
    yard = Yard()
    fleet = yard.fleet(1)
    die(fleet.workers[0])
    over: list[object] = []
    fleet.stopService().addCallback(over.append)
    assert len(over) == 1, "there is nobody to wait for"
    yard.advance(100.0)
    assert len(yard.started) == 1


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
    yard.advance(1.0)
    tell(fleet.workers[2], b"READY=1")
    assert yard.signals[3:] == [], "it has been started since, and has read them anyway"


def test_all_workers_share_a_homeservers_socket() -> None:
    names = ("public", "homeserver", "operators", "public")
    sockets = [(name, HandedOver(fd, 2)) for fd, name in enumerate(names, 3)]
    yard = Yard()
    yard.fleet(2, sockets)
    assert [(env["LISTEN_FDNAMES"], fds) for _, env, fds in yard.started] == [
        ("public:homeserver:operators", {0: "w", 1: 1, 2: 2, 3: 3, 4: 4, 5: 5, 6: "r"}),
        ("public:homeserver", {0: "w", 1: 1, 2: 2, 3: 6, 4: 4, 5: "r"}),
    ]


def test_each_worker_gets_one_of_systemds_sockets() -> None:
    names = {3: "public", 4: "operators", 5: "public", 6: "homeserver"}
    sockets = [(name, HandedOver(fd, 2)) for fd, name in names.items()]
    yard = Yard()
    yard.fleet(3, sockets)
    found = [(env["LISTEN_FDNAMES"], env["LISTEN_FDS"], fds) for _, env, fds in yard.started]
    assert found == [
        ("public:homeserver:operators", "3", {0: "w", 1: 1, 2: 2, 3: 3, 4: 6, 5: 4, 6: "r"}),
        ("public:homeserver", "2", {0: "w", 1: 1, 2: 2, 3: 5, 4: 6, 5: "r"}),
        ("public:homeserver", "2", {0: "w", 1: 1, 2: 2, 3: 3, 4: 6, 5: "r"}),
    ]
