"""The composition root: the only place that knows every part."""

from typing import TYPE_CHECKING, Any

from attrs import frozen
from twisted.internet.defer import Deferred, gatherResults

from lotus_guard.core.directory import Directory
from lotus_guard.core.seats import Person, Seats
from lotus_guard.core.webhook import Event
from lotus_guard.enforce.hints import Pushes, Webhooks
from lotus_guard.enforce.live import Live
from lotus_guard.enforce.member_watch import MemberWatch
from lotus_guard.enforce.policies import AllPolicies, all_policies
from lotus_guard.enforce.presence import Presence
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.enforce.records import Recorder, Sink, mask_of
from lotus_guard.enforce.remembered import Freshness
from lotus_guard.enforce.roll_call import RollCall
from lotus_guard.enforce.room_pass import LIVE
from lotus_guard.neighbours.agents import Agents
from lotus_guard.neighbours.livekit import LiveKit
from lotus_guard.neighbours.sources import Sources
from lotus_guard.observe.last_decisions import LastDecisions
from lotus_guard.observe.log import DecisionLog
from lotus_guard.observe.metrics import Metrics
from lotus_guard.observe.overview import Overview
from lotus_guard.observe.room_names import RoomNames
from lotus_guard.observe.rooms import Rooms
from lotus_guard.observe.upgrades import UpgradedRooms
from lotus_guard.rules import RULES, STANDING, Rules
from lotus_guard.rules.rule import AnyRule
from lotus_guard.run.basics import Basics, make_basics
from lotus_guard.run.clients import (
    NeighbourClients,
    homeserver_clients,
    livekit_clients,
    make_signer,
)
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.cluster import make_claims, make_cluster, make_seat_store
from lotus_guard.run.config import Config
from lotus_guard.run.enforcement import (
    CommonParts,
    make_admission,
    make_giving,
    make_live,
    make_loop,
)
from lotus_guard.run.fd_budget import FdBudget
from lotus_guard.run.gauges import show_what_is_known
from lotus_guard.run.hints import Hints, nobody
from lotus_guard.run.homeserver_port import HomeserverPort, make_homeserver_port
from lotus_guard.run.loop import Loop
from lotus_guard.run.members import make_limiter, make_member_watch, make_memberships
from lotus_guard.run.memory import Memory
from lotus_guard.run.panel import make_panel
from lotus_guard.run.public_port import PublicPort, make_public_port
from lotus_guard.web.operators import OperatorDeps, OperatorsApp
from lotus_guard.web.status.pages import Pages
from lotus_guard.web.status.stream import Stream

if TYPE_CHECKING:
    from lotus_guard.memory.redis_keys import Server


@frozen
class Guard:
    """One guard, ready to be served."""

    public: PublicPort
    homeserver: HomeserverPort
    operators: OperatorsApp
    loop: Loop
    memory: Memory
    hints: Hints
    metrics: Metrics
    overview: Overview

    @property
    def live(self) -> Live:
        """What works on the rooms."""
        return self.loop.live

    def drained(self) -> Deferred[Any]:
        """Wait until no request is open any more; for an orderly end."""
        doors = (self.public.door, self.homeserver.door)
        return gatherResults([door.drained() for door in doors])


def make_guard(
    config: Config,
    clocks: Clocks,
    agents: Agents,
    budget: FdBudget | None = None,
    redis: "Server | None" = None,
    rules: Rules = RULES,
) -> Guard:
    """Put the parts together; nothing is started, and no file is opened.

    `redis` stands for the Redis that the settings name.
    """
    basics = make_basics(config, clocks, rules)
    memory = make_memory(basics, redis)
    signer = make_signer(basics)
    livekit = livekit_clients(basics, agents.livekit, signer)
    homeserver = homeserver_clients(basics, agents.synapse)
    pushes = make_pushes(basics)
    common = make_common(basics, memory, livekit, homeserver, pushes)
    limiter = make_limiter(config, clocks)
    live = make_live(basics, common, livekit.background, pushes, limiter)
    members = make_member_watch(basics, common, live) if config.members else None
    hints = make_hints(basics, common, live, members, pushes)
    admission = make_admission(basics, common, signer.clock, hints, homeserver.eyes)
    overview = make_overview(basics, common, live, members, homeserver, limiter)
    show_what_is_known(basics, overview, hints)
    behind = basics, budget or FdBudget(), agents.upstream, admission, common.recorder
    panel = make_panel(basics, common, livekit, homeserver)
    public = make_public_port(*behind, hints.webhooks, panel)
    live.turns.turnstile.is_awaited = public.load.is_serving
    return Guard(
        public=public,
        homeserver=make_homeserver_port(*behind, public.load, hints.changes),
        operators=make_operators(basics, overview, memory, hints),
        loop=make_loop(common, (livekit, homeserver), live, members, limiter),
        memory=memory,
        hints=hints,
        metrics=basics.metrics,
        overview=overview,
    )


def make_common(
    basics: Basics,
    memory: Memory,
    livekit: NeighbourClients[LiveKit],
    homeserver: NeighbourClients[Sources],
    pushes: Pushes,
) -> CommonParts:
    """Make what token path and live loop share."""
    return CommonParts(
        memory,
        make_presence(basics, livekit, memory),
        make_policies(basics, homeserver, pushes),
        make_recorder(basics, memory),
        make_memberships(homeserver, pushes, basics.clocks),
        make_giving(memory, livekit.background),
    )


