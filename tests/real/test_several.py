"""Several guards as processes over a real redis-server, before the sandbox."""

import json
import os
import resource
import signal
import socket
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.defer import ensureDeferred, gatherResults
from twisted.internet.task import deferLater

from lotus_guard.core.homeserver_wire import CLIENT_PATHS
from lotus_guard.core.naming import ROOM_SLOT
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import OPEN, TWO
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.real.processes import ROOT, Answer, Process, free_port, http
from tests.real.redis import redis_server
from tests.world import World, reactor

pytestmark = pytest.mark.real

TWISTD = str(Path(sys.executable).with_name("twistd"))


@define(eq=False)
class Guards:
    """Guard processes that share one Redis."""

    world: World
    redis: Process
    processes: list[Process] = field(factory=list)
    desks: list[str] = field(factory=list)

    def add(self, **settings: str) -> Process:
        port, desk = free_port(), free_port(after=1)
        env = {
            **self.world.sandbox.environment(),
            "PATH": os.environ["PATH"],
            "PYTHONPATH": str(ROOT),
            "LOTUS_GUARD_LISTEN": f"tcp:{port}:interface=127.0.0.1",
            "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{desk}:interface=127.0.0.1",
            "LOTUS_GUARD_STATE": f"redis://127.0.0.1:{self.redis.port}",
            "LOTUS_GUARD_RECONCILE_INTERVAL": "0.5",
            **settings,
        }
        command = [TWISTD, "--nodaemon", "--pidfile=", "lotus-guard"]
        name = f"guard{len(self.processes)}"
        process = Process(name, command, self.world.directory, port, env)
        process.start()
        self.processes.append(process)
        self.desks.append(f"http://127.0.0.1:{desk}")
        return process

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.processes[number].port}"

    def leaders(self) -> list[int]:
        """Which of them have had a good pass of the loop lately."""
        name = "lotus_guard_live_last_good_pass_age_seconds"
        found = []
        for number, desk in enumerate(self.desks):
            lines = http("GET", f"{desk}/metrics").body.decode().splitlines()
            ages = [float(line.split()[1]) for line in lines if line.startswith(f"{name} ")]
            if ages and ages[0] < 2.0:
                found.append(number)
        return found

    def stop(self) -> None:
        for process in (*self.processes, self.redis):
            process.stop()


@pytest.fixture
def guards(world: World) -> Iterator[Guards]:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 16384), hard))
    redis = redis_server(world.directory)
    redis.start()
    made = Guards(world, redis)
    try:
        yield made
    finally:
        made.stop()
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def pause(seconds: float) -> None:
    await deferLater(reactor, seconds, lambda: None)


async def leading(guards: Guards, among: set[int], seconds: float) -> int:
    """Wait until one of these leads; returns its number."""
    begun = time.monotonic()
    while time.monotonic() - begun < seconds:
        # In a thread: the sandbox that the guards ask lives in this one.
        found = await threaded(guards.leaders)
        if len(found) == 1 and found[0] in among:
            return int(found[0])
        await pause(0.1)
    raise AssertionError(f"nobody of {among} leads after {seconds} s")


async def threaded(work: Any) -> Any:
    from twisted.internet.threads import deferToThread

    return await deferToThread(work)


@pytest_twisted.ensureDeferred
async def test_three_processes_give_three_seats_to_fourteen_hundred(guards: Guards) -> None:
    homeserver = guards.world.sandbox.homeserver
    homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 3})
    # This one process is the client, lk-jwt-service, Synapse and LiveKit to 1,400 at once: what is
    # tested is that the seats are given once, not how fast it is.
    for _ in range(3):
        guards.add(LOTUS_GUARD_DEADLINE="60", LOTUS_GUARD_POLICY_MAX_AGE="60")
    names = [f"u{number}" for number in range(1400)]
    for name in names:
        homeserver.openid[f"openid-{name}"] = f"@{name}:sandbox"
        homeserver.join(TWO, f"@{name}:sandbox")
    begun = time.monotonic()
    asked = [
        ensureDeferred(guards.world.ask(name, TWO, base=guards.url(number % 3)))
        for number, name in enumerate(names)
    ]
    got = Counter(answer.status for answer in await gatherResults(asked))
    print(f"FIGURE 1,400 at once over three guards: {dict(got)}, {time.monotonic() - begun:.1f} s")
    assert got == {200: 3, 403: 1397}


