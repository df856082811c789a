"""Puts together what judges tokens and what enforces the rules in live calls."""

from attrs import field, frozen

from lotus_guard.core.clock import ServerClock
from lotus_guard.core.lru import LruDict
from lotus_guard.core.model import Identity, RoomId
from lotus_guard.enforce.admission import MOST_ISSUED, Admission, Issued
from lotus_guard.enforce.candidates import Candidates
from lotus_guard.enforce.change_watch import ChangeWatch
from lotus_guard.enforce.effects import Effects, Removals
from lotus_guard.enforce.everywhere import Everywhere
from lotus_guard.enforce.eyes import Eyes
from lotus_guard.enforce.giving import Giving, Hands
from lotus_guard.enforce.hang_ups import HangUps
from lotus_guard.enforce.hints import Pushes
from lotus_guard.enforce.introduction import Introductions
from lotus_guard.enforce.issuing import Issuing
from lotus_guard.enforce.judge import Judge
from lotus_guard.enforce.live import Live, Only
from lotus_guard.enforce.live_seats import LiveSeats
from lotus_guard.enforce.member_watch import MemberWatch
from lotus_guard.enforce.memberships import Memberships
from lotus_guard.enforce.policies import AllPolicies
from lotus_guard.enforce.policy_reader import PolicyReader
from lotus_guard.enforce.ports import Rank
from lotus_guard.enforce.presence import Presence
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.enforce.records import Recorder
from lotus_guard.enforce.room_pass import RoomPass
from lotus_guard.enforce.room_resolver import RoomResolver
from lotus_guard.enforce.seating import SeatDesk
from lotus_guard.neighbours.livekit import LiveKit
from lotus_guard.neighbours.sources import Sources
from lotus_guard.rules import STANDING
from lotus_guard.run.basics import Basics
from lotus_guard.run.clients import NeighbourClients
from lotus_guard.run.hints import Hints
from lotus_guard.run.loop import Loop
from lotus_guard.run.memory import Memory


@frozen
class CommonParts:
    """What token path and live loop share: what they judge by, where they write what they did."""

    memory: Memory
    presence: Presence
    policies: AllPolicies
    recorder: Recorder
    memberships: Memberships
    giving: Giving | None = None
    """None where nothing is ever given back."""
    begins: LruDict[Identity, int] = field(factory=lambda: LruDict(MOST_ISSUED))
    """From when on the last token that was given to each identity is valid (`nbf`)."""


def make_live(
    basics: Basics, common: CommonParts, livekit: LiveKit, pushes: Pushes, limiter: RateLimiter
) -> Live:
    """Make what enforces the rules in calls that run."""
    clocks, directory, policies = basics.clocks, common.memory.directory, common.policies
    interval, rank = basics.config.reconcile_interval, rank_of(common)
    journal = basics.metrics.rules
    reader = PolicyReader(policies, limiter, common.recorder, journal, clocks.now, interval)
    room_pass = make_room_pass(basics, common, livekit, reader)
    owes = common.giving.owes if common.giving else _owes_nothing
    candidates = Candidates(directory, policies, pushes.are_coming, clocks.now, owes)
    return Live(
        livekit,
        room_pass,
        candidates,
        rank,
        basics.metrics.loop,
        clocks.reactor,
        clocks.now,
        interval,
    )


def make_loop(
    common: CommonParts,
    neighbours: tuple[NeighbourClients[LiveKit], NeighbourClients[Sources]],
    live: Live,
    members: MemberWatch | None,
    limiter: RateLimiter,
) -> Loop:
    """Make what a pass goes through: with what finds rooms of unknown calls, and changed ones."""
    livekit, homeserver = neighbours
    asked, now, directory = homeserver.background, live.now, common.memory.directory
    resolver = RoomResolver(asked, directory, limiter, now, live.wake)
    changes = ChangeWatch(asked, common.policies, limiter, live.wake, live.clock, now)
    return Loop(live, members, resolver, changes, (livekit.backend, homeserver.backend))


def make_room_pass(
    basics: Basics, common: CommonParts, livekit: LiveKit, reader: PolicyReader
) -> RoomPass:
    """Make what brings one room within its policies."""
    config, clocks, memory = basics.config, basics.clocks, common.memory
    store, rank, metrics = memory.seat_store, rank_of(common), basics.metrics.loop
    removals = Removals(livekit, store, common.begins, clocks.now, clocks.epoch)
    effects = Effects(
        Hands(livekit, common.giving),
        removals,
        common.presence,
        memory.directory,
        rank,
        metrics,
        common.recorder,
        clocks.now,
    )
    seats = LiveSeats(common.policies, store, rank, HangUps(), config.live_limit)
    room_pass = RoomPass(
        reader,
        common.presence,
        memory.directory,
        seats,
        effects,
        metrics,
        clocks.epoch,
        config.observed,
    )
    room_pass.stage.chance = clocks.chance
    return room_pass


def make_giving(memory: Memory, livekit: LiveKit) -> Giving | None:
    """Make what gives back what was taken; None where nothing is ever given back."""
    if memory.claims is None:
        return None
    return Giving(memory.claims, memory.directory, livekit, livekit.signer.clock.told)


def _owes_nothing(_room: RoomId) -> bool:
    return False


def rank_of(common: CommonParts) -> Rank:
    """Whether it is for this guard to run the live loop."""
    return common.memory.cluster.lease or Only()


def make_admission(
    basics: Basics, common: CommonParts, livekit_clock: ServerClock, hints: Hints, eyes: Eyes
) -> Admission:
    """Make what judges tokens."""
    config, clocks, memory = basics.config, basics.clocks, common.memory
    desk = SeatDesk(memory.seats, memory.seat_store, common.presence, clocks.reactor, clocks.now)
    rules = [rule for rule in STANDING if rule.name in config.standing]
    everywhere = Everywhere(rules, common.memberships, common.policies.powers, eyes.suggest)
    issued = Issued(hints.issued, common.begins)
    if common.giving is not None:
        issued.on_token = common.giving.issued
    return Admission(
        config.credentials.livekit,
        Introductions(memory.directory, clocks.now),
        Judge(
            common.policies,
            everywhere,
            desk,
            common.recorder,
            clocks.reactor,
            clocks.now,
            config.observed,
        ),
        desk,
        Issuing(config.token_life, common.recorder, livekit_clock.epoch),
        common.recorder,
        config.deadline - memory.cluster.seconds,
        issued,
    )
