"""Each neighbour is reached by connections of its own, kept for a while and none for too long."""

import subprocess
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.endpoints import (
    HostnameEndpoint,
    TCP4ClientEndpoint,
    serverFromString,
)
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.ssl import Certificate
from twisted.internet.testing import MemoryReactorClock
from twisted.web.client import URI, BrowserLikePolicyForHTTPS, ResponseNeverReceived
from twisted.web.http_headers import Headers
from twisted.web.resource import Resource
from twisted.web.server import Site
from twisted.web.static import Data

from lotus_guard.neighbours.agents import CONNECT_SECONDS, KnownHosts
from lotus_guard.neighbours.agents import pooled_agents as make_agents
from lotus_guard.neighbours.bodies import BytesBody
from lotus_guard.neighbours.connection_pool import Pool
from tests.neighbours.answering import outcome_of
from tests.world import http_answer, reactor

OPENSSL = (
    *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=localhost"),
    *("-addext", "subjectAltName=DNS:localhost"),
)


@define(eq=False)
class Server:
    """Answers `ok` to each request, and knows how many connections there were."""

    connections: int = 0
    logged: list[Any] = field(factory=list)
    port: Any = field(init=False)

    def __attrs_post_init__(self) -> None:
        server = self

        class Answers(Protocol):
            def connectionMade(self) -> None:
                server.connections += 1

            def dataReceived(self, data: bytes) -> None:
                self.transport.write(http_answer(b"ok"))  # type: ignore[union-attr]

        self.port = reactor.listenTCP(0, Factory.forProtocol(Answers), interface="127.0.0.1")

    @property
    def url(self) -> bytes:
        return b"http://127.0.0.1:%d" % self.port.getHost().port


async def content(agent: Any, url: bytes) -> bytes:
    from treq import content

    return bytes(await content(await agent.request(b"GET", url, Headers())))


@pytest_twisted.ensureDeferred
async def test_a_neighbour_with_tls_is_asked_by_it_again_and_again(tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [*OPENSSL, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    where = f"ssl:0:interface=127.0.0.1:privateKey={key}:certKey={certificate}"
    root = Resource()
    root.putChild(b"x", Data(b"ok", "text/plain"))
    listening = await serverFromString(reactor, where).listen(Site(root))
    url, agents = b"https://localhost:%d/x" % listening.getHost().port, make_agents(reactor)
    with pytest.raises(ResponseNeverReceived):
        await content(agents.synapse, url)
    trusted = Certificate.loadPEM(certificate.read_bytes())
    agents.livekit._tls = BrowserLikePolicyForHTTPS(trustRoot=trusted)
    for _ in range(2):
        assert await content(agents.livekit, url) == b"ok"
    await agents.close()
    await listening.stopListening()


@pytest_twisted.ensureDeferred
async def test_a_connection_serves_one_request_after_the_other() -> None:
    server, agents = Server(), make_agents(reactor)
    for _ in range(3):
        assert await content(agents.synapse, server.url + b"/x") == b"ok"
    assert server.connections == 1
    assert await content(agents.livekit, server.url) == b"ok"
    assert server.connections == 2, "another neighbour's pool is another"
    await agents.close()
    await server.port.stopListening()


def test_what_could_break_out_of_its_line_is_no_url() -> None:
    agent = make_agents(reactor).upstream
    for url in (b"http://h/a b", b"http://h/\r\nX: y", b"http://h/\xff", b""):
        with pytest.raises(ValueError, match="not a URL"):
            agent.request(b"GET", url)


def connected(uri: bytes) -> Any:
    """What an agent connects to for a URL."""
    clock = MemoryReactorClock()
    agent = KnownHosts(clock, Pool(clock, 1))
    return agent._endpoint(URI.fromBytes(uri))


def test_an_address_is_not_looked_up() -> None:
    """Twisted's HostnameEndpoint takes 0.3 s to believe that a connection was refused."""
    assert isinstance(connected(b"http://127.0.0.1:8008/"), TCP4ClientEndpoint)
    assert isinstance(connected(b"http://localhost:8008/"), HostnameEndpoint)


def test_tls_is_for_https_alone() -> None:
    assert "Wrapper" in type(connected(b"https://127.0.0.1/")).__name__
    assert "Wrapper" not in type(connected(b"http://127.0.0.1/")).__name__


def test_nobody_waits_long_for_a_connection() -> None:
    clock = MemoryReactorClock()
    found = outcome_of(KnownHosts(clock, Pool(clock, 1)).request(b"GET", b"http://192.0.2.1/"))
    assert [client[3] for client in clock.tcpClients] == [CONNECT_SECONDS]
    assert found == []


@pytest.mark.parametrize(
    ("url", "host"),
    [
        (b"http://192.0.2.1/x", b"192.0.2.1"),
        (b"http://192.0.2.1:8008/x", b"192.0.2.1:8008"),
        (b"http://192.0.2.1:443/x", b"192.0.2.1:443"),
        (b"https://192.0.2.1/x", b"192.0.2.1"),
        (b"http://[2001:db8::1]:8008/x", b"[2001:db8::1]:8008"),
    ],
)
def test_a_host_is_named_as_twisteds_own_agent_names_it(url: bytes, host: bytes) -> None:
    clock = MemoryReactorClock()
    assert KnownHosts(clock, Pool(clock, 1))._parsed(url[: -len(b"/x")]).field == host


@pytest_twisted.ensureDeferred
async def test_a_request_goes_out_whole() -> None:
    heard = list[bytes]()

    class Listens(Protocol):
        def dataReceived(self, data: bytes) -> None:
            heard.append(data)
            self.transport.write(http_answer(b"ok"))  # type: ignore[union-attr]

    port: Any = reactor.listenTCP(0, Factory.forProtocol(Listens), interface="127.0.0.1")
    agents, number = make_agents(reactor), port.getHost().port
    url, headers = b"http://127.0.0.1:%d/x?y" % number, Headers({b"A": [b"b"]})
    await agents.upstream.request(b"POST", url, headers, BytesBody(b"body"))
    said = b"POST /x?y HTTP/1.1\r\nContent-Length: 4\r\nHost: 127.0.0.1:%d\r\nA: b\r\n\r\nbody"
    assert heard == [said % number]
    await agents.close()
    await port.stopListening()


@pytest_twisted.ensureDeferred
async def test_an_answer_longer_than_one_read_comes_whole_and_its_connection_serves_on() -> None:
    long, connections = b"x" * 500_000, list[Any]()

    class Answers(Protocol):
        def connectionMade(self) -> None:
            connections.append(self)

        def dataReceived(self, data: bytes) -> None:
            self.transport.write(http_answer(long))  # type: ignore[union-attr]

    port: Any = reactor.listenTCP(0, Factory.forProtocol(Answers), interface="127.0.0.1")
    agents, url = make_agents(reactor), b"http://127.0.0.1:%d/" % port.getHost().port
    for _ in range(3):
        assert await content(agents.synapse, url) == long
    assert len(connections) == 1
    await agents.close()
    await port.stopListening()
