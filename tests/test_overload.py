"""More than the guard, or a neighbour, can take: on real sockets, in this process."""

import time
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults
from twisted.internet.endpoints import TCP4ClientEndpoint
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from lotus_guard.core.model import RoomId, Source
from lotus_guard.neighbours.bulkhead import Bulkhead
from lotus_guard.overload.client_address import Origin
from lotus_guard.overload.connections import Connections
from lotus_guard.overload.fair_share import Bounds
from lotus_guard.overload.load_shedding import TOKENS
from lotus_guard.rules import RULES, by_event
from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from lotus_guard.web.client_request import BLIND_REQUESTS
from lotus_guard.web.door import SLOW_SECONDS
from tests.calls import join
from tests.events import JUDGING, SOURCES_EVENT
from tests.real.processes import free_port
from tests.recorder import CORS
from tests.world import FAST, Got, World, http_answer, reactor, token_request


async def ask_as(world: World, address: str, room: str = VOICE, name: str = "alice") -> Got:
    headers = {"X-Real-IP": address} if address else {}
    return await world.request("POST", "/sfu/get", token_request(name, room), headers)


def sample(world: World, name: str, **labels: str) -> float:
    found = world.guard.metrics.registry.get_sample_value(f"lotus_guard_{name}", labels)
    return found or 0.0


async def soon(what: Any) -> None:
    for _ in range(300):
        if what():
            return
        await deferLater(reactor, 0.01, lambda: None)
    raise AssertionError("not within three seconds")


# Fairness.


@pytest_twisted.ensureDeferred
async def test_over_its_share_an_address_is_refused_and_others_are_served(world: World) -> None:
    world.start_guard(LOTUS_GUARD_UPSTREAM=world.serve(), LOTUS_GUARD_MODE="observe")
    shares = world.guard.public.load.requests.shares
    shares.bounds = Bounds(most=4, each=4, crowd=4, line=2, waiting=4, cap=4)
    asked = [ensureDeferred(ask_as(world, "192.0.2.1")) for _ in range(4)]
    await soon(lambda: shares.used == 2 and shares.waiting == 2)
    begun = time.monotonic()
    got = await ask_as(world, "192.0.2.1")
    assert time.monotonic() - begun >= SLOW_SECONDS
    assert got.status == 429
    assert got.headers[CORS] == "*"
    assert got.headers["Content-Type"] == "application/json"
    assert got.json()["errcode"] == "M_LIMIT_EXCEEDED"
    assert got.json()["retry_after_ms"] > 0
    assert sample(world, "turned_away_total") == 1.0
    assert sample(world, "requests_total", endpoint="/sfu/get", status="429") == 1.0
    other = ensureDeferred(ask_as(world, "192.0.2.2"))
    await soon(lambda: shares.has(Origin("192.0.2.2")) == 1)
    for each in [*asked, other]:
        each.addErrback(lambda _: None)
        each.cancel()
    await soon(lambda: shares.used == shares.waiting == 0)


@pytest_twisted.ensureDeferred
async def test_a_long_body_takes_more_of_the_line(world: World) -> None:
    world.start_guard(LOTUS_GUARD_UPSTREAM=world.serve())
    shares = world.guard.public.load.requests.shares
    shares.bounds = Bounds(most=2, each=2, crowd=2, line=20, waiting=40, cap=2)
    headers = {"X-Real-IP": "192.0.2.1"}
    first = ensureDeferred(ask_as(world, "192.0.2.1"))
    await soon(lambda: shares.used == 1)
    got = await world.request("POST", "/other", b"x" * 60_000, headers)
    assert got.status == 429
    second = ensureDeferred(world.request("POST", "/other", b"x" * 20_000, headers))
    await soon(lambda: shares.waiting == 10)
    for each in (first, second):
        each.addErrback(lambda _: None)
        each.cancel()
    await soon(lambda: shares.used == shares.waiting == 0)


