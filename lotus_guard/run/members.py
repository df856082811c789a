"""Puts together what keeps calls for the members of their rooms."""

from lotus_guard.enforce.expulsion import Expulsion
from lotus_guard.enforce.hints import Pushes
from lotus_guard.enforce.live import Live
from lotus_guard.enforce.member_turn import Pace
from lotus_guard.enforce.member_watch import MemberWatch
from lotus_guard.enforce.memberships import Memberships
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.enforce.room_pass import LIVE
from lotus_guard.neighbours.sources import Sources
from lotus_guard.rules.members import Members
from lotus_guard.run.basics import Basics
from lotus_guard.run.clients import NeighbourClients
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.config import Config
from lotus_guard.run.enforcement import CommonParts, rank_of

SHARE = 0.25
"""Of the look-ups that the live loop may make, so many are for memberships: half of them in rounds,
half for those who come in."""


def make_memberships(
    homeserver: NeighbourClients[Sources], pushes: Pushes, clocks: Clocks
) -> Memberships:
    """Make what knows who is a member of which room."""
    return Memberships(
        homeserver.tokens,
        homeserver.background,
        pushes.members_are_coming,
        clocks.now,
        lambda: pushes.members_since,
    )


def make_limiter(config: Config, clocks: Clocks) -> RateLimiter:
    """Make what bounds the look-ups of policies: the others are for memberships."""
    share = SHARE if config.members else 0.0
    return RateLimiter((1.0 - share) * config.policy_rate, clocks.reactor, clocks.now)


def make_member_watch(basics: Basics, common: CommonParts, live: Live) -> MemberWatch:
    """Make what puts people out of calls who are no members of the room."""
    config, clocks, memory = basics.config, basics.clocks, common.memory
    room_pass = live.room_pass
    rate = SHARE / 2 * config.policy_rate
    rounds, arrivals = (RateLimiter(rate, clocks.reactor, clocks.now) for _ in range(2))
    expulsion = Expulsion(
        common.presence,
        memory.directory,
        room_pass.effects,
        memory.seat_store,
        room_pass.journal,
        bool({Members.name, LIVE} & config.observed),
    )
    return MemberWatch(
        common.memberships,
        expulsion,
        Pace(rounds, arrivals),
        common.recorder,
        rank_of(common),
        clocks.reactor,
        clocks.now,
        config.policy_poll,
    )
