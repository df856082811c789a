"""The status page's server: what viewers are told, and that they cost no more than they should."""

import copy
import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from klein import Klein
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from lotus_guard.overload.http_limits import BoundedRequest, QuietSite
from lotus_guard.run.live_service import STOP_SECONDS
from lotus_guard.sandbox.stack import VOICE
from lotus_guard.web.status.pages import NAMES, Pages
from lotus_guard.web.status.picture import MOST_TEXT
from lotus_guard.web.status.stream import HEARTBEAT_SECONDS, MOST_VIEWERS, STUCK_SECONDS, Stream
from tests.real.processes import ROOT, Process, free_port
from tests.test_docs import GOOD
from tests.test_tap import TWISTD
from tests.world import World

EPOCH = 1_790_000_000.0
ALLOWED = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self'",
    "connect-src": "'self'",
    "frame-ancestors": "'none'",
    "base-uri": "'none'",
    "form-action": "'none'",
    "require-trusted-types-for": "'script'",
    "trusted-types": "'none'",
}
"""The whole policy, written out: a test that asks the code for it lets the code weaken it."""


def room(number: int, **more: Any) -> dict[str, Any]:
    return {"room": f"!{number}:s", "name": None, "people": 1, "users": ["@a:s"], **more}


def decision(number: int) -> dict[str, Any]:
    return {"id": f"d{number}", "at": EPOCH, "kind": "refused", "why": "full", "inputs": {}}


def dependency(name: str, age: float | None, state: str = "ok") -> dict[str, Any]:
    return {"name": name, "state": state, "age": age, "detail": ""}


class Transport(StringTransport):
    """A connection that notes whether it was cut."""

    aborted = False

    def abortConnection(self) -> None:
        self.aborted = True


@define(eq=False)
class Page:
    """One viewer: a real HTTP channel on a connection in memory."""

    channel: Any
    transport: Transport

    def raw(self) -> bytes:
        written: bytes = self.transport.value()
        return written

    def head(self) -> tuple[int, dict[str, str]]:
        lines = self.raw().partition(b"\r\n\r\n")[0].decode().split("\r\n")
        pairs = (line.partition(": ") for line in lines[1:])
        return int(lines[0].split()[1]), {name.lower(): value for name, _, value in pairs}

    def body(self) -> str:
        return self.raw().partition(b"\r\n\r\n")[2].decode()

    def told(self) -> list[tuple[str, Any]]:
        """Read the events as a browser does, and forget them."""
        found = []
        for block in self.body().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.split("\n") if line)
            if "event" in fields:
                found.append((fields["event"], json.loads(fields["data"])))
        self.transport.clear()
        self.transport.write(b"\r\n\r\n")
        return found

    def leave(self) -> None:
        self.channel.connectionLost(Failure(ConnectionDone()))

    def stop_reading(self) -> None:
        self.transport.producer.pauseProducing()  # type: ignore[union-attr]

    def read_on(self) -> None:
        self.transport.producer.resumeProducing()  # type: ignore[union-attr]


@define(eq=False)
class OperatorDeps:
    """A stream over a state that the test changes."""

    clock: Clock = field(factory=Clock)
    rooms: list[dict[str, Any]] = field(factory=list)
    decisions: list[dict[str, Any]] = field(factory=list)
    dependencies: list[dict[str, Any]] = field(factory=list)
    looks: int = 0
    broken: bool = False
    stream: Stream = field(init=False)
    site: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.stream = Stream(self.snapshot, self.clock, lambda: EPOCH + self.clock.seconds())
        pages, app = Pages(self.stream), Klein()

        @app.route(f"/status/<any{NAMES}:name>", methods=["GET"])
        def status(request: Any, name: str) -> Any:
            return pages.serve(request, name)

        self.site = QuietSite(app.resource(), requestFactory=BoundedRequest, reactor=self.clock)

    def snapshot(self) -> dict[str, Any]:
        self.looks += 1
        if self.broken:
            raise ValueError("on purpose")
        return copy.deepcopy(
            {
                "guard": {"instance": "i"},
                "rooms": self.rooms,
                "decisions": self.decisions,
                "dependencies": self.dependencies,
            }
        )

    def open(self, name: str = "events", method: str = "GET", headers: str = "") -> Page:
        channel, transport = self.site.buildProtocol(None), Transport()
        channel.makeConnection(transport)
        request = f"{method} /status/{name} HTTP/1.0\r\nHost: localhost\r\n{headers}\r\n"
        channel.dataReceived(request.encode())
        return Page(channel, transport)

    def tick(self, times: int = 1) -> None:
        for _ in range(times):
            self.clock.advance(1.0)


