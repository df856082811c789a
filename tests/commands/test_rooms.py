"""`lotus-guard rooms`, against a guard in this process: once, and kept up to date."""

import io
import json
import os
import pty
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from click.testing import CliRunner
from rich.console import Console
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.threads import deferToThread
from twisted.internet.utils import getProcessOutputAndValue
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from lotus_guard.cli import main
from lotus_guard.commands.rooms import Asking, Lost, Watch
from lotus_guard.neighbours.agents import Agents, pooled_agents
from lotus_guard.neighbours.http import Http
from lotus_guard.run.clocks import Clocks
from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from tests.calls import join
from tests.command_line import ROOT, neutral_environment, run
from tests.commands.live_rooms import room
from tests.test_docs import GOOD
from tests.world import World, http_answer, reactor

PATIENCE = 15.0
"""Seconds after which a process that does not end is ended."""
CLOCKS = Clocks(reactor, time.monotonic, time.time)


@pytest.fixture
def agents() -> Any:
    made = pooled_agents(reactor)
    yield made
    pytest_twisted.blockon(ensureDeferred(made.close()))


async def busy(world: World) -> None:
    """Two in the room for two, one refused there; one in the room for voices, three elsewhere."""
    world.start_guard()
    for name, where in (("alice", TWO), ("bob", TWO), ("dave", VOICE), ("erin", OPEN)):
        await join(world, name, where)
    for name in ("alice", "bob"):
        await join(world, name, OPEN)
    assert (await world.ask("carol", TWO)).status == 403
    await world.guard.live.run_pass()


def asking(world: World, agents: Agents, part: str = "") -> Asking:
    return Asking(Http(agents.livekit, reactor), world.operators, part)


@pytest_twisted.ensureDeferred
async def test_live_rooms_are_listed_with_the_policed_and_crowded_first(world: World) -> None:
    await busy(world)
    out, err, code = await run(world, "rooms")
    assert (code, err) == (0, "")
    header, two, voice, other, _ = out.splitlines()
    assert header.split() == ["ROOM", "PEOPLE", "SEATS", "POLICY", "ENFORCED", "WHO", "NAME"]
    for line, words in (
        (two, (TWO, " 2/2 ", " at most 2 ", " 1 refused", "@alice:sandbox, @bob:sandbox")),
        (voice, (VOICE, " 1 ", " no camera, no screen ", " 1 changed ", "@dave:sandbox")),
        (other, (OPEN, " 3 ")),
    ):
        assert [word for word in words if word not in line] == []
    assert "Live rooms: 3, with a policy: 2, people: 6." in out
    assert out.isascii(), "no colour and no boxes where nobody looks"


@pytest_twisted.ensureDeferred
async def test_all_it_needs_is_where_the_guard_is(world: World) -> None:
    """Of the guard's settings none, on whatever machine."""
    await busy(world)
    nothing = dict.fromkeys(world.sandbox.environment(), "")
    environment = {n: v for n, v in neutral_environment().items() if n not in nothing}
    arguments = ["-m", "lotus_guard.cli", "rooms", "--guard", world.operators + "/"]
    out, err, code = await getProcessOutputAndValue(
        sys.executable, arguments, {**environment, "PYTHONPATH": str(ROOT)}
    )
    assert (code, err) == (0, b"")
    assert b"Live rooms: 3" in out


@pytest_twisted.ensureDeferred
async def test_for_machines_it_is_what_the_guard_tells(world: World) -> None:
    await busy(world)
    out, _, code = await run(world, "rooms", "--json", "--room", "TWO")
    (told,) = json.loads(out)["rooms"]
    assert (code, told["room"], told["taken"], told["refused"]) == (0, TWO, 2, 1)
    assert set(told["users"]) == {"@alice:sandbox", "@bob:sandbox"}


@pytest_twisted.ensureDeferred
async def test_what_it_cannot_do_it_says_and_exits_with_2(world: World) -> None:
    world.start_guard()
    synapse = world.sandbox.addresses.synapse.rpartition(":")[2]
    for arguments, more, wanted in (
        (
            (),
            {"LOTUS_GUARD_ADMIN_LISTEN": "tcp:1"},
            "connection refused. Fix: start the guard",
        ),
        ((), {"LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{synapse}"}, "answered 404, but not as a guard"),
        (("--watch",), {"LOTUS_GUARD_ADMIN_LISTEN": "tcp:1"}, "no guard: no answer from"),
    ):
        out, err, code = await run(world, "rooms", *arguments, **more)
        assert (code, out) == (2, ""), (arguments, more)
        assert wanted in err
        assert "Traceback" not in err


