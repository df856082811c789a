"""The composition root: the only place that knows every part."""

import gc
import os
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from attrs import define, frozen
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, ensureDeferred, gatherResults, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import ILogObserver, Logger, globalLogPublisher
from twisted.python.components import Componentized
from twisted.web.client import Agent, HTTPConnectionPool

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import LiveKitRoom, RoomId
from lotus_guard.core.probe import FIELD, HEADER, is_genuine, sign_probe
from lotus_guard.core.seats import Person, Seats
from lotus_guard.enforce.admission import Admission
from lotus_guard.enforce.condition import described
from lotus_guard.enforce.credentials import LOOK_SECONDS, Credentials
from lotus_guard.enforce.deferreds import with_timeout
from lotus_guard.enforce.hints import Pushes, Webhooks
from lotus_guard.enforce.live import Live, Only, RateLimiter
from lotus_guard.enforce.policies import Policies
from lotus_guard.enforce.ports import Now, Outage
from lotus_guard.enforce.presence import Presence
from lotus_guard.enforce.records import Recorder, mask_of
from lotus_guard.enforce.roll_call import RollCall
from lotus_guard.enforce.room_resolver import RoomResolver
from lotus_guard.memory.redis_scripts import RENEW_SECONDS
from lotus_guard.memory.sqlite import Store
from lotus_guard.neighbours.bulkhead import Backend
from lotus_guard.neighbours.http import Endpoints, Http, KnownHosts
from lotus_guard.neighbours.upstream import Upstream
from lotus_guard.observe.health import Dependency, Health
from lotus_guard.observe.log import DecisionLog, JsonLines, ration_all, unration_all
from lotus_guard.observe.metrics import Metrics
from lotus_guard.observe.overview import Overview
from lotus_guard.observe.room_names import RoomNames
from lotus_guard.overload.client_address import Origins
from lotus_guard.overload.http_limits import Connections
from lotus_guard.overload.load_shedding import TICK_SECONDS, LoadShedding
from lotus_guard.rules.decision import REQUEST
from lotus_guard.run.address import bracketed
from lotus_guard.run.clients import (
    FdBudget,
    fd_budget,
    livekit_clients,
    most_files,
    show_load,
    signer_for,
    synapse_clients,
)
from lotus_guard.run.cluster import Clocks, Cluster, make_cluster
from lotus_guard.run.config import OBSERVABLE, Config
from lotus_guard.run.hangup import Hangups
from lotus_guard.run.listeners import OPERATORS, PUBLIC, listener
from lotus_guard.run.systemd import Beats, Supervisor, handed_over, supervisor_of
from lotus_guard.run.workers import WATCHDOG_SECONDS, Fleet, Lifeline, config_of, worker_of
from lotus_guard.web.operators import Admin, OperatorDeps, OperatorsSite
from lotus_guard.web.public import Clients, Gate, PublicSite
from lotus_guard.web.status.pages import Pages
from lotus_guard.web.status.stream import Stream

if TYPE_CHECKING:
    from lotus_guard.memory.redis_connection import Server
    from lotus_guard.memory.redis_news import RedisStore

_log = Logger()

CONNECT_SECONDS = 5.0
LINGER_SECONDS = 0.3
"""How long an orderly end waits for the first request of those who have just connected."""
STOP_SECONDS = 4.5
"""How long an orderly end waits for the requests that are open."""
HOUSEKEEPING_SECONDS = 60.0
FORGET_SECONDS = 3600.0
"""How long after its LiveKit room is finished an alias is forgotten."""
REST_SECONDS = 300.0
"""How long after its LiveKit room is finished what was learnt in it is packed away."""
LATE_PASSES, LATE_SECONDS = 5, 10.0
"""A loop without a good pass for so many intervals and seconds is in trouble."""
PASS_SECONDS = 60.0
"""After so many seconds a pass is given up: nothing in it takes that long unless it is stuck."""


@frozen
class Agents:
    """How each neighbour is reached; tests put in-memory ones here."""

    upstream: Any
    livekit: Any
    synapse: Any
    close: Callable[[], Deferred[Any]] = lambda: succeed(None)
    """Closes the connections that are kept for later."""
    redis: "Server | None" = None
    """In place of a connection to the Redis that the configuration names."""