def policy(header: str) -> dict[str, str]:
    """Read a content security policy; of a directive named twice, a browser takes the first."""
    pairs = (part.strip().partition(" ") for part in header.split(";"))
    directives = [(name, value) for name, _, value in pairs]
    assert len(directives) == len(dict(directives))
    return dict(directives)


@pytest.fixture
def desk() -> OperatorDeps:
    return OperatorDeps(rooms=[room(1), room(2)], dependencies=[dependency("synapse", None)])


def test_a_viewer_is_told_everything_at_once(desk: OperatorDeps) -> None:
    desk.dependencies = [dependency("synapse", 2.0)]
    desk.decisions = [decision(1)]
    page = desk.open()
    status, headers = page.head()
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    assert "retry: 2000\n" in page.body()
    ((name, hello),) = page.told()
    assert name == "hello"
    assert hello == {
        "now": EPOCH,
        "guard": {"instance": "i"},
        "rooms": desk.rooms,
        "decisions": desk.decisions,
        "dependencies": [
            {"name": "synapse", "state": "ok", "since": EPOCH - 2.0, "detail": ""},
        ],
    }


def test_then_only_what_changed(desk: OperatorDeps) -> None:
    page = desk.open()
    page.told()
    desk.rooms = [room(1), room(2, people=3), room(3)]
    desk.decisions = [decision(2), decision(1)]
    desk.tick()
    assert page.told() == [
        ("rooms", {"changed": [room(2, people=3), room(3)], "gone": []}),
        ("decisions", {"new": [decision(2), decision(1)]}),
    ]
    desk.rooms = [room(3)]
    desk.decisions = [decision(3), decision(2)]
    desk.tick()
    assert page.told() == [
        ("rooms", {"changed": [], "gone": ["!1:s", "!2:s"]}),
        ("decisions", {"new": [decision(3)]}),
    ]


def test_nothing_is_said_because_time_passes(desk: OperatorDeps) -> None:
    desk.dependencies = [dependency("synapse", 2.0)]
    page = desk.open()
    page.told()
    for second in range(1, 11):
        # Ages are rounded, and read a little after the clock: the moment wavers.
        desk.dependencies = [dependency("synapse", 2.0 + second + (0.3 if second % 2 else -0.3))]
        desk.tick()
    assert page.told() == []
    desk.dependencies = [dependency("synapse", 0.5)]
    desk.tick()
    ((name, told),) = page.told()
    assert (name, told[0]["since"]) == ("dependencies", EPOCH + 10.5)


@pytest.mark.parametrize("state", ["trouble", "unknown"])
def test_a_state_that_changes_is_told(desk: OperatorDeps, state: str) -> None:
    page = desk.open()
    page.told()
    desk.dependencies = [dependency("synapse", None, state)]
    desk.tick()
    expected = {"name": "synapse", "state": state, "since": None, "detail": ""}
    assert page.told() == [("dependencies", [expected])]


def test_a_heartbeat_is_a_comment_and_an_event(desk: OperatorDeps) -> None:
    page = desk.open()
    page.told()
    desk.tick(int(HEARTBEAT_SECONDS) - 1)
    assert page.body() == ""
    desk.tick()
    assert page.body().startswith(": ")
    assert page.told() == [("beat", {"now": EPOCH + HEARTBEAT_SECONDS})]


def test_one_look_a_tick_for_all_and_none_for_nobody(desk: OperatorDeps) -> None:
    desk.tick(5)
    assert desk.looks == 0
    pages = [desk.open() for _ in range(5)]
    assert desk.looks == 1
    desk.tick(3)
    assert desk.looks == 4
    for page in pages:
        page.leave()
    desk.tick(5)
    assert desk.looks == 4
    assert desk.clock.getDelayedCalls() == []


