"""The shared book on a real redis-server."""

import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet import reactor as any_reactor
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from lotus_guard.check.finding import Level
from lotus_guard.check.redis import check_redis_at
from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Bounds, Directory
from lotus_guard.core.model import Identity, LiveKitRoom, UserId
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.memory.redis_address import read_redis_address
from lotus_guard.memory.redis_connection import Redis
from lotus_guard.memory.redis_directory import RedisDirectory
from lotus_guard.memory.redis_keys import Keyspace
from lotus_guard.memory.redis_scripts import Script
from tests.contract.redis import ROOM, ClaimsContract, Guard, ScriptsContract, SeatsContract
from tests.real.processes import Process, free_port
from tests.real.redis import redis_server

pytestmark = pytest.mark.real
SLOW = Script(
    "slow",
    """
local begun = redis.call('TIME')
while true do
  local now = redis.call('TIME')
  if (now[1] - begun[1]) * 1000000 + now[2] - begun[2] > 1400000 then return 1 end
end
""",
)
reactor: Any = any_reactor


@define
class Reader:
    """Hears what is said on a channel."""

    channel: str = "t:news"
    heard: list[object] = field(factory=list)
    begun: int = 0

    def listen(self) -> None:
        self.begun += 1

    def hear(self, news: dict[str, Any]) -> None:
        self.heard.append(news)


class TestReal(ScriptsContract, SeatsContract, ClaimsContract):
    """The contracts on the real one."""

    @pytest.fixture(autouse=True)
    def running(self, tmp_path: Path) -> Iterator[None]:
        self.process: Process = redis_server(tmp_path)
        self.process.start()
        self.connections: list[Redis] = []
        try:
            yield
        finally:
            for connection in self.connections:
                pytest_twisted.blockon(connection.close())
            self.process.stop()

    async def connect(self, options: str = "") -> Redis:
        return await connected(self.process, self.connections, options)

    async def flush(self) -> None:
        await self.connections[0].command("FLUSHALL")

    @pytest_twisted.ensureDeferred
    async def test_a_paused_redis_costs_one_deadline_and_seats_are_united_later(self) -> None:
        one, two = [Guard(await self.connect(), name) for name in "ab"]
        assert await one.admit("ann", 3, one.server.now())
        self.process.pause()
        one.server.seconds = two.server.seconds = 0.5
        begun = reactor.seconds()
        for name in ("bob", "bob", "bob", "bob"):
            assert await one.admit(name, 3)
        assert reactor.seconds() - begun < 1.9, "four deadlines would be two seconds"
        assert await two.admit("carl", 3)
        self.process.go_on()
        await deferLater(reactor, 1.2, lambda: None)
        await one.taken()
        assert await two.taken() == ["@ann:s", "@bob:s", "@carl:s"]

    @pytest_twisted.ensureDeferred
    async def test_a_restarted_redis_is_found_again(self) -> None:
        one, two = [Guard(await self.connect(), name) for name in "ab"]
        assert await one.admit("ann", 1)
        assert not await two.admit("bob", 1)
        self.process.kill()
        assert await one.admit("ann", 1)
        self.process.start()
        for _ in range(100):
            await deferLater(reactor, 0.1, lambda: None)
            if await two.taken() and two.server.away_since is None:
                break
        await one.taken()
        assert await two.taken() == ["@ann:s"]
        assert not await two.admit("bob", 1)

    @pytest_twisted.ensureDeferred
    async def test_what_one_asks_for_in_vain_costs_nobody_else(self) -> None:
        one = await self.connect()
        one.seconds = 1.0
        await one.command("SET", "text", "x")
        for _ in range(5):
            with pytest.raises(Outage):
                await one.command("HSET", "text", "a", "b")
            assert await one.command("GET", "text") == "x"
        begun = reactor.seconds()
        with pytest.raises(Outage):
            await one.script(SLOW, [], [])
        # The neutral question is put behind it, and answered in time once it is done.
        await deferLater(reactor, 1.0, lambda: None)
        assert await one.command("GET", "text") == "x"
        assert one.away_since is None
        assert reactor.seconds() - begun < 6.0

    @pytest_twisted.ensureDeferred
    async def test_a_full_redis_is_away_though_it_answers(self) -> None:
        one = await self.connect()
        await one.command("CONFIG", "SET", "maxmemory", "1")
        with pytest.raises(Outage):
            await one.command("HSET", "h", "a", "b")
        await deferLater(reactor, 0.3, lambda: None)
        assert one.away_since is not None
        other = await self.connect_at_all()
        await other.command("CONFIG", "SET", "maxmemory", "0")
        await deferLater(reactor, 1.5, lambda: None)
        assert one.away_since is None
        assert await one.command("HSET", "h", "a", "b") == 1

    async def connect_at_all(self) -> Redis:
        """Connect to one that takes no writes."""
        redis = Redis(address(self.process), reactor, reactor.seconds, seconds=10.0)
        redis.start()
        self.connections.append(redis)
        await redis.connected()
        return redis

    @pytest_twisted.ensureDeferred
    async def test_what_falls_out_of_the_bounds_is_deleted(self) -> None:
        server = await self.connect()
        kept = RedisDirectory(Keyspace(server, "t:", "a"), reactor)
        directory = Directory(listener=kept, bounds=Bounds(rooms=3, identities=3))
        for number in range(8):
            livekit_room = LiveKitRoom(f"alias{number}")
            directory.learn_room(livekit_room, Binding(ROOM, f"{number}", Evidence.BELIEF))
            directory.learn_identity(Identity(f"i{number}"), UserId("@u:s"), livekit_room)
            await deferLater(reactor, 0.02, lambda: None)
        await deferLater(reactor, 1.0, lambda: None)
        left = {f"alias{number}" for number in (5, 6, 7)}
        assert set((await server.command("HGETALL", "t:aliases"))[::2]) == left
        found = await server.command("KEYS", "t:users:*")
        assert set(found) == {f"t:users:{livekit_room}" for livekit_room in left}

    @pytest_twisted.ensureDeferred
    async def test_its_clock_is_taken(self) -> None:
        one = await self.connect()
        seconds, _ = await one.command("TIME")
        assert abs(float(seconds) - (one.now() + one.clock_offset)) < 1.5

    @pytest_twisted.ensureDeferred
    async def test_news_is_heard(self) -> None:
        reader = Reader()
        one = await self.connect()
        two = Redis(address(self.process), reactor, one.now)
        self.connections.append(two)
        two.start(reader)
        for _ in range(100):
            await deferLater(reactor, 0.05, lambda: None)
            if await one.command("PUBLISH", "t:news", '{"a": 1}'):
                break
        await one.command("PUBLISH", "t:news", "no JSON")
        await one.command("PUBLISH", "t:news", '{"a": 2}')
        await deferLater(reactor, 0.2, lambda: None)
        assert reader.heard == [{"a": 1}, {"a": 2}]
        assert reader.begun == 1