@pytest_twisted.ensureDeferred
async def test_a_killed_leader_is_followed_and_a_paused_one_does_nothing(guards: Guards) -> None:
    for _ in range(3):
        await threaded(guards.add)
    first = await leading(guards, {0, 1, 2}, 15.0)
    begun = time.monotonic()
    await threaded(guards.processes[first].kill)
    desk = guards.desks[first]
    guards.desks[first] = guards.desks[(first + 1) % 3]  # it answers no more
    rest = {0, 1, 2} - {first}
    while True:
        found = set(await threaded(guards.leaders)) & rest
        if found:
            break
        await pause(0.05)
        assert time.monotonic() - begun < 10.0
    print(f"FIGURE leader killed, another leads after {time.monotonic() - begun:.1f} s")
    assert time.monotonic() - begun < 6.0
    assert desk


@pytest_twisted.ensureDeferred
async def test_policy_holds_through_the_loss_of_the_leader_and_of_redis(guards: Guards) -> None:
    for _ in range(2):
        await threaded(guards.add)
    world = guards.world
    first = await leading(guards, {0, 1}, 15.0)
    got = await world.ask("alice", OPEN, base=guards.url(first))
    info = world.sandbox.sfu.join(got.json()["jwt"])

    async def enforced(content: Any, camera: bool, seconds: float) -> float:
        begun = time.monotonic()
        world.sandbox.homeserver.set_state(OPEN, SOURCES_EVENT, content)
        while (Source.CAMERA in info.permission.can_publish_sources) is not camera or not list(
            info.permission.can_publish_sources
        ):
            await pause(0.05)
            assert time.monotonic() - begun < seconds, guards.processes[1 - first].text()[-2000:]
        return time.monotonic() - begun

    await threaded(guards.processes[first].kill)
    took = await enforced({"allow_camera": False}, False, 10.0)
    print(f"FIGURE policy changed as the leader was killed: enforced after {took:.1f} s")
    guards.redis.pause()
    await pause(5.5)
    got = await world.ask("bob", OPEN, base=guards.url(1 - first))
    assert got.status == 200, "tokens flow"
    world.sandbox.homeserver.set_state(OPEN, SOURCES_EVENT, {"allow_screenshare": False})
    bob = world.sandbox.sfu.join(got.json()["jwt"])
    begun = time.monotonic()
    while (
        Source.SCREEN_SHARE in (sources := list(bob.permission.can_publish_sources)) or not sources
    ):
        await pause(0.05)
        assert time.monotonic() - begun < 5.0
    print(
        f"FIGURE policy changed while Redis hangs: enforced after {time.monotonic() - begun:.1f} s"
    )
    guards.redis.go_on()


# --- workers -------------------------------------------------------------------------------------