def make_memory(basics: Basics, redis: "Server | None") -> Memory:
    """Make what is remembered, and what keeps it."""
    config = basics.config
    cluster = make_cluster(basics, redis)
    directory = Directory(basics.clocks.now, cluster.store.learns, data_slots=config.data_slots)
    seats = Seats(config.seat_hold, config.seat_grace, directory, cluster.store.seats_changed)
    store, claims = make_seat_store(basics, cluster, seats), make_claims(basics, cluster)
    return Memory(directory, seats, store, cluster, claims)


def make_recorder(basics: Basics, memory: Memory) -> Recorder:
    """Make what puts decisions on record: in the log, and where things are kept."""
    config, clocks = basics.config, basics.clocks

    def mask(person: Person) -> Person | None:
        return mask_of(config.log_users, config.secret)(person)  # by the secret of the moment

    sinks: list[Sink] = [
        DecisionLog(clocks.now, config.log_level).write,
        memory.cluster.store.decided,
    ]
    return Recorder(clocks.epoch, clocks.now, clocks.random, mask, basics.metrics.rules, sinks)


def make_pushes(basics: Basics) -> Pushes:
    """Make what takes in Synapse's pushes."""
    config, clocks = basics.config, basics.clocks
    return Pushes(
        config.credentials.push,
        config.policy_max_age,
        config.policy_poll,
        clocks.now,
        clocks.epoch,
        basics.rules,
    )


def make_policies(
    basics: Basics, homeserver: NeighbourClients[Sources], pushes: Pushes
) -> AllPolicies:
    """Make what knows the rooms' policies."""
    stale, now = basics.config.policy_stale, basics.clocks.now
    events = Freshness(pushes.policy_max_age, stale, pushes.are_coming)
    power = Freshness(pushes.power_max_age, stale, pushes.power_is_coming)
    asked = (homeserver.tokens, homeserver.background)
    return all_policies(basics.rules, asked, (events, power), now, basics.metrics.rules)


def make_presence(basics: Basics, livekit: NeighbourClients[LiveKit], memory: Memory) -> Presence:
    """Make what knows who is in a room."""
    clocks = basics.clocks
    roll_call = RollCall(memory.directory, clocks.reactor, clocks.now, basics.config.deadline)
    return Presence(
        livekit.tokens,
        livekit.background,
        memory.seat_store,
        memory.directory,
        roll_call,
        clocks.now,
        basics.metrics.rules.used("look"),
    )


def make_webhooks(
    basics: Basics, live: Live, members: MemberWatch | None, memory: Memory
) -> Webhooks:
    """Make what takes in LiveKit's webhooks."""
    keys, tell = basics.config.credentials.livekit, memory.cluster.tell_webhook

    def hint(event: Event) -> None:
        live.hint(event)
        if members is not None:
            members.hint(event)

    return Webhooks(keys, basics.clocks.now, hint, tell)


def make_hints(
    basics: Basics, common: CommonParts, live: Live, members: MemberWatch | None, pushes: Pushes
) -> Hints:
    """Make what hands each hint to whom it concerns."""
    webhooks = make_webhooks(basics, live, members, common.memory)
    on_member = members.told if members else nobody
    return Hints(webhooks, pushes, common.policies, live, common.memory.cluster, on_member)


def make_overview(
    basics: Basics,
    common: CommonParts,
    live: Live,
    members: MemberWatch | None,
    homeserver: NeighbourClients[Sources],
    limiter: RateLimiter,
) -> Overview:
    """Make what describes this guard to its operator."""
    config, clocks, memory = basics.config, basics.clocks, common.memory
    names_limiter = RateLimiter(config.policy_rate, clocks.reactor, clocks.now)
    names = RoomNames(homeserver.background, names_limiter, clocks.now)
    asked = homeserver.background
    upgraded = UpgradedRooms(asked, asked, basics.rules, limiter, clocks.now)
    standing = [rule for rule in STANDING if rule.name in config.standing]
    rules: list[AnyRule] = [*standing, *basics.rules]
    observable = [*(rule.name for rule in rules), LIVE]
    modes = {rule: "observe" if rule in config.observed else "enforce" for rule in observable}
    rooms = Rooms(
        live,
        memory.directory,
        memory.seats,
        common.policies,
        common.recorder,
        names.name_of,
        members.strangers_in if members else lambda _room: 0,
        upgraded.lost,
    )
    titles = {rule.name: rule.title for rule in rules}
    identity = {
        "instance": memory.cluster.store.instance,
        "rules": modes,
        "titles": titles,
        "store": "State file" if config.redis is None else "Redis",
    }
    return Overview(rooms, common.recorder, basics.health, clocks.epoch, identity)


def make_operators(
    basics: Basics, overview: Overview, memory: Memory, hints: Hints
) -> OperatorsApp:
    """Make what serves the operators' port."""
    clocks = basics.clocks
    return OperatorsApp(
        OperatorDeps(
            basics.metrics,
            overview,
            LastDecisions(memory.cluster.store, overview.records),
            hints.webhooks,
            hints.pushes,
            hints.push,
            Pages(Stream(overview.snapshot, clocks.reactor, clocks.epoch)),
            basics.config.admin_hosts,
        )
    )


__all__ = ["Guard", "make_guard"]