@frozen
class Guard:
    """The parts of one guard that its services need."""

    gate: Gate
    pressure: LoadShedding
    neighbours: tuple[Backend, ...]
    connections: Connections
    admin: Admin
    live: Live
    search: RoomResolver
    knowledge: Directory
    seats: Seats
    store: "Store | RedisStore"
    metrics: Metrics
    overview: Overview
    pushes: Pushes
    push: Callable[[bytes, str], None]
    """Takes in what Synapse's module tells; raises Unsigned."""
    sharing: Cluster
    credentials: Credentials


def pooled_agents(reactor: Any) -> Agents:
    """Make an agent for each neighbour, with a pool of connections of its own.

    Separate pools, so that a neighbour who hangs takes no connection from the others. Idle
    connections are dropped before any usual server drops them, because a request that was sent
    into a closing connection is not repeated.
    """

    pools: list[HTTPConnectionPool] = []
    endpoints = Endpoints(reactor, CONNECT_SECONDS)

    def agent(most: int) -> Agent:
        pool = _Pool(reactor, persistent=True)
        pool._factory = _QuietClients  # else each connection makes two lines in the log
        pool.maxPersistentPerHost = most
        pool.cachedConnectionTimeout = 30
        pool.retryAutomatically = False
        pools.append(pool)
        made: Agent = KnownHosts.usingEndpointFactory(reactor, endpoints, pool=pool)
        return made

    def close() -> Deferred[Any]:
        return gatherResults([pool.closeCachedConnections() for pool in pools])

    return Agents(agent(64), agent(32), agent(32), close)


class _Pool(HTTPConnectionPool):
    """Keeps no connection that we are closing.

    Of an answer that is too long we read no more and close its connection. Where all of it has come
    with that very piece, Twisted takes the connection for one to be used again, and the next
    question fails on it. How long answers are is the clients' doing (docs/facts.md, LiveKit: how
    long an answer may be).
    """

    def _putConnection(self, key: Any, connection: Any) -> None:
        if not connection.transport.disconnecting:
            super()._putConnection(key, connection)


class _QuietClients(HTTPConnectionPool._factory):  # type: ignore[misc,valid-type]
    noisy = False