def test_who_comes_later_is_told_what_the_others_know(desk: OperatorDeps) -> None:
    first = desk.open()
    desk.rooms = [room(7)]
    later = desk.open()
    desk.tick()
    for page in (first, later):
        events = page.told()
        assert [name for name, _ in events] == ["hello", "rooms"]
        assert events[1][1] == {"changed": [room(7)], "gone": ["!1:s", "!2:s"]}


def test_the_seventeenth_is_told_why(desk: OperatorDeps) -> None:
    pages = [desk.open() for _ in range(MOST_VIEWERS)]
    refused = desk.open()
    assert refused.head()[0] == 503
    assert "Close one of them" in refused.body()
    pages[0].leave()
    assert desk.open().head()[0] == 200


def test_who_does_not_read_is_skipped_then_told_everything(desk: OperatorDeps) -> None:
    slow, quick = desk.open(), desk.open()
    slow.told(), quick.told()
    slow.stop_reading()
    for people in range(10):
        desk.rooms = [room(1, people=people)]
        desk.tick()
    assert len(quick.told()) == 10
    assert slow.body() == ""
    slow.read_on()
    desk.tick()
    ((name, hello),) = slow.told()
    assert (name, hello["rooms"]) == ("hello", desk.rooms)
    assert quick.told() == []


def test_who_missed_nothing_is_not_told_everything_again(desk: OperatorDeps) -> None:
    page = desk.open()
    page.told()
    page.stop_reading()
    desk.tick(3)
    page.read_on()
    desk.tick()
    assert page.told() == []


def test_who_never_reads_is_dropped(desk: OperatorDeps) -> None:
    page = desk.open()
    page.stop_reading()
    desk.tick(int(STUCK_SECONDS) - 1)
    assert not page.transport.aborted
    page.read_on()
    page.stop_reading()
    desk.tick(int(STUCK_SECONDS))
    assert page.transport.aborted
    page.leave()
    assert desk.clock.getDelayedCalls() == []


def test_a_look_that_fails_is_said_once_and_survived(desk: OperatorDeps) -> None:
    page = desk.open()
    page.told()
    desk.broken = True
    desk.tick(3)
    assert [name for name, _ in page.told()] == ["trouble"]
    later = desk.open()
    assert [name for name, _ in later.told()] == ["trouble"]
    desk.broken = False
    desk.tick()
    assert [name for name, _ in page.told()] == ["beat"]
    assert [name for name, _ in later.told()] == ["hello"]


def test_who_comes_in_trouble_is_told_all_when_it_is_over(desk: OperatorDeps) -> None:
    desk.broken = True
    page = desk.open()
    desk.tick(2)
    assert [name for name, _ in page.told()] == ["trouble"]
    desk.broken = False
    desk.rooms = [room(4)]
    desk.tick()
    ((name, hello),) = page.told()
    assert (name, hello["rooms"]) == ("hello", desk.rooms)


def test_texts_are_bounded_and_stay_different(desk: OperatorDeps) -> None:
    long = "!" + "x" * 10_000
    desk.rooms = [room(0, room=long + str(n), name=long, users=[long]) for n in range(2)]
    desk.decisions = [{**decision(1), "room": long, "inputs": {"a": [long]}, "user": None}]
    page = desk.open()
    assert len(page.body()) < 12 * MOST_TEXT
    ((_, hello),) = page.told()
    assert len({each["room"] for each in hello["rooms"]}) == 2
    assert hello["decisions"][0]["inputs"]["a"][0].startswith("!xxx")


def test_hostile_text_stays_within_its_event(desk: OperatorDeps) -> None:
    name = "\n\ndata: x\n\nevent: hello\r\u2028\x00\ud800</script>"
    desk.rooms = [room(1, name=name)]
    page = desk.open()
    ((_, hello),) = page.told()
    assert hello["rooms"][0]["name"] == name


