"""A door in memory: an app of the test's own behind it, and connections of strings before it."""

from typing import Any

from attrs import define, field
from klein import Klein
from twisted.internet.address import IPv4Address
from twisted.internet.error import ConnectionDone
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.web.http_headers import Headers

from lotus_guard.overload.client_address import Origins, networks_of
from lotus_guard.overload.load_shedding import LoadShedding
from lotus_guard.web.answers import Answers
from lotus_guard.web.client_request import ClientRequest, Clients
from lotus_guard.web.door import Door, DoorSite
from lotus_guard.web.problems import Objections


@define
class Counted:
    """Traffic that is a list."""

    answers: list[tuple[str, int]] = field(factory=list)
    upstreams: list[Any] = field(factory=list)
    seconds: list[float] = field(factory=list)

    def answered(self, endpoint: str, status: int) -> None:
        self.answers.append((endpoint, status))

    def upstream_did(self, outage: Any) -> None:
        self.upstreams.append(outage)

    def added(self, seconds: float) -> None:
        self.seconds.append(seconds)


@define
class Recorded:
    """Records that are a list."""

    rulings: list[Any] = field(factory=list)
    observed: list[bool] = field(factory=list)

    def decided(self, ruling: Any, observed: bool = False, once: Any = None) -> str:
        self.rulings.append(ruling)
        self.observed.append(observed)
        return f"d{len(self.rulings)}"


class Page:
    """An app that does what the test says, and remembers what it was asked."""

    app = Klein()

    def __init__(self) -> None:
        self.asked: list[ClientRequest] = []
        self.does: Any = None
        self.trusted: int | None = None

    @app.route("/get_token", methods=["POST"])
    async def token(self, request: ClientRequest) -> None:
        await self.handle(request)

    @app.route("/", branch=True)
    async def rest(self, request: ClientRequest, **_rest: Any) -> None:
        await self.handle(request)

    async def handle(self, request: ClientRequest) -> None:
        self.asked.append(request)
        await self.does(request)

    def bound_of(self, target: bytes, headers: Headers) -> int | None:
        return self.trusted


class Connection(StringTransport):
    """A client's connection."""

    aborted = False

    def __init__(self, host: str) -> None:
        super().__init__(peerAddress=IPv4Address("TCP", host, 4000))

    def setTcpNoDelay(self, _enabled: bool) -> None:
        """Do nothing: nothing is sent."""

    def abortConnection(self) -> None:
        self.aborted = True


@define(eq=False)
class Standing:
    """The door, its app and what it tells."""

    page: Page = field(factory=Page)
    clock: Clock = field(factory=Clock)
    traffic: Counted = field(factory=Counted)
    records: Recorded = field(factory=Recorded)
    turned_away: list[None] = field(factory=list)
    door: Door = field(init=False)
    shedding: LoadShedding = field(init=False)
    answers: Answers = field(init=False)
    objections: Objections = field(init=False)
    site: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        now = self.clock.seconds
        self.shedding = LoadShedding(
            self.clock, now, 1.0, on_turned_away=lambda: self.turned_away.append(None)
        )
        self.answers = Answers(self.traffic)
        records: Any = self.records
        self.objections = Objections(records)
        self.door = Door(
            self.page,
            Clients(Origins(networks_of("loopback"))),
            self.shedding,
            self.answers,
            self.objections,
            lambda probe: probe == "genuine",
        )
        self.page.does = self.ok
        self.site = DoorSite(self.door)

    async def ok(self, request: ClientRequest) -> None:
        self.answers.finish(request, 200, None, Headers(), b"ok")

    def ask(
        self,
        target: bytes = b"/x",
        method: bytes = b"GET",
        body: bytes = b"",
        host: str = "192.0.2.1",
        headers: bytes = b"",
    ) -> tuple[Any, Connection]:
        """Make a request; gives the channel and the connection, which holds the answer."""
        connection = Connection(host)
        channel = self.site.buildProtocol(connection.getPeer())
        channel.makeConnection(connection)
        length = b"Content-Length: %d\r\n" % len(body) if body else b""
        head = b"%s %s HTTP/1.1\r\nHost: h\r\n%s%s\r\n" % (method, target, length, headers)
        channel.dataReceived(head + body)
        return channel, connection


def leave(channel: Any) -> None:
    """Let a client hang up."""
    channel.connectionLost(Failure(ConnectionDone()))