@pytest.mark.parametrize(
    ("arguments", "more", "wanted"),
    [
        ((), {"LOTUS_GUARD_ADMIN_LISTEN": ""}, "give the guard no operators' port"),
        ((), {"LOTUS_GUARD_ADMIN_LISTEN": "8072"}, "LOTUS_GUARD_ADMIN_LISTEN: found"),
        (("--guard", "localhost:8072"), {}, "does not begin with https://"),
        (("--watch", "0"), {}, "seconds from 0.2 to 3600"),
        (("--watch", "nan"), {}, "seconds from 0.2 to 3600"),
    ],
)
def test_nobody_is_asked_where_that_makes_no_sense(
    arguments: tuple[str, ...], more: dict[str, str], wanted: str
) -> None:
    done = CliRunner().invoke(main, ["rooms", *arguments], env={**GOOD, **more})
    assert (done.exit_code, done.stdout) == (2, "")
    assert wanted in done.stderr


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"{}",
        b"\xff",
        b"[" * 100_000,
        b'{"rooms": 3}',
        b'{"rooms": [3]}',
        b'{"rooms": [{"room": "!r"}]}',
        b'{"rooms": [{"room": "!r", "people": "many"}]}',
        b'{"rooms": [{"room": "!r", "people": 1e999}]}',
    ],
)
async def test_another_server_on_the_port_is_not_taken_for_a_guard(
    world: World, agents: Agents, body: bytes
) -> None:
    other = Asking(Http(agents.livekit, reactor), world.serve(http_answer(body)))
    with pytest.raises(Lost, match="not as a guard does"):
        await other.again()


def watch_of(world: World, agents: Agents, **more: Any) -> tuple[Watch, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, width=160, height=30, highlight=False)
    return Watch(asking(world, agents), console, CLOCKS, 0.2, **more), out


@pytest_twisted.ensureDeferred
async def test_a_lost_guard_is_shown_and_asked_again(world: World, agents: Agents) -> None:
    await busy(world)
    watch, out = watch_of(world, agents)
    address = watch.asking.address
    await watch.look()
    watch.asking.address = "http://127.0.0.1:1"
    await watch.look()
    watch.console.print(watch.picture())
    text = out.getvalue()
    assert "GUARD LOST: no guard: no answer from http://127.0.0.1:1" in text
    assert TWO in text, "what was known stays"
    watch.asking.address = address
    await watch.look()
    out.truncate(0)
    watch.console.print(watch.picture())
    assert "LOST" not in out.getvalue()


@pytest_twisted.ensureDeferred
async def test_more_rooms_than_the_terminal_is_high(world: World, agents: Agents) -> None:
    world.start_guard()
    watch, out = watch_of(world, agents)
    watch._keep([room(room=f"!{number:03}:s") for number in range(200)])
    watch.console.print(watch.picture())
    assert len(out.getvalue().splitlines()) <= 30
    assert "177 more do not fit" in out.getvalue()
    assert "Live rooms: 200" in out.getvalue()


BUSY = [
    room(
        room=f"!abcdefghijklmnopq{number}:matrix.example.org",
        name=f"Room number {number}",
        people=5,
        users=[f"@someone{each}:matrix.example.org" for each in range(5)],
        taken=5,
        max_users=5,
        forbidden=["camera", "screen_share"],
        refused=3,
        narrowed=2,
        steps=1,
        failed_open=1,
    )
    for number in range(10, 40)
]


@pytest.mark.parametrize(("width", "height"), [(30, 24), (80, 24), (120, 30), (200, 50), (80, 5)])
def test_a_lost_guard_is_seen_in_any_terminal(width: int, height: int) -> None:
    """Rich cuts off at the bottom what does not fit, and rooms take several lines each."""
    console = Console(file=io.StringIO(), width=width, height=height, highlight=False)
    watch = Watch(Asking(Http(None, reactor), ""), console, CLOCKS, 2.0)  # type: ignore[arg-type]
    watch._keep(BUSY)
    watch._lost = "no guard"
    lines = ["".join(s.text for s in line) for line in console.render_lines(watch.picture())]
    assert lines[0].startswith("GUARD LOST: no guard.")
    shown = {n for n in range(10, 40) if any(f"number {n}" in line for line in lines)}
    if width >= 80:
        assert "Live rooms: 30, with a policy: 30" in lines[1]
        assert f"{30 - max(1, len(shown))} more do not fit" in lines[2]
    assert len(lines) <= height or len(shown) <= 1


def test_as_many_rooms_as_fit_are_shown() -> None:
    console = Console(file=io.StringIO(), width=200, height=50, highlight=False)
    watch = Watch(Asking(Http(None, reactor), ""), console, CLOCKS, 2.0)  # type: ignore[arg-type]
    for count in (0, 1, 5, 30):
        watch._keep(BUSY[:count])
        lines = len(console.render_lines(watch.picture()))
        assert lines <= 50
    assert lines >= 46, "a room takes three lines here"