def address(process: Process, options: str = "") -> Any:
    return read_redis_address(f"redis://127.0.0.1:{process.port}/{options}")


async def connected(process: Process, made: list[Redis], options: str = "") -> Redis:
    # Longer than the guard's own deadline: what is tested is not how busy this machine is.
    redis = Redis(address(process, options), reactor, reactor.seconds, seconds=10.0)
    redis.start()
    made.append(redis)
    for _ in range(200):
        try:
            await redis.command("PING")
            return redis
        except Outage:
            await deferLater(reactor, 0.05, lambda: None)
    raise AssertionError("not connected")


@pytest.fixture
def logged() -> Iterator[list[Any]]:
    seen: list[Any] = []

    @implementer(ILogObserver)
    def keep(event: Any) -> None:
        seen.append(event)

    globalLogPublisher.addObserver(keep)
    yield seen
    globalLogPublisher.removeObserver(keep)


@pytest_twisted.ensureDeferred
async def test_a_wrong_password_is_an_outage_that_shows_none(
    tmp_path: Path, logged: list[Any]
) -> None:
    process = redis_server(tmp_path, "--requirepass", "the-right-one")
    process.start()
    right, wrong = [
        Redis(
            read_redis_address(f"redis://:{word}@127.0.0.1:{process.port}"),
            reactor,
            reactor.seconds,
        )
        for word in ("the-right-one", "the-wrong-one")
    ]
    try:
        for redis in (right, wrong):
            redis.start()
        await deferLater(reactor, 1.0, lambda: None)
        assert await right.command("PING") == "PONG"
        with pytest.raises(Outage) as failed:
            await wrong.command("PING")
        assert failed.value.reason is Reason.REFUSED
        assert "the-wrong-one" not in str(failed.value) + repr(wrong) + str(logged)
    finally:
        for redis in (right, wrong):
            await redis.close()
        process.stop()


