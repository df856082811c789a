"""What stands before lk-jwt-service in the benchmark, and proof that each does its job."""

import sys
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from attrs import frozen
from livekit.protocol import models as lk_models
from livekit.protocol import webhook as lk_webhook

from bench.neighbours import Ports, frame
from bench.tools import Missing, libraries, ports, program, running
from bench.traffic import ALLOWED, KEY, SECRET, Table, claims_of
from lotus_guard.rules.push import HEADER, sign_push
from lotus_guard.run.config import variable_names
from lotus_guard.sandbox.livekit_webhooks import WEBHOOK_TYPE, sign_webhook
from tests.real.processes import ROOT, http

PUSH_SECRET = "a-push-secret-for-the-benchmark"
WORKERS = 2


@frozen
class Running:
    """A candidate that runs."""

    port: int
    pids: Sequence[int] = ()
    """Its processes, each with its children; none where a client asks lk-jwt-service itself."""
    operators: str = ""
    """Our operators' port."""

    def opened(self) -> float:
        """Count the verdicts that a rule of ours gave up: tokens that went out unguarded."""
        if not self.operators:
            return 0.0
        lines = http("GET", f"{self.operators}/metrics").body.decode().splitlines()
        start = "lotus_guard_fail_open_total"
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(start))


@frozen
class Setting:
    """What candidates are started with."""

    directory: Path
    neighbours: Ports
    table: Table


Start = Callable[[ExitStack, Setting], Running]


def direct(_ends: ExitStack, setting: Setting) -> Running:
    return Running(setting.neighbours.upstream)


def plain_nginx(ends: ExitStack, setting: Setting) -> Running:
    (port,) = ports(1)
    upstream = f"server 127.0.0.1:{setting.neighbours.upstream}; keepalive 64;"
    inner = (
        f"upstream up {{ {upstream} keepalive_requests 1000000000; }}\n"
        f"server {{ listen 127.0.0.1:{port} backlog=4096; location / {{ proxy_pass http://up; "
        'proxy_http_version 1.1; proxy_set_header Connection ""; } }\n'
    )
    command = frame(setting.directory, "plain", inner)
    return Running(port, [ends.enter_context(running("plain", command, setting.directory, port))])


def klein_and_treq(ends: ExitStack, setting: Setting) -> Running:
    (port,) = ports(1)
    script = str(ROOT / "bench" / "klein_proxy.py")
    command = [sys.executable, script, str(port), str(setting.neighbours.upstream)]
    return Running(port, [ends.enter_context(running("klein", command, setting.directory, port))])


def threaded(style: str) -> Start:
    """The thread-per-connection guard of the comparison, in one of its two styles."""

    def start(ends: ExitStack, setting: Setting) -> Running:
        (port,) = ports(1)
        there = setting.neighbours
        script = str(ROOT / "bench" / "threaded_guard.py")
        numbers = [str(number) for number in (port, there.upstream, there.synapse, there.livekit)]
        command = [sys.executable, script, style, *numbers, KEY, SECRET]
        pid = ends.enter_context(running(f"threaded-{style}", command, setting.directory, port))
        return Running(port, [pid])

    return start


def ours(hints: bool = False, workers: int = 1) -> Start:
    """lotus_guard, polling alone or with hints, with so many workers."""

    def start(ends: ExitStack, setting: Setting) -> Running:
        port, admin = ports(2)
        env = guard_environment(setting.neighbours, port, admin)
        env["LOTUS_GUARD_STATE"] = str(setting.directory / f"state{port}.sqlite")
        pids, operators = [], f"http://127.0.0.1:{admin}"
        if workers > 1:
            address, pid = ends.enter_context(redis(setting.directory))
            env |= {"LOTUS_GUARD_WORKERS": str(workers), "LOTUS_GUARD_STATE": address}
            pids.append(pid)
        guard = running("guard", guard_command(), setting.directory, port, env)
        pids.append(ends.enter_context(guard))
        if hints:
            ends.enter_context(hinting(operators, setting.table))
        return Running(port, pids, operators)

    return start


CANDIDATES: dict[str, Start] = {
    "direct": direct,
    "nginx": plain_nginx,
    "klein + treq": klein_and_treq,
    "threaded": threaded("plain"),
    "threaded, kept alive": threaded("kept"),
    "ours": ours(),
    "ours, hinted": ours(hints=True),
    f"ours, {WORKERS} workers": ours(workers=WORKERS),
}
"""By name; the order of the tables."""