def children(pid: int) -> list[int]:
    """List the processes that this one has started."""
    return [int(word) for word in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def is_alive(pid: int) -> bool:
    path = Path(f"/proc/{pid}/stat")
    return path.exists() and path.read_text().rpartition(")")[2].split()[0] != "Z"


async def answers_of(guards: Guards, desks: list[str]) -> list[float]:
    """Count the answers that each worker has given."""

    def read(desk: str) -> float:
        lines = http("GET", f"{desk}/metrics").body.decode().splitlines()
        name = "lotus_guard_requests_total{"
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    return [await threaded(lambda desk=desk: read(desk)) for desk in desks]


async def fleet(guards: Guards, **settings: str) -> tuple[Process, list[str]]:
    process = await threaded(lambda: guards.add(LOTUS_GUARD_WORKERS="2", **settings))
    first = int(guards.desks[0].rpartition(":")[2])
    desks = [f"http://127.0.0.1:{first + number}" for number in (0, 1)]
    for _ in range(200):
        if "2 workers are ready" in process.text():
            return process, desks
        await pause(0.1)
    raise AssertionError(process.text())


@pytest_twisted.ensureDeferred
async def test_workers_share_the_port_and_the_seats(guards: Guards) -> None:
    guards.world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 2})
    process, desks = await fleet(guards)
    got: Counter[tuple[str, int]] = Counter()
    for _ in range(15):
        for name in ("alice", "bob", "carol", "dave"):
            got[name, (await guards.world.ask(name, TWO, base=guards.url(0))).status] += 1
    assert got == {("alice", 200): 15, ("bob", 200): 15, ("carol", 403): 15, ("dave", 403): 15}
    counts = await answers_of(guards, desks)
    print(f"FIGURE 60 connections over two workers: {counts}")
    assert sum(counts) == 60
    assert min(counts) >= 10
    begun = time.monotonic()
    await threaded(process.stop)
    assert time.monotonic() - begun < 5.0


@pytest_twisted.ensureDeferred
async def test_workers_share_the_homeservers_port_too(guards: Guards) -> None:
    sandbox = guards.world.sandbox
    sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    port = free_port()
    process, desks = await fleet(
        guards, LOTUS_GUARD_HOMESERVER_LISTEN=f"tcp:{port}:interface=127.0.0.1"
    )
    sandbox.behind(f"http://127.0.0.1:{port}")
    wanted = {
        "url": sandbox.authorization.issuer.livekit_url,
        "room_id": TWO,
        "slot_id": ROOM_SLOT,
    }
    got: Counter[tuple[str, int]] = Counter()

    def ask(name: str, member: str) -> Answer:
        body = json.dumps({**wanted, "member_id": member}).encode()
        headers = {"Authorization": f"Bearer {name}"}
        return http("POST", sandbox.addresses.synapse + CLIENT_PATHS[1], body, headers)

    for number in range(10):
        for name in ("alice", "bob"):
            # In a thread: the sandbox's homeserver lives in this one.
            answer = await threaded(lambda name=name, number=number: ask(name, f"m{number}"))
            got[name, answer.status] += 1
    assert got == {("alice", 200): 10, ("bob", 403): 10}
    assert sum(await answers_of(guards, desks)) == 20
    await threaded(process.stop)


@pytest_twisted.ensureDeferred
async def test_a_killed_worker_costs_no_seat_and_is_replaced(guards: Guards) -> None:
    guards.world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    process, _desks = await fleet(guards)
    assert (await guards.world.ask("alice", TWO, base=guards.url(0))).status == 200
    victim = children(process.pid)[0]
    statuses: Counter[object] = Counter()

    async def one(name: str) -> None:
        try:
            statuses[name, (await guards.world.ask(name, TWO, base=guards.url(0))).status] += 1
        except Exception as error:
            statuses[type(error).__name__] += 1

    asked = []
    for number in range(200):
        asked.append(ensureDeferred(one(("alice", "bob")[number % 2])))
        if number == 100:
            os.kill(victim, 9)
        await pause(0.01)
    await gatherResults(asked)
    lost = sum(n for what, n in statuses.items() if isinstance(what, str))
    print(f"FIGURE worker killed under 100 requests/s: {dict(statuses)}: {lost} lost of 200")
    assert lost <= 10, "those that it had in its hands"
    assert statuses["alice", 200] + statuses["bob", 403] + lost == 200
    for _ in range(100):
        if len(children(process.pid)) == 2:
            break
        await pause(0.1)
    assert victim not in children(process.pid)


