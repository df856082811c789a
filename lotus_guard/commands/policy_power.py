"""The power levels of a room, and what of its policy makes no sense with them."""

from attrs import evolve

from lotus_guard.commands.policy_words import Held, RoomPolicies
from lotus_guard.core.model import RoomId
from lotus_guard.core.power import CREATE, POWER_LEVELS, PowerLevels, read_power
from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.matrix import Denied, Matrix
from lotus_guard.rules.state_event import content_of, event_of


async def power_in(admin: Matrix, room: RoomId) -> PowerLevels:
    """Read a room's power levels as the service; raises Denied and Outage."""
    levels, create = [
        event_of(await admin.events(room, name), name) for name in (POWER_LEVELS, CREATE)
    ]
    return read_power(content_of(levels), create)


async def with_doubts(admin: Matrix, policies: RoomPolicies) -> RoomPolicies:
    """Add what the guard doubts in policies: levels that everybody in the room has.

    Asks only where levels make a difference. Where they cannot be read, nothing is doubted.
    """
    if not any(_needs_power(held) for held in policies.held):
        return policies
    try:
        power = await power_in(admin, policies.room)
    except (Denied, Outage):
        return policies
    return doubted(policies, power)


def doubted(policies: RoomPolicies, power: PowerLevels) -> RoomPolicies:
    """Add what makes no sense with these levels; rules that share an event say the same once."""
    told: set[str] = set()
    found = []
    for held in policies.held:
        doubts = held.rule.doubts(held.reading.policy, power) if _needs_power(held) else ()
        found.append(evolve(held, doubts=tuple(each for each in doubts if each not in told)))
        told.update(doubts)
    return evolve(policies, held=tuple(found))


def _needs_power(held: Held) -> bool:
    return held.rule.needs_power(held.reading.policy)