def test_closing_ends_the_streams_and_takes_no_more(desk: OperatorDeps) -> None:
    pages = [desk.open() for _ in range(3)]
    desk.stream.close()
    assert all(page.transport.disconnecting for page in pages)
    assert desk.clock.getDelayedCalls() == []
    refused = desk.open()
    assert (refused.head()[0], refused.body()) == (503, "The guard is about to stop.\n")


def test_another_sites_page_takes_no_place(desk: OperatorDeps) -> None:
    assert desk.open(headers="Sec-Fetch-Site: cross-site\r\n").head()[0] == 403
    assert desk.open(headers="Sec-Fetch-Site: same-origin\r\n").head()[0] == 200


def test_a_head_request_takes_no_place(desk: OperatorDeps) -> None:
    page = desk.open(method="HEAD")
    assert (page.head()[0], desk.looks) == (200, 0)


@pytest.mark.parametrize("name", NAMES)
def test_every_answer_is_guarded_by_its_headers(desk: OperatorDeps, name: str) -> None:
    status, headers = desk.open(name).head()
    assert status == 200
    assert policy(headers["content-security-policy"]) == ALLOWED
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["cache-control"] == "no-store"


def test_nothing_is_inline() -> None:
    page = OperatorDeps().open("page.html").body()
    assert "<style" not in page
    assert " style=" not in page
    assert "<script>" not in page
    assert not any(f" {event}=" in page for event in ("onload", "onclick", "onerror"))


@pytest_twisted.ensureDeferred
async def test_the_guard_shows_it_on_the_operators_port(world: World) -> None:
    world.start_guard()
    page = await world.request("GET", "/", base=world.desk)
    assert (page.status, page.headers["Content-Type"]) == (200, "text/html; charset=utf-8")
    for name in ("page.css", "page.js", "icon.svg"):
        assert (await world.request("GET", f"/status/{name}", base=world.desk)).status == 200
    for name in ("page.html2", "..%2fadmin.py", "__init__.py"):
        assert (await world.request("GET", f"/status/{name}", base=world.desk)).status == 404


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("path", ["/", "/status/events", "/status/page.js"])
async def test_it_is_not_shown_under_a_strangers_name(world: World, path: str) -> None:
    world.start_guard()
    got = await world.request("GET", path, headers={"Host": "rebound.example"}, base=world.desk)
    assert got.status == 421


@pytest_twisted.ensureDeferred
async def test_the_public_port_does_not_show_it(world: World) -> None:
    world.start_guard()
    assert (await world.request("GET", "/status/page.js")).status == 404


@pytest_twisted.ensureDeferred
async def test_an_open_stream_tells_of_the_guard_and_ends_with_it(world: World) -> None:
    world.start_guard()
    waiting: Deferred[Any] = ensureDeferred(world.request("GET", "/status/events", base=world.desk))
    await world.ask("alice", VOICE)
    world.guard.operators.close()
    got = await waiting
    assert b"event: hello" in got.body
    assert b'"rules":{"limit":"enforce"' in got.body


def test_an_open_page_does_not_hold_up_an_orderly_end(tmp_path: Path) -> None:
    public, desk = free_port(), free_port()
    command = [TWISTD, "--nodaemon", "--pidfile=", "lotus-guard"]
    environment = {
        **GOOD,
        "PYTHONPATH": str(ROOT),
        "LOTUS_GUARD_LISTEN": f"tcp:{public}:interface=127.0.0.1",
        "LOTUS_GUARD_ADMIN_LISTEN": f"tcp:{desk}:interface=127.0.0.1",
    }
    guard = Process("guard", command, tmp_path, desk, environment)
    guard.start()
    try:
        with socket.create_connection(("127.0.0.1", desk), 10.0) as viewer:
            viewer.sendall(b"GET /status/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            got = b""
            while b"event: hello" not in got:
                got += viewer.recv(65536)
            begun = time.monotonic()
            guard.stop()
            took = time.monotonic() - begun
            while more := viewer.recv(65536):
                got += more
    finally:
        guard.kill()
    assert took < STOP_SECONDS
    assert got.endswith(b"\r\n0\r\n\r\n"), "the answer was ended, not cut off"
    assert "Traceback" not in guard.text()