@pytest_twisted.ensureDeferred
async def test_a_stuck_worker_is_replaced_where_no_systemd_watches(guards: Guards) -> None:
    process, _ = await fleet(guards)
    stuck, other = children(process.pid)
    os.kill(stuck, signal.SIGSTOP)
    begun = time.monotonic()
    while stuck in children(process.pid) and time.monotonic() - begun < 60.0:
        await pause(0.5)
    print(f"FIGURE stuck worker: gone after {time.monotonic() - begun:.0f} s")
    assert "Worker 0 is stuck: killing it" in process.text()
    for _ in range(200):
        found = children(process.pid)
        if len(found) == 2:
            break
        await pause(0.1)
    assert stuck not in found
    assert other in found


@pytest_twisted.ensureDeferred
async def test_workers_end_with_their_supervisor(guards: Guards) -> None:
    process, _ = await fleet(guards)
    workers = children(process.pid)
    assert len(workers) == 2
    await threaded(process.kill)
    for _ in range(100):
        if not any(map(is_alive, workers)):
            return
        await pause(0.1)
    raise AssertionError("orphans")


LAUNCH = """
import fcntl, os, sys
# Out of the way first: a descriptor that is 3 already would stay one that exec closes.
fds = [fcntl.fcntl(int(word), fcntl.F_DUPFD, 50) for word in sys.argv[1].split(",")]
for number, fd in enumerate(fds, 3):
    os.dup2(fd, number)
os.environ["LISTEN_PID"] = str(os.getpid())
os.execv(sys.argv[2], sys.argv[2:])
"""
"""What systemd does between fork and exec: the sockets become fd 3 and 4, the pid is named."""


@pytest_twisted.ensureDeferred
async def test_workers_on_systemds_sockets_refuse_nobody_while_one_is_replaced(
    guards: Guards,
) -> None:
    port, desk = free_port(), free_port(after=1)
    held = []
    for _ in range(2):  # ReusePort=yes and two ListenStream= lines
        sock = socket.socket()
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(512)
        os.set_inheritable(sock.fileno(), True)
        held.append(sock)
    env = {
        **guards.world.sandbox.environment(),
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "LOTUS_GUARD_LISTEN": f"tcp:{port}:interface=127.0.0.1",
        "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{desk}:interface=127.0.0.1",
        "LOTUS_GUARD_STATE": f"redis://127.0.0.1:{guards.redis.port}",
        "LOTUS_GUARD_WORKERS": "2",
        "LISTEN_FDS": "2",
        "LISTEN_FDNAMES": "public:public",
    }
    fds = ",".join(str(sock.fileno()) for sock in held)
    arguments = [TWISTD, "--nodaemon", "--pidfile=", "lotus-guard"]
    log = (guards.world.directory / "held.log").open("wb")
    fleet = subprocess.Popen(
        [sys.executable, "-c", LAUNCH, fds, *arguments],
        env=env,
        pass_fds=[sock.fileno() for sock in held],
        stdout=log,
        stderr=log,
    )
    try:
        for _ in range(200):
            if b"2 workers are ready" in Path(log.name).read_bytes():
                break
            await pause(0.1)
        url = f"http://127.0.0.1:{port}"
        victim = children(fleet.pid)[0]
        os.kill(victim, 9)
        while is_alive(victim):
            await pause(0.01)
        # From now on: its socket lives on in the supervisor, and the next one takes it up.
        asked = [guards.world.ask("alice", OPEN, base=url) for _ in range(40)]
        got = Counter(answer.status for answer in await gatherResults(map(ensureDeferred, asked)))
        assert got == {200: 40}
        assert victim not in children(fleet.pid)
        begun = time.monotonic()
        fleet.terminate()
        assert await threaded(lambda: fleet.wait(10.0)) in (0, -15)
        assert time.monotonic() - begun < 6.0
    finally:
        fleet.kill()
        log.close()
        for sock in held:
            sock.close()