def available() -> tuple[list[str], list[str]]:
    """List the candidates that can be run here, and a sentence for each that cannot."""
    names, left_out = list(CANDIDATES), []
    with_workers = f"ours, {WORKERS} workers"
    try:
        if "LOTUS_GUARD_WORKERS" not in variable_names():
            raise Missing("this version has no LOTUS_GUARD_WORKERS")
        program("redis-server")
    except Missing as missing:
        names.remove(with_workers)
        left_out.append(f"{with_workers}: {missing}")
    return names, left_out


def guard_command() -> list[str]:
    twistd = str(Path(sys.executable).with_name("twistd"))
    return [twistd, "--nodaemon", "--pidfile=", "lotus-guard"]


def guard_environment(there: Ports, port: int, admin: int) -> dict[str, str]:
    """The settings of a guard in front of the neighbours, all but its state file."""
    return {
        "PYTHONPATH": str(ROOT),
        "LOTUS_GUARD_LISTEN": f"tcp:{port}:interface=127.0.0.1",
        "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{admin}:interface=127.0.0.1",
        "LOTUS_GUARD_UPSTREAM": f"http://127.0.0.1:{there.upstream}",
        "LIVEKIT_URL": f"http://127.0.0.1:{there.livekit}",
        "LIVEKIT_KEY": KEY,
        "LIVEKIT_SECRET": SECRET,
        "LOTUS_GUARD_SYNAPSE_URL": f"http://127.0.0.1:{there.synapse}",
        "LOTUS_GUARD_SYNAPSE_TOKEN": "t",
        "LOTUS_GUARD_PUSH_SECRET": PUSH_SECRET,
    }


@contextmanager
def redis(directory: Path) -> Iterator[tuple[str, int]]:
    """Run a Redis that writes nothing to disk; returns its address and its pid."""
    (port,) = ports(1)
    binary = program("redis-server")
    command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly"]
    with running("redis", [*command, "no"], directory, port, libraries(binary)) as pid:
        yield f"redis://127.0.0.1:{port}/0", pid


def heartbeat(operators: str) -> None:
    """Show a guard that Synapse's module is there."""
    headers = {HEADER: sign_push(b"{}", PUSH_SECRET, time.time())}
    answer = http("POST", f"{operators}/policy", b"{}", headers)
    assert answer.status == 204, (answer.status, answer.body)


@contextmanager
def hinting(operators: str, table: Table | None = None, every: float = 1.0) -> Iterator[None]:
    """Send a guard signs of life of Synapse's module and, with a table, of LiveKit's webhooks."""
    ended = threading.Event()

    def hint() -> None:
        number = 0
        while True:
            heartbeat(operators)
            if table:
                _webhook(operators, table, number)
            number += 1
            if ended.wait(every):
                return

    thread = threading.Thread(target=hint, daemon=True)
    thread.start()
    try:
        yield
    finally:
        ended.set()
        thread.join(10.0)


def _webhook(operators: str, table: Table, number: int) -> None:
    """Post the webhook of somebody who has come into one of the rooms."""
    asks = table.asks
    livekit_room = claims_of(asks[number * 7919 % len(asks)].answer)["video"]["room"]
    event = lk_webhook.WebhookEvent(
        event="participant_joined",
        id=f"EV_{number}",
        room=lk_models.Room(name=livekit_room),
        participant=lk_models.ParticipantInfo(identity=f"@new{number}:bench:D", sid="PA_n"),
    )
    body, signed = sign_webhook(event, KEY, SECRET, time.time())
    headers = {"Authorization": signed, "Content-Type": WEBHOOK_TYPE}
    http("POST", f"{operators}/webhook", body, headers)


def check(name: str, candidate: Running, table: Table) -> None:
    """See that a candidate does what it is there for, before anybody measures how fast it is.

    Raises AssertionError.
    """
    is_guard = name.startswith(("ours", "threaded"))
    for kind in ("open", "sources", "limit + sources"):
        for ask in table.of(kind)[:2]:
            answer = http("POST", f"http://127.0.0.1:{candidate.port}{ask.path}", ask.body.encode())
            assert answer.status == 200, (name, ask, answer)
            before, after = claims_of(ask.answer), claims_of(answer.body)
            narrowed = is_guard and kind != "open"
            assert after["sub"] == before["sub"], (name, ask, after)
            found = after["video"].get("canPublishSources")
            assert sorted(found or []) == (ALLOWED if narrowed else []), (name, ask, after)