def make_guard(
    config: Config, clocks: Clocks, agents: Agents, room: FdBudget | None = None
) -> Guard:
    """Put the parts together; nothing is started, and no file is opened."""
    room = room or FdBudget()
    now, reactor = clocks.now, clocks.reactor
    metrics, health = Metrics(now), Health(now)

    def mask(person: Person) -> Person | None:
        return mask_of(config.log_users, config.secret)(person)  # by the secret of the moment

    recorder = Recorder(clocks.epoch, now, clocks.random, mask, metrics)
    knowledge = Directory(now=now)
    seats = Seats(config.seat_hold, config.seat_grace, knowledge.user_of, knowledge.person)
    signer = signer_for(config, clocks, metrics, health)
    livekit, livekit_later, to_livekit = livekit_clients(
        config, clocks, agents.livekit, signer, metrics, health
    )
    synapse, synapse_later, to_synapse = synapse_clients(
        config, clocks, agents.synapse, metrics, health
    )
    pushes = Pushes(
        config.credentials.push, config.policy_max_age, config.policy_poll, now, clocks.epoch
    )
    keep = (pushes.policy_max_age, config.policy_stale, metrics.complained)
    limits = Policies(synapse.limit, now, *keep, metrics.used("limit"), synapse_later.limit)
    sources = Policies(synapse.sources, now, *keep, metrics.used("sources"), synapse_later.sources)
    sharing = make_cluster(config, clocks, agents.redis, knowledge, seats, metrics, health)
    book, store = sharing.book, sharing.store
    roll_call = RollCall(knowledge, reactor, now, config.deadline)
    presence = Presence(
        livekit, book, knowledge, roll_call, now, metrics.used("look"), livekit_later
    )
    pace = RateLimiter(config.policy_rate, reactor, now)
    live = Live(
        service=livekit_later,
        presence=presence,
        knowledge=knowledge,
        book=book,
        limits=limits,
        sources=sources,
        journal=metrics,
        records=recorder,
        pace=pace,
        now=now,
        epoch=clocks.epoch,
        interval=config.reconcile_interval,
        pushing=pushes.are_coming,
        limit_on=config.live_limit,
        observed=config.observed,
        rank=sharing.lease or Only(),
    )
    admission = Admission(
        keys=config.credentials.livekit,
        deadline=config.deadline,
        token_life=config.token_life,
        knowledge=knowledge,
        seats=seats,
        book=book,
        presence=presence,
        limits=limits,
        sources=sources,
        journal=metrics,
        records=recorder,
        clock=reactor,
        now=now,
        epoch=signer.clock.epoch,
        observed=config.observed,
        on_issued=sharing.issued(live.expect),
        reserve=sharing.seconds,
        issued=live.issued,
    )
    webhooks = Webhooks(config.credentials.livekit, now, live.hint)

    def take_push(body: bytes, header: str) -> RoomId | None:
        room = pushes.take(body, header, limits, sources)
        if room:
            live.wake(room)
        return room

    def recall(body: bytes, header: str) -> None:
        pushes.recall(body, header, limits, sources)

    push = sharing.push(take_push)
    sharing.listen(webhooks, take_push, recall, live.expect)
    recorder.sinks += [DecisionLog(now).write, store.decided]
    for describe in (lambda: _describe_loop(live, now), webhooks.describe, pushes.describe):
        health.watch(describe)
    names = RoomNames(synapse_later, RateLimiter(config.policy_rate, reactor, now), now)
    overview = Overview(
        live=live,
        knowledge=knowledge,
        seats=seats,
        limits=limits,
        sources=sources,
        records=recorder,
        health=health,
        now=now,
        epoch=clocks.epoch,
        identity={"instance": store.instance, "rules": _modes(config)},
        name_of=names.name_of,
    )
    _show(metrics, overview, webhooks, pushes)
    origins = Origins(config.trusted_proxies)
    pressure = LoadShedding(
        reactor, now, config.deadline / 2, room.requests, metrics.turned_one_away
    )
    connections = Connections(
        room.connections,
        is_proxy=origins.is_proxy,
        on_cut=metrics.cut,
        on_work=lambda peer, times: pressure.worked(origins.of(peer, None, None), times),
    )
    show_load(metrics, pressure, connections)
    gate = Gate(
        Upstream(agents.upstream, config.upstream.encode("ascii"), reactor),
        admission,
        _Traffic(metrics, health.noter(Dependency.UPSTREAM)),
        recorder,
        now,
        webhooks,
        lambda probe: _is_probe(config, probe, clocks.epoch()),
        pressure,
        Clients(origins),
        observes=REQUEST in config.observed,
    )
    status = Pages(Stream(overview.snapshot, reactor, clocks.epoch))
    desk = OperatorDeps(
        metrics, overview, store, webhooks, pushes, push, status, config.admin_hosts
    )
    return Guard(
        gate=gate,
        pressure=pressure,
        neighbours=(to_livekit, to_synapse),
        connections=connections,
        admin=Admin(desk),
        live=live,
        search=RoomResolver(synapse_later, knowledge, pace, now, live.wake),
        knowledge=knowledge,
        seats=seats,
        store=store,
        metrics=metrics,
        overview=overview,
        pushes=pushes,
        push=push,
        sharing=sharing,
        credentials=config.credentials,
    )


def _is_probe(config: Config, probe: str, epoch: float) -> bool:
    pairs = config.credentials.livekit.believed()
    return any(is_genuine(probe, pair.secret, epoch) for pair in pairs)


def _modes(config: Config) -> dict[str, str]:
    return {rule: "observe" if rule in config.observed else "enforce" for rule in OBSERVABLE}


def _describe_loop(live: Live, now: Now) -> dict[str, Any]:
    """Describe the live loop as `lotus_guard.observe.health` describes what it depends on."""
    if live.last_good is None:
        return described("loop", "unknown", None, "no pass has seen the whole picture yet")
    age = round(now() - live.last_good, 1)
    late = age > LATE_PASSES * live.interval + LATE_SECONDS
    return described("loop", "trouble" if late else "ok", age, "passes fail" if late else "")


def _show(metrics: Metrics, overview: Overview, webhooks: Webhooks, pushes: Pushes) -> None:
    metrics.show_age(
        "lotus_guard_live_last_good_pass_age_seconds",
        "Seconds since the last good pass of the live loop; -1: none yet",
        lambda: overview.live.last_good,
    )
    metrics.show_age(
        "lotus_guard_webhook_age_seconds",
        "Seconds since LiveKit's last genuine webhook; -1: none yet",
        lambda: webhooks.last,
    )
    metrics.show_age(
        "lotus_guard_push_age_seconds",
        "Seconds since the Synapse module's last sign of life; -1: none yet",
        lambda: pushes.last,
    )
    numbers: tuple[tuple[str, str, Callable[[], float]], ...] = (
        ("webhooks_forged", "Webhooks that our secret did not sign", lambda: webhooks.forged),
        ("pushes_refused", "Pushes that our secret did not sign", lambda: pushes.refused),
        (
            "seats_held",
            "Seats held for people who are not there",
            lambda: overview.seats.held(overview.now()),
        ),
        ("live_rooms", "LiveKit rooms at the last pass", lambda: len(overview.live.counts)),
        ("live_people", "People in them, by LiveKit's count", overview.people),
    )
    for name, text, value in numbers:
        metrics.show(f"lotus_guard_{name}", text, value)


