"""One pass of the live loop over many rooms: calls, CPU, duration, and token latency meanwhile.

Runs the sandbox and the guard as two processes. `python bench/live_scale.py` prints the figures;
they are ratios and counts of this machine in one run, and nothing in the test suite depends on
them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.client import HTTPConnection
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PUSH_SECRET = "a-push-secret-for-the-benchmark"
PORTS = {"authorization": 8271, "livekit": 8272, "synapse": 8273, "guard": 8270, "admin": 8274}


def sandbox(rooms: int, people: int, restrictive: int) -> None:
    """Serve a sandbox with that many live rooms, one in `100 / restrictive` with a policy."""
    from twisted.internet import reactor as _reactor
    from twisted.web.client import Agent

    from lotus_guard.bounded import BoundedRequest, QuietSite
    from lotus_guard.core.model import RoomId
    from lotus_guard.core.naming import ROOM_SLOT, alias_of
    from lotus_guard.core.policy import SOURCES_EVENT
    from lotus_guard.sandbox.livekit import lk_models
    from lotus_guard.sandbox.stack import Addresses, Sandbox

    reactor: Any = _reactor
    names = ("authorization", "livekit", "synapse")
    made = Sandbox(
        Agent(reactor), time.time, Addresses(*(f"http://127.0.0.1:{PORTS[n]}" for n in names))
    )
    for number in range(rooms):
        room = f"!room{number}:sandbox"
        made.homeserver.add_room(room, "@admin:sandbox")
        if number % 100 < restrictive:
            made.homeserver.set_state(room, SOURCES_EVENT, {"allow_camera": False})
        there = made.sfu.rooms.setdefault(alias_of(RoomId(room), ROOM_SLOT), {})
        for person in range(people):
            identity = f"@user{person}:sandbox:D"
            there[identity] = lk_models.ParticipantInfo(
                sid=f"PA_{person}",
                identity=identity,
                state=2,
                permission=lk_models.ParticipantPermission(can_publish=True, can_subscribe=True),
            )
    for address, app in made.apps().items():
        site = QuietSite(app.resource(), requestFactory=BoundedRequest)
        reactor.listenTCP(int(address.rpartition(":")[2]), site, interface="127.0.0.1")
    reactor.callLater(600, reactor.stop)
    reactor.run()


@contextmanager
def process(command: list[str], port: int, **env: str) -> Iterator[int]:
    """Run a process until the block ends; gives its pid once it listens."""
    running = subprocess.Popen(
        command,
        env={**os.environ, "PYTHONPATH": str(ROOT), **env},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        for _ in range(600):
            try:
                HTTPConnection("127.0.0.1", port, timeout=1).connect()
                break
            except OSError:
                time.sleep(0.1)
        yield running.pid
    finally:
        running.terminate()
        running.wait(20)


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def metrics() -> dict[str, float]:
    connection = HTTPConnection("127.0.0.1", PORTS["admin"], timeout=10)
    connection.request("GET", "/metrics")
    lines = connection.getresponse().read().decode().splitlines()
    pairs = (line.rpartition(" ") for line in lines if not line.startswith("#"))
    return {name: float(value) for name, _, value in pairs}


def heartbeat() -> None:
    from lotus_guard.core.push import HEADER, sign_push

    connection = HTTPConnection("127.0.0.1", PORTS["admin"], timeout=10)
    connection.request(
        "POST", "/policy", b"{}", {HEADER: sign_push(b"{}", PUSH_SECRET, time.time())}
    )
    assert connection.getresponse().status == 204


def token_latencies(seconds: float) -> list[float]:
    """Ask for tokens one after the other; gives each one's milliseconds."""
    openid = {"access_token": "openid-alice", "matrix_server_name": "sandbox"}
    body = json.dumps({"room": "!voice:sandbox", "openid_token": openid, "device_id": "D"})
    connection = HTTPConnection("127.0.0.1", PORTS["guard"], timeout=10)
    took, end = [], time.monotonic() + seconds
    while time.monotonic() < end:
        begun = time.perf_counter()
        connection.request("POST", "/sfu/get", body)
        answer = connection.getresponse()
        assert answer.read()
        assert answer.status == 200
        took.append((time.perf_counter() - begun) * 1000.0)
    return took


