"""The status page's server over a state that the test changes, and those who look at it."""

import copy
import json
from typing import Any

from attrs import define, field
from klein import Klein
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure

from lotus_guard.overload.http_limits import BoundedRequest, QuietSite
from lotus_guard.web.status.pages import NAMES, Pages
from lotus_guard.web.status.stream import Stream

EPOCH = 1_790_000_000.0


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
class Watched:
    """A stream over a state that the test changes."""

    clock: Clock = field(factory=Clock)
    rooms: list[dict[str, Any]] = field(factory=list)
    decisions: list[dict[str, Any]] = field(factory=list)
    dependencies: list[dict[str, Any]] = field(factory=list)
    hour: list[dict[str, Any]] = field(factory=list)
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
                "hour": self.hour,
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