@define(eq=False)
class _Traffic:
    """Counts traffic, and has upstream's health noted."""

    metrics: Metrics
    on_end: Callable[[Outage | None], None]

    def answered(self, endpoint: str, status: int) -> None:
        """Note an answer that a client got."""
        self.metrics.answered(endpoint, status)

    def added(self, seconds: float) -> None:
        """Note how long an answer took, apart from upstream's part of it."""
        self.metrics.added(seconds)

    def upstream_did(self, outage: Outage | None) -> None:
        """Note that lk-jwt-service answered, or why it did not."""
        self.metrics.upstream_did(outage)
        self.on_end(outage)


def keep_steady(reactor: Any) -> None:
    """Let a reactor that does not turn yet go by the clock that nobody sets.

    Twisted's goes by the time of day. Set back by ten minutes, that would hold all that waits up
    for as long, the live loop and every deadline with it; set forward, all would be late at once.
    """
    if not reactor.getDelayedCalls():  # those would be due in decades
        reactor.seconds = time.monotonic


def make_service(config: Config, reactor: Any, hangups: Hangups | None = None) -> Any:
    """Make the service that twistd runs: a guard, or the supervisor of several.

    `hangups` has the credentials read again; None where SIGHUP is somebody else's.
    """
    keep_steady(reactor)
    hangups = hangups or Hangups()
    number, send = worker_of(os.environ)
    if number is not None or config.workers == 1:
        hangups.lead_to(reactor, config.credentials.reload)
    if number is not None and send is not None:
        reactor.addReader(Lifeline(reactor))
        told = Supervisor(send, WATCHDOG_SECONDS)
        return make_guard_service(config_of(config, number), reactor, told, is_worker=True)
    supervisor = supervisor_of(os.environ, os.getpid())
    if config.workers == 1:
        return make_guard_service(config, reactor, supervisor)
    service = GuardService(config.log_format)
    sockets = handed_over(os.environ, os.getpid())
    fleet = Fleet(reactor, config.workers, os.environ, sockets, supervisor)
    fleet.setServiceParent(service)
    hangups.lead_to(reactor, fleet.reload)
    beats = Beats(supervisor, fleet.is_well, fleet.status, reactor)
    BeatService(beats).setServiceParent(service)
    return service


def make_guard_service(
    config: Config, reactor: Any, supervisor: Supervisor, is_worker: bool = False
) -> Any:
    """Make the service of one guard; reads the state file."""
    clocks = Clocks(reactor, time.monotonic, time.time)
    agents = pooled_agents(reactor)
    guard = make_guard(config, clocks, agents, fd_budget(most_files()))
    guard.store.open()
    guard.sharing.start()
    sockets = dict(reversed(handed_over(os.environ, os.getpid())))
    service = GuardService(config.log_format)
    gate = PublicSite(guard.gate, guard.connections)
    public = listener(reactor, PUBLIC, config.listen, gate, sockets, is_shared=is_worker)
    public.setServiceParent(service)
    if config.admin_listen or OPERATORS in sockets:
        site = OperatorsSite(guard.admin)
        listener(reactor, OPERATORS, config.admin_listen, site, sockets).setServiceParent(service)
    live = LiveService(guard, clocks, agents, config.reconcile_interval)
    live.setServiceParent(service)
    # The kernel would hand a worker's probe of its own port to any worker.
    ready: Service = (
        Ready(supervisor, guard.sharing)
        if is_worker
        else Readiness(config, clocks, agents, public, supervisor)
    )
    ready.setServiceParent(service)
    beats = Beats(supervisor, live.is_turning, live.status, reactor)
    BeatService(beats).setServiceParent(service)
    return service