@pytest.mark.parametrize("named", [False, True])
@pytest_twisted.ensureDeferred
async def test_a_proxy_that_names_nobody_is_told_of_once(world: World, named: bool) -> None:
    world.start_guard(
        LOTUS_GUARD_UPSTREAM=world.serve(http_answer(b"{}")), LOTUS_GUARD_DEADLINE="0.3"
    )
    said: list[Any] = []

    @implementer(ILogObserver)
    def observer(event: Any) -> None:
        said.append(event)

    globalLogPublisher.addObserver(observer)
    try:
        await ask_as(world, "192.0.2.1" if named else "")
        for _ in range(BLIND_REQUESTS + 10):
            await ask_as(world, "")
    finally:
        globalLogPublisher.removeObserver(observer)
    lines = [event for event in said if "does not name its clients" in str(event.get("log_format"))]
    assert len(lines) == (0 if named else 1)


# Back-pressure.


def shed_reason(world: World) -> None:
    """Make the guard late, and have many ask."""
    pressure = world.guard.public.load
    for number in range(20):
        pressure.arrivals.count(Origin(f"198.51.100.{number}"), pressure.now())
    pressure.lag._due = pressure.now() - 60.0


@pytest_twisted.ensureDeferred
async def test_what_went_out_unguarded_is_mended_by_the_next_pass(world: World) -> None:
    world.start_guard()
    shed_reason(world)
    participant = await join(world, "alice", VOICE)
    assert (await ask_as(world, "192.0.2.1")).sources is None
    reasons = {reason for _, reason in world.fail_opens()}
    assert reasons == {"overload"}
    assert list(participant.permission.can_publish_sources) == []
    await world.guard.live.run_pass()
    allowed = list(participant.permission.can_publish_sources)
    assert allowed != []
    assert Source.CAMERA not in allowed


@pytest_twisted.ensureDeferred
async def test_who_got_in_by_it_is_counted(world: World) -> None:
    world.start_guard()
    shed_reason(world)
    for name in ("alice", "bob"):
        assert (await ask_as(world, "192.0.2.1", TWO, name)).status == 200
    world.guard.public.load.lag._due = None
    assert (await ask_as(world, "192.0.2.1", TWO, "carol")).status == 403


@pytest_twisted.ensureDeferred
async def test_one_address_however_late_it_makes_the_guard_is_guarded(world: World) -> None:
    world.start_guard()
    world.guard.public.load.lag._due = world.guard.public.load.now() - 60.0
    for _ in range(30):
        assert (await ask_as(world, "192.0.2.1")).sources == ["microphone"]
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_work_that_is_no_request_is_that_of_whoever_makes_it(world: World) -> None:
    """Else one client could make the guard late by it, and a few others' requests be to blame."""
    world.start_guard(LOTUS_GUARD_TRUSTED_PROXIES="127.0.0.1")
    port = int(world.url.rpartition(":")[2])
    load = world.guard.public.load
    made = []
    for _ in range(30):
        trickle = Factory.forProtocol(Protocol)
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port, bindAddress=("127.0.0.9", 0))
        connection: Any = await endpoint.connect(trickle)
        connection.transport.write(b"POST / HTTP/1.1\r\nX-A: ")
        made.append(connection.transport)
    for number in range(10):
        await world.request("GET", "/", b"", {"X-Real-IP": f"198.51.100.{number}"})
    load.lag._due = load.now() - 60.0
    assert (await ask_as(world, "192.0.2.1")).sources == ["microphone"]
    assert world.fail_opens() == {}
    for transport in made:
        transport.abortConnection()


@pytest_twisted.ensureDeferred
async def test_invented_rooms_of_one_address_do_not_fill_synapses_line(world: World) -> None:
    """It waits its turn, before the deadline begins: nothing goes out for it."""
    world.start_guard(LOTUS_GUARD_DEADLINE="2.0")
    requests = [ask_as(world, "192.0.2.1", f"!no{number}:sandbox") for number in range(150)]
    asked = gatherResults([ensureDeferred(each) for each in requests])
    tokens = world.guard.public.load.tokens.shares
    most = 0
    while not asked.called:
        most = max(most, tokens.used)
        await deferLater(reactor, 0.002, lambda: None)
    assert {got.status for got in await asked} == {200}
    assert 0 < most <= TOKENS.each
    assert world.fail_opens() == {}