class Terminal:
    """The command as a process, on a terminal or on a pipe."""

    def __init__(self, world: World, *arguments: str, is_terminal: bool = True) -> None:
        port = world.operators.rpartition(":")[2]
        env = {
            **neutral_environment(),
            **world.sandbox.environment(),
            "PYTHONPATH": str(ROOT),
            "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{port}",
            "TERM": "xterm-256color",
        }
        self._read, write = pty.openpty() if is_terminal else os.pipe()
        self.process = subprocess.Popen(
            [sys.executable, "-m", "lotus_guard.cli", "rooms", *arguments],
            env=env,
            cwd=world.directory,
            stdout=write,
            stderr=subprocess.PIPE,
        )
        os.close(write)
        self.text = b""
        self._timer = threading.Timer(PATIENCE, self.process.kill)
        self._timer.start()

    def until(self, is_enough: Callable[[bytes], bool]) -> bytes:
        """Read until that is so, or it ends."""
        while not is_enough(self.text):
            try:
                chunk = os.read(self._read, 65536)
            except OSError:  # the other end is closed: that is how a terminal ends on Linux
                break
            if not chunk:
                break
            self.text += chunk
        return self.text

    def interrupt(self) -> tuple[int, bytes, bytes]:
        """Press Ctrl-C; gives exit code, all that was printed and the complaints."""
        self.process.send_signal(signal.SIGINT)
        self.until(lambda _: False)
        code, err = self.close()
        return code, self.text, err

    def close(self) -> tuple[int, bytes]:
        """Read no more and wait for the end; gives exit code and the complaints."""
        os.close(self._read)
        assert self.process.stderr is not None
        with self.process.stderr as stderr:
            err = stderr.read()
        code = self.process.wait(30.0)
        self._timer.cancel()
        return code, err


@pytest_twisted.ensureDeferred
async def test_a_terminal_is_kept_up_to_date_until_ctrl_c(world: World) -> None:
    await busy(world)
    terminal = Terminal(world, "--watch", "0.2")
    await deferToThread(terminal.until, lambda text: b"1 refused" in text)
    await world.ask("carol", TWO)
    await deferToThread(terminal.until, lambda text: b"2 refused" in text)
    code, text, err = await deferToThread(terminal.interrupt)
    assert (code, err) == (0, b"")
    assert text.endswith(b"\x1b[?25h"), "the cursor is back"
    assert b"Traceback" not in text


class OnceOnly(Resource):
    """A guard that answers the first question and hangs on the second."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[Any] = []
        self.hangs: Deferred[None] = Deferred()

    def render_GET(self, request: Any) -> Any:
        self.asked.append(request)
        if len(self.asked) == 1:
            return b'{"rooms": []}'
        self.hangs.callback(None)
        return NOT_DONE_YET


@pytest_twisted.ensureDeferred
async def test_ctrl_c_ends_it_also_while_the_guard_hangs(world: World) -> None:
    guard = OnceOnly()
    world.operators = f"http://127.0.0.1:{world._listen(0, Site(guard))}"
    terminal = Terminal(world, "--watch", "0.2")
    await guard.hangs
    started = time.monotonic()
    code, text, err = await deferToThread(terminal.interrupt)
    assert (code, err) == (0, b"")
    assert text.endswith(b"\x1b[?25h")
    assert time.monotonic() - started < 3.0, "it does not wait for the deadline"


@pytest_twisted.ensureDeferred
async def test_where_nobody_looks_it_prints_a_table_each_time(world: World) -> None:
    await busy(world)
    pipe = Terminal(world, "--watch", "0.2", is_terminal=False)
    await deferToThread(pipe.until, lambda text: text.count(b"Live rooms: 3") >= 2)
    code, text, err = await deferToThread(pipe.interrupt)
    assert (code, err) == (0, b"")
    assert b"\x1b" not in text
    assert text.count(b"as of ") >= 2


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("more", [(), ("--json",)])
async def test_who_has_read_enough_may_close_the_pipe(world: World, more: tuple[str, ...]) -> None:
    await busy(world)
    pipe = Terminal(world, "--watch", "0.2", *more, is_terminal=False)
    await deferToThread(pipe.until, lambda text: bool(text))
    code, err = await deferToThread(pipe.close)
    assert (code, err) == (1, b""), "as click ends at a closed pipe: no word of an interruption"


@pytest_twisted.ensureDeferred
async def test_watched_by_a_machine_it_is_a_json_object_a_line(world: World) -> None:
    await busy(world)
    pipe = Terminal(world, "--watch", "0.2", "--json", is_terminal=False)
    await deferToThread(pipe.until, lambda text: text.count(b"\n") >= 2)
    _, text, _ = await deferToThread(pipe.interrupt)
    for line in text.splitlines()[:2]:
        told = json.loads(line)
        assert len(told["rooms"]) == 3
        assert abs(told["at"] - time.time()) < 60