class GuardService(MultiService):
    """All of the guard's services; says how the log is to be written, if not as twistd does."""

    def __init__(self, log_format: str) -> None:
        super().__init__()
        self._log_format = log_format

    def setServiceParent(self, parent: Any) -> None:
        """Give the application its log observer, which twistd starts only after this."""
        if self._log_format == "json" and isinstance(parent, Componentized):
            parent.setComponent(ILogObserver, JsonLines(sys.stdout))
        super().setServiceParent(parent)

    def privilegedStartService(self) -> None:
        """Listen; a port that cannot be had ends the start, with a sentence and status 1.

        By now twistd has begun to write its log: no stranger shall fill it.
        """
        ration_all(globalLogPublisher)
        try:
            super().privilegedStartService()
        except (CannotListenError, OSError) as error:
            _log.critical(
                "lotus-guard cannot listen: {error}. Wanted: LOTUS_GUARD_LISTEN and "
                "LOTUS_GUARD_ADMIN_LISTEN name free ports on addresses of this machine (is another "
                "guard running, or lk-jwt-service still on its old port?).",
                error=error,
            )
            raise SystemExit(1) from None

    def stopService(self) -> Any:
        """Stop, and leave the log to twistd as it was."""
        stopped: Any = super().stopService()
        unration_all(globalLogPublisher)
        return stopped


class Readiness(Service):
    """Says that the guard is ready once its public port answers."""

    def __init__(
        self,
        config: Config,
        clocks: Clocks,
        agents: Agents,
        public: StreamServerEndpointService,
        supervisor: Supervisor,
    ) -> None:
        self._config = config
        self._clocks = clocks
        self._http = Http(agents.upstream, clocks.reactor)
        self._public = public
        self._supervisor = supervisor

    def startService(self) -> None:
        """Begin to ask our own port."""
        super().startService()
        ensureDeferred(self._wait()).addErrback(
            lambda failure: _log.failure("Readiness could not be told", failure)
        )

    async def _wait(self) -> None:
        waiting: Any = self._public._waitingForPort
        port: Any = await waiting
        url = _url_of(port.getHost())
        while self.running and url and not await self._answers(url):
            await deferLater(self._clocks.reactor, 0.1, lambda: None)
        if self.running:
            _log.info(
                "lotus_guard listens on {address} in front of {upstream}",
                address=url or self._config.listen,
                upstream=self._config.upstream,
            )
            self._supervisor.ready()

    async def _answers(self, url: str) -> bool:
        probe = sign_probe(self._config.secret, self._clocks.epoch())
        headers = {HEADER.encode("ascii"): probe.encode("ascii")}
        try:
            answer = await self._http.exchange(
                b"GET", f"{url}/".encode("ascii"), headers, None, seconds=2.0, most=4096
            )
        except Outage:
            return False
        return answer.status == 200 and FIELD.encode("ascii") in answer.body


def _url_of(address: Any) -> str:
    """Give the URL of a port as this machine reaches it; empty where it is no TCP port."""
    if not hasattr(address, "port"):
        return ""
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(address.host, address.host)  # noqa: S104
    return f"http://{bracketed(host)}:{address.port}"


class Ready(Service):
    """Says that a worker is ready: it listens, and knows of the others."""

    def __init__(self, supervisor: Supervisor, sharing: Cluster) -> None:
        self._supervisor = supervisor
        self._sharing = sharing

    def startService(self) -> None:
        """Say it once Redis has been waited for."""
        super().startService()
        ensureDeferred(self._tell()).addErrback(
            lambda failure: _log.failure("Readiness could not be told", failure)
        )

    async def _tell(self) -> None:
        if self._sharing.redis is not None:
            await self._sharing.redis.connected()
        self._supervisor.ready()


class BeatService(Service):
    """Keeps the supervisor informed while the guard runs."""

    def __init__(self, beats: Beats) -> None:
        self._beats = beats

    def startService(self) -> None:
        """Begin."""
        super().startService()
        self._beats.start()

    def stopService(self) -> None:
        """Say that we stop."""
        super().stopService()
        self._beats.stop()


@define(eq=False)
class LoopTick:
    """What the LoopingCall calls: a LoopingCall stops for good at its first error, so none here."""

    guard: Guard
    clocks: Clocks
    running: Deferred[Any] | None = None
    turned: float = 0.0
    """When a pass was last begun or over."""

    def __call__(self) -> Deferred[Any]:
        """Make one pass; the Deferred fires when it is over and never fails."""
        self.turned = self.clocks.now()
        work = ensureDeferred(with_timeout(PASS_SECONDS, self.clocks.reactor, self._pass()))
        self.running = work
        return work.addErrback(self._note).addBoth(self._over)

    def _over(self, _result: object) -> None:
        self.turned = self.clocks.now()

    async def _pass(self) -> None:
        for neighbour in self.guard.neighbours:
            neighbour.probe_if_due()
        livekit_rooms = await self.guard.live.run_pass()
        self.guard.search.begin(livekit_rooms)

    def _note(self, failure: Any) -> None:
        if failure.check(Outage):
            self.guard.live.note(failure.value)
        else:
            _log.failure("A pass of the live loop failed", failure)