# The lines before a neighbour, and its breaker.


def ways(world: World) -> tuple[Any, Any]:
    """Return the lines before Synapse: of tokens, and of the background."""
    limits = world.guard.live.candidates.policies.of("limit").events
    tokens: Any = limits.homeserver
    later: Any = limits.background
    return tokens.each[0].http, later.each[0].http


def lead_to(way: Any, agent: Any) -> None:
    way.agent = agent
    way.__attrs_post_init__()


@pytest_twisted.ensureDeferred
async def test_a_line_that_is_full_opens_and_is_counted(world: World) -> None:
    world.start_guard(**FAST)
    ways(world)[0].bulkhead = Bulkhead(0, 0, reactor)
    assert (await ask_as(world, "192.0.2.1", VOICE)).sources is None
    assert world.fail_opens() == {(rule.name, "busy"): 1.0 for rule in JUDGING}
    assert sample(world, "not_asked_total", neighbour="synapse", reason="busy") >= 2.0


@pytest_twisted.ensureDeferred
async def test_the_background_does_not_crowd_out_tokens(world: World) -> None:
    """Not even the token of a room that the background waits to look up."""
    world.start_guard()
    world.sandbox.homeserver.set_state(OPEN, SOURCES_EVENT, {"allow_camera": False})
    _, later = ways(world)
    later.bulkhead = Bulkhead(0, 1000, reactor, 0.5)
    world.guard.live.wake(RoomId(OPEN))
    assert len(later.bulkhead._waiting) == len(by_event(RULES))
    assert (await ask_as(world, "192.0.2.1", OPEN)).sources is not None
    assert len(later.bulkhead._waiting) == len(by_event(RULES)), "it still waits"
    await soon(lambda: world.guard.live.turns.is_idle)


@pytest_twisted.ensureDeferred
async def test_tokens_do_not_crowd_out_the_background(world: World) -> None:
    world.start_guard(LOTUS_GUARD_DEADLINE="1.0")
    participant = await join(world, "alice", OPEN)
    world.sandbox.homeserver.set_state(OPEN, SOURCES_EVENT, {"allow_camera": False})
    tokens, _ = ways(world)
    tokens.bulkhead = Bulkhead(0, 1000, reactor)
    asked = ensureDeferred(ask_as(world, "192.0.2.1", OPEN))
    await soon(lambda: len(tokens.bulkhead._waiting) == len(by_event(RULES)))
    await world.guard.live.run_pass()
    assert Source.CAMERA not in list(participant.permission.can_publish_sources)
    assert not asked.called
    await asked


async def dependency(world: World, name: str) -> Any:
    listed = (await world.request("GET", "/readyz", base=world.operators)).json()["dependencies"]
    return next(each for each in listed if each["name"] == name)


@pytest_twisted.ensureDeferred
async def test_a_hanging_synapse_is_not_waited_for_by_everybody(world: World) -> None:
    """After some have waited for the deadline, all others are answered at once; then it is back."""
    world.start_guard(**FAST)
    synapse = world.guard.loop.backends[1]
    good = ways(world)[0].agent

    class Hanging:
        def request(self, *_arguments: Any) -> Deferred[Any]:
            return Deferred()

    asking: Any = synapse.probe
    for way in (*ways(world), asking.__self__.each[0].http):
        lead_to(way, Hanging())
    for _ in range(4):
        assert (await ask_as(world, "192.0.2.1")).sources is None
    await soon(lambda: not synapse.breaker.lets_through)
    told = await dependency(world, "synapse")
    assert told["state"] == "trouble"
    assert "not asked until it answers again" in told["detail"]
    begun = time.monotonic()
    for _ in range(5):
        assert (await ask_as(world, "192.0.2.1")).sources is None
    assert time.monotonic() - begun < 0.3 * 5
    assert set(world.fail_opens()) == {(rule.name, "timeout") for rule in JUDGING}
    assert sample(world, "not_asked_total", neighbour="synapse", reason="open") >= 10.0
    assert sample(world, "breaker_open", neighbour="synapse") == 1.0
    assert sample(world, "breaker_open", neighbour="livekit") == 0.0
    for way in (*ways(world), asking.__self__.each[0].http):
        lead_to(way, good)
    while not synapse.breaker.lets_through:
        synapse.probe_if_due()
        await deferLater(reactor, 0.01, lambda: None)
    assert (await ask_as(world, "192.0.2.1")).sources == ["microphone"]
    assert sample(world, "breaker_open", neighbour="synapse") == 0.0
    assert sample(world, "breaker_opened_total", neighbour="synapse") == 1.0
    assert (await dependency(world, "synapse"))["state"] == "ok"