def guard(interval: float, state: str) -> Any:
    twistd = str(Path(sys.executable).with_name("twistd"))
    return process(
        [twistd, "--nodaemon", "--pidfile=", "lotus-guard"],
        PORTS["guard"],
        LOTUS_GUARD_LISTEN=f"tcp:{PORTS['guard']}:interface=127.0.0.1",
        LOTUS_GUARD_ADMIN_LISTEN=f"tcp:{PORTS['admin']}:interface=127.0.0.1",
        LOTUS_GUARD_UPSTREAM=f"http://127.0.0.1:{PORTS['authorization']}",
        LIVEKIT_URL=f"http://127.0.0.1:{PORTS['livekit']}",
        LIVEKIT_KEY="sandbox",
        LIVEKIT_SECRET="the-sandbox-has-no-secrets-to-keep-0000",
        LOTUS_GUARD_SYNAPSE_URL=f"http://127.0.0.1:{PORTS['synapse']}",
        LOTUS_GUARD_SYNAPSE_TOKEN="sandbox-admin",
        LOTUS_GUARD_PUSH_SECRET=PUSH_SECRET,
        LOTUS_GUARD_POLICY_RATE="2000",
        LOTUS_GUARD_POLICY_POLL="3600",
        LOTUS_GUARD_RECONCILE_INTERVAL=str(interval),
        LOTUS_GUARD_STATE=state,
    )


def settled(rooms: int) -> None:
    """Wait until every room's policy is known and every participant is within it."""
    for _ in range(120):
        heartbeat()
        time.sleep(1.0)
        seen = metrics()
        if seen["lotus_guard_live_rooms_under_policy"] >= rooms:
            time.sleep(4.0)
            return
    raise SystemExit("the loop has not seen all rooms")


def passes(pid: int, seconds: float) -> dict[str, float]:
    heartbeat()
    before, cpu, begun = metrics(), cpu_seconds(pid), time.monotonic()
    time.sleep(seconds)
    after = metrics()
    name = "lotus_guard_live_pass_seconds"
    count = after[f"{name}_count"] - before[f"{name}_count"]
    calls = {
        key.split('method="')[1].split('"')[0]: (value - before.get(key, 0.0)) / count
        for key, value in after.items()
        if key.startswith("lotus_guard_livekit_calls_total")
    }
    return {
        "passes": count,
        "seconds a pass": (after[f"{name}_sum"] - before[f"{name}_sum"]) / count,
        "CPU seconds a pass": (cpu_seconds(pid) - cpu) / count,
        "CPU share": (cpu_seconds(pid) - cpu) / (time.monotonic() - begun),
        **{f"{method} a pass": value for method, value in calls.items()},
    }


def shown(values: list[float]) -> str:
    ordered = sorted(values)
    p99 = ordered[int(len(ordered) * 0.99)]
    return f"p50 {statistics.median(ordered):.2f} ms, p99 {p99:.2f} ms ({len(ordered)} requests)"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rooms", type=int, default=2000)
    parser.add_argument("--people", type=int, default=10)
    parser.add_argument("--restrictive", type=int, default=5, help="rooms in a hundred")
    parser.add_argument("--sandbox", action="store_true", help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.sandbox:
        sandbox(args.rooms, args.people, args.restrictive)
        return
    numbers = [f"--{n}={getattr(args, n)}" for n in ("rooms", "people", "restrictive")]
    with process([sys.executable, __file__, "--sandbox", *numbers], PORTS["synapse"]):
        with tempfile.TemporaryDirectory() as directory, guard(3600, f"{directory}/a") as pid:
            idle = token_latencies(8.0)
            cpu, begun = cpu_seconds(pid), time.monotonic()
            time.sleep(10.0)
            share = (cpu_seconds(pid) - cpu) / (time.monotonic() - begun)
            print(f"token latency with the loop idle: {shown(idle)}; idle CPU {share:.2%}")
        with tempfile.TemporaryDirectory() as directory, guard(2.0, f"{directory}/b") as pid:
            print(
                f"{args.rooms} rooms, {args.people} people each, {args.restrictive} % restrictive"
            )
            settled(args.rooms * args.restrictive // 100)
            for name, value in passes(pid, 20.0).items():
                print(f"  {name}: {value:.4g}")
        with tempfile.TemporaryDirectory() as directory, guard(0.1, f"{directory}/c"):
            settled(args.rooms * args.restrictive // 100)
            during = token_latencies(10.0)
        print(f"token latency with one pass after the other: {shown(during)}")
        print(f"  ratio of the medians: {statistics.median(during) / statistics.median(idle):.2f}")


if __name__ == "__main__":
    main()