class LiveService(Service):
    """Runs the live loop, and clears away what has run out once a minute."""

    def __init__(self, guard: Guard, clocks: Clocks, agents: Agents, interval: float) -> None:
        self._guard = guard
        self._agents = agents
        self._clocks = clocks
        self._alive: dict[LiveKitRoom, float] = {}
        self._tick = LoopTick(guard, clocks)
        self._loops = [
            (LoopingCall(self._tick), interval),
            (LoopingCall(self._tidy), HOUSEKEEPING_SECONDS),
            (LoopingCall(guard.pressure.lag.tick), TICK_SECONDS),
            (LoopingCall(guard.credentials.look), LOOK_SECONDS),
        ]
        if guard.sharing.lease is not None:
            renewal = LoopingCall(lambda: ensureDeferred(self._renew()))
            self._loops.insert(0, (renewal, RENEW_SECONDS))

    def startService(self) -> None:
        """Start; what is loaded by now stays, so the garbage collector need not look at it."""
        super().startService()
        gc.collect()
        gc.freeze()
        self._guard.store.beat()
        for loop, seconds in self._loops:
            loop.clock = self._clocks.reactor
            loop.start(seconds)

    def is_turning(self) -> bool:
        """Tell whether the loop turns, whatever its passes see.

        This, and not the age of the last good pass, is what the watchdog rests on: with LiveKit or
        Synapse away no pass is good, and a guard that hands tokens through must not be killed for
        it. A pass ends within `PASS_SECONDS`.
        """
        return self._clocks.now() - self._tick.turned <= PASS_SECONDS + LATE_SECONDS

    def status(self) -> str:
        """Say in a line how the loop does."""
        loop = _describe_loop(self._guard.live, self._clocks.now)
        rooms = len(self._guard.live.counts)
        age = "none yet" if loop["age"] is None else f"{loop['age']:.0f} s ago"
        return f"{rooms} LiveKit rooms, last good pass {age}"

    def stopService(self) -> Deferred[Any]:
        """Stop: give up a pass under way, write down what was learnt."""
        super().stopService()
        self._guard.admin.close()
        for loop, _ in self._loops:
            loop.stop()
        if self._tick.running is not None:
            self._tick.running.cancel()
        self._guard.live.turns.stop()
        return ensureDeferred(self._end())

    async def _end(self) -> None:
        """Let the requests that are open be served, for a while; the port is closed by now."""
        # Who was accepted a moment ago may not have been read yet: he is not open, and not to be
        # hung up on.
        await deferLater(self._clocks.reactor, LINGER_SECONDS, lambda: None)
        try:
            await with_timeout(STOP_SECONDS, self._clocks.reactor, self._guard.gate.drained())
        except TimeoutError:
            _log.warn("Some requests were still open after {n} s", n=STOP_SECONDS)
        await self._guard.sharing.close()
        await self._agents.close()

    async def _renew(self) -> None:
        try:
            sharing = self._guard.sharing
            if sharing.lease is not None and await sharing.lease.renew():
                await sharing.book.reunite()
        except Exception:
            _log.failure("Who leads could not be found out")

    def _tidy(self) -> None:
        try:
            self._guard.store.beat()
            self._guard.seats.sweep(self._clocks.now())
            self._guard.live.limits.sweep()
            self._guard.live.sources.sweep()
            self._forget_finished()
        except Exception:
            _log.failure("What has run out could not be cleared away")

    def _forget_finished(self) -> None:
        """Forget the aliases whose LiveKit rooms have not been seen for an hour."""
        now, known = (
            self._clocks.now(),
            [livekit_room for livekit_room, _ in self._guard.knowledge.places()],
        )
        seen = self._guard.live.counts
        self._alive = {
            livekit_room: now if livekit_room in seen else self._alive.get(livekit_room, now)
            for livekit_room in known
        }
        self._guard.knowledge.rest({a for a, at in self._alive.items() if now - at > REST_SECONDS})
        finished = {
            livekit_room for livekit_room, at in self._alive.items() if now - at > FORGET_SECONDS
        }
        if finished and self._guard.live.last_good is not None:
            self._guard.knowledge.forget(finished)


__all__ = ["Agents", "Clocks", "Guard", "make_guard", "make_service", "pooled_agents"]
