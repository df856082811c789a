"""Rulings as the rules make them, for tests of what becomes of them."""

from collections.abc import Iterable

from attrs import evolve

from lotus_guard.core.model import Identity, RoomId
from lotus_guard.core.seats import Occupancy
from lotus_guard.rules.decision import Ruling
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.rules.rule import Facts, Refuse, Who
from lotus_guard.rules.rulings import refused


def seat_refused(
    room: RoomId, user: str, limit: int, taken: int, people: Iterable[str] = ()
) -> Ruling:
    """Have the limit refuse somebody; the record says how many seats were taken, be it too few."""
    who = Who(user, Identity("i"))
    verdict = Limit().judge(LimitPolicy(limit), who, Facts(Occupancy(limit, limit, False)))
    assert isinstance(verdict, Refuse)
    if taken >= limit:
        verdict = Limit().judge(LimitPolicy(limit), who, Facts(Occupancy(taken, taken, False)))
        assert isinstance(verdict, Refuse)
    refuse = evolve(verdict, inputs={**verdict.inputs, "taken": taken})
    return refused(Limit.name, room, user, refuse, people)