@pytest_twisted.ensureDeferred
async def test_an_open_breaker_is_shown_also_where_nobody_asks(world: World) -> None:
    world.start_guard()
    assert (await ask_as(world, "192.0.2.1")).sources == ["microphone"]
    assert (await dependency(world, "synapse"))["state"] == "ok"
    breaker = world.guard.loop.backends[1].breaker
    while not breaker.failed():
        pass
    breaker.answered(False, world.guard.public.load.now() + 60.0, 1.0)
    told = await dependency(world, "synapse")
    assert (told["state"], told["detail"]) == ("trouble", "not asked until it answers again")


@pytest.mark.parametrize("neighbour", ["SYNAPSE", "LIVEKIT"])
@pytest_twisted.ensureDeferred
async def test_one_that_refuses_opens_its_own_breaker_alone(world: World, neighbour: str) -> None:
    address = f"http://127.0.0.1:{free_port()}"
    settings = {f"LOTUS_GUARD_{neighbour}_URL": address}
    world.start_guard(**FAST, **settings)
    for _ in range(8):
        assert (await ask_as(world, "192.0.2.1", TWO)).status == 200
    names = {each.name: each.breaker.lets_through for each in world.guard.loop.backends}
    await soon(lambda: sample(world, "breaker_open", neighbour=neighbour.lower()) == 1.0)
    assert names["livekit" if neighbour == "SYNAPSE" else "synapse"]
    assert {reason for _, reason in world.fail_opens()} == {"refused"}


@pytest_twisted.ensureDeferred
async def test_a_room_that_fails_opens_no_breaker(world: World) -> None:
    """Synapse says 403 for one room, again and again, and answers the guard's own question."""
    world.start_guard(**FAST)
    for way in ways(world):
        good = way.agent

        class Partly:
            def request(self, method: bytes, url: bytes, *rest: Any, good: Any = good) -> Any:
                path = url.replace(b"%21two", b"%21two/forbidden")
                return good.request(method, path, *rest)

        lead_to(way, Partly())
    for _ in range(20):
        assert (await ask_as(world, "192.0.2.1", TWO)).status == 200
    assert sum(world.fail_opens().values()) > 20
    assert (await ask_as(world, "192.0.2.1", VOICE)).sources == ["microphone"]
    assert sample(world, "breaker_opened_total", neighbour="synapse") == 0.0


# Connections.


@pytest_twisted.ensureDeferred
async def test_over_the_bound_the_longest_idle_one_goes(world: World) -> None:
    world.start_guard()
    connections: Connections = world.guard.public.connections
    connections.most = 3
    idle = [await connected(world) for _ in range(3)]
    await soon(lambda: connections.open == 3)
    assert (await world.ask("alice", VOICE)).sources == ["microphone"]
    await soon(lambda: connections.open <= 3)
    assert [each.lost for each in idle] == [True, False, False]
    assert sample(world, "connections_cut_total", reason="room") == 1.0
    for each in idle:
        each.transport.abortConnection()
    await soon(lambda: connections.open == 0)
    assert not connections._receiving
    assert not connections._idle
    assert connections.held == 0


async def connected(world: World) -> Any:
    from twisted.internet.endpoints import TCP4ClientEndpoint, connectProtocol
    from twisted.internet.protocol import Protocol

    class Silent(Protocol):
        lost = False

        def connectionLost(self, reason: Any = None) -> None:
            self.lost = True

    port = int(world.url.rpartition(":")[2])
    endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", port)
    return await connectProtocol(endpoint, Silent())
