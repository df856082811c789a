"""The ports: alone, beside other workers, or on systemd's sockets."""

import socket
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.web.resource import Resource
from twisted.web.server import Site

from lotus_guard.run.listeners import BACKLOG, PUBLIC, PoliteListener, SharedEndpoint, listener
from lotus_guard.run.systemd import HandedOver
from tests.real.processes import free_port
from tests.world import reactor


class Backlogs:
    """A reactor that writes down how it is to listen."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def listenTCP(self, port: int, _factory: Any, backlog: int, interface: str) -> Any:
        self.asked.append((port, backlog))


@pytest.mark.parametrize(
    ("endpoint", "backlog"), [("tcp:8070", BACKLOG), ("tcp:8070:backlog=7", 7)]
)
def test_many_may_connect_at_once(endpoint: str, backlog: int) -> None:
    fake = Backlogs()
    listener(fake, PUBLIC, endpoint, Site(Resource()), {}).privilegedStartService()
    assert fake.asked == [(8070, backlog)]


async def port_of(service: PoliteListener) -> int:
    service.privilegedStartService()
    waiting: Any = service._waitingForPort
    number: int = (await waiting).getHost().port
    return number


@pytest_twisted.ensureDeferred
async def test_a_socket_that_was_handed_over_wins() -> None:
    held = socket.create_server(("127.0.0.1", 0))
    number = held.getsockname()[1]
    sockets = {PUBLIC: HandedOver(held.detach(), socket.AF_INET)}  # the endpoint closes it
    wanted = f"tcp:{free_port()}:interface=127.0.0.1"
    service: Any = listener(reactor, PUBLIC, wanted, Site(Resource()), sockets)
    assert await port_of(service) == number
    await service.stopService()


def test_a_port_that_is_taken_is_an_error_at_the_start() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        service = listener(reactor, PUBLIC, wanted, Site(Resource()), {})
        with pytest.raises(CannotListenError):
            service.privilegedStartService()


class Greeting(Protocol):
    def connectionMade(self) -> None:
        self.transport.loseConnection()  # type: ignore[union-attr]


@pytest_twisted.ensureDeferred
async def test_two_listen_on_one_port_each_with_a_socket_of_its_own() -> None:
    wanted = f"tcp:{free_port()}:interface=127.0.0.1"
    ports = [
        await SharedEndpoint(reactor, wanted).listen(Factory.forProtocol(Greeting))
        for _ in range(2)
    ]
    assert ports[0].getHost() == ports[1].getHost()
    assert ports[0].fileno() != ports[1].fileno()
    for port in ports:
        await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_one_that_shares_nothing_keeps_the_port_to_itself() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        wanted = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
        with pytest.raises(CannotListenError):
            await SharedEndpoint(reactor, wanted).listen(Factory.forProtocol(Greeting))


@pytest_twisted.ensureDeferred
async def test_what_is_no_port_cannot_be_shared() -> None:
    with pytest.raises(CannotListenError):
        await SharedEndpoint(reactor, "unix:/run/guard.sock").listen(Factory())


@pytest_twisted.ensureDeferred
async def test_who_has_knocked_is_let_in_before_the_port_closes() -> None:
    came: list[object] = []

    class Counting(Factory):
        def buildProtocol(self, _address: object) -> Protocol:
            came.append(None)
            return Greeting()

    service = PoliteListener(
        SharedEndpoint(reactor, f"tcp:{free_port()}:interface=127.0.0.1"), Counting()
    )
    number = await port_of(service)
    knocking = [socket.create_connection(("127.0.0.1", number)) for _ in range(50)]
    assert came == [], "the reactor has not turned since"
    await service.stopService()
    assert len(came) == 50
    for sock in knocking:
        sock.close()
    await deferLater(reactor, 0.0, lambda: None)