def certificate(directory: Path) -> tuple[Path, Path]:
    """Make a certificate for localhost that is its own authority."""
    key, chain = directory / "key.pem", directory / "chain.pem"
    command = [
        *("openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"),
        *("-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"),
        *("-keyout", str(key), "-out", str(chain)),
    ]
    subprocess.run(command, check=True, capture_output=True)
    return key, chain


@pytest_twisted.ensureDeferred
async def test_over_tls_the_certificate_is_verified(tmp_path: Path) -> None:
    key, chain = certificate(tmp_path)
    port = free_port()
    files = ["--tls-cert-file", str(chain), "--tls-key-file", str(key)]
    process = redis_server(
        tmp_path, "--tls-port", str(port), "--tls-auth-clients", "no", *files, "--requirepass", "pw"
    )
    process.start()
    base = f"rediss://:pw@localhost:{port}/0"
    trusting, wary = [
        Redis(read_redis_address(url), reactor, reactor.seconds)
        for url in (f"{base}?ca={chain}", base)
    ]
    try:
        for redis in (trusting, wary):
            redis.start()
        await deferLater(reactor, 1.5, lambda: None)
        assert await trusting.command("PING") == "PONG"
        with pytest.raises(Outage) as failed:
            await wary.command("PING")
        assert failed.value.reason is Reason.REFUSED
    finally:
        for redis in (trusting, wary):
            await redis.close()
        process.stop()


@pytest_twisted.ensureDeferred
async def test_the_check_says_what_is_wrong_with_redis(tmp_path: Path) -> None:
    process = redis_server(tmp_path, "--requirepass", "the-right-one")
    process.start()
    url = f"redis://:{{}}@127.0.0.1:{process.port}/0"
    try:
        (well,) = await check_redis_at(read_redis_address(url.format("the-right-one")), reactor)
        (shut,) = await check_redis_at(read_redis_address(url.format("the-wrong-one")), reactor)
    finally:
        process.stop()
    (gone,) = await check_redis_at(read_redis_address(url.format("the-right-one")), reactor)
    assert well.level in (Level.OK, Level.WARNING), "it is slow where the machine is busy"
    assert "Redis" in well.seen
    assert (shut.level, gone.level) == (Level.FAULT, Level.FAULT)
    assert "password" in shut.seen.lower() or "WRONGPASS" in shut.seen
    assert "connection refused" in gone.seen
    for finding in (shut, gone):
        assert "the-" not in finding.seen + finding.wanted


@pytest_twisted.ensureDeferred
async def test_the_check_tells_tls_from_none(tmp_path: Path, hole: int) -> None:
    key, chain = certificate(tmp_path)
    secured_port = free_port()
    files = ["--tls-cert-file", str(chain), "--tls-key-file", str(key)]
    process = redis_server(
        tmp_path, "--tls-port", str(secured_port), "--tls-auth-clients", "no", *files
    )
    process.start()
    plain, secured = f"localhost:{process.port}", f"localhost:{secured_port}"
    cases = {
        f"rediss://{plain}": ("speaks no TLS", "redis:// instead of rediss://"),
        f"redis://{secured}": ("want TLS", "rediss:// instead of redis://"),
        f"rediss://{secured}": ("verify failed", "?ca="),
        f"rediss://127.0.0.1:{secured_port}?ca={chain}": (
            "no TLS certificate that can be trusted",
            "?ca=",
        ),
        # As a Redis that hangs does: no reason to have its address changed.
        f"redis://127.0.0.1:{hole}": ("no answer in time", "the address of a running Redis"),
        f"rediss://127.0.0.1:{hole}": ("no answer in time", "the address of a running Redis"),
        "redis://no-such-host.invalid": ("does not resolve", "the address"),
    }
    try:
        for url, words in cases.items():
            (found,) = await check_redis_at(read_redis_address(url), reactor)
            print(f"\n  {found.seen}\n      change: {found.wanted}")
            assert found.level is Level.FAULT
            assert words[0] in found.seen
            assert words[1] in found.wanted
        url = f"rediss://{secured}?ca={chain}"
        (well,) = await check_redis_at(read_redis_address(url), reactor)
        assert well.level in (Level.OK, Level.WARNING)
    finally:
        process.stop()


@pytest.fixture
def hole() -> Iterator[int]:
    """The port of a server that takes connections and never says a word."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        sock.listen(8)
        yield sock.getsockname()[1]
