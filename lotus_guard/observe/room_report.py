"""One room as its moderators see it: who is in the call, and what the guard did there.

LiveKit is asked who is there, by whichever guard is asked, of rooms without a rule as well. A room,
as JSON:

    {"people": ["@a:s", ...], "count": 3, "limit": 5 | null, "gives_back": false,
     "decisions": [{"id": "k3v9t2xq", "at": 1790000000.123, "kind": "refused", "rule": "limit",
                    "observed": false, "user": "@u:s" | null}, ...newest first]}

People are named as the room's own members see each other, whatever operators have chosen for logs;
in decisions they are named as these were recorded. What went wrong at our neighbours is for
operators: a decision says here that it was let through, and not why.

A decision's `kind` is its deed, or says closer what people see of it: `not_started` and `too_many`
(refused), `for_data`, `curbed` and `failed` (steps).
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

from attrs import define

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import Attendance, LiveKitRoom, RoomId
from lotus_guard.observe.last_decisions import LastDecisions
from lotus_guard.rules.decision import Decision, Deed, Ruling
from lotus_guard.rules.limit import START_LEVEL, Limit
from lotus_guard.rules.rulings import takes_sources

MOST_PEOPLE = 100
MOST_DECISIONS = 10
MOST_READ = 50

Ask = Callable[[Sequence[LiveKitRoom]], Awaitable[Mapping[LiveKitRoom, Attendance]]]
"""Asks LiveKit who is in these rooms; raises Outage."""


@define(eq=False)
class RoomReport:
    """Describes rooms; every value is one that JSON can hold."""

    ask: Ask
    directory: Directory
    limit: Callable[[RoomId], int | None]
    """How many may be in a room, as far as that is known."""
    decisions: LastDecisions
    gives_back: bool
    """Whether people in a call get back what was taken, once it is allowed again."""

    async def of(self, room: RoomId) -> dict[str, Any]:
        """Describe a room; raises Outage."""
        calls = [
            each
            for each in self.directory.livekit_rooms_of(room)
            if not self.directory.is_for_data(each)
        ]
        seen = await self.ask(calls)
        identities = {identity for each in seen.values() for identity in each.identities}
        people = sorted({self.directory.person(identity) for identity in identities})
        decisions = await self.decisions.on(room, most=MOST_READ)
        shown = [each for each in decisions if _says_something(each)][:MOST_DECISIONS]
        return {
            "people": people[:MOST_PEOPLE],
            "count": len(people),
            "limit": self.limit(room),
            "gives_back": self.gives_back,
            "decisions": [_short(each) for each in shown],
        }


def _says_something(decision: Decision) -> bool:
    """Whether people notice it: a token with a shorter life alone serves them as well."""
    return decision.ruling.deed is not Deed.CHANGED or takes_sources(decision.ruling)


def _short(decision: Decision) -> dict[str, Any]:
    fields = decision.as_json()
    shown = {name: fields[name] for name in ("id", "at", "kind", "rule", "observed", "user")}
    return {**shown, "kind": _kind(decision.ruling)}


def _kind(ruling: Ruling) -> str:
    """What people see of a ruling; several of the seat limit's look different to them."""
    inputs, is_limit = ruling.inputs, ruling.rule == Limit.name
    if ruling.deed is Deed.STEP:
        if inputs.get("failure"):
            return "failed"
        if inputs.get("is_loud"):
            return "curbed"
        if is_limit and not inputs.get("is_standing"):
            return "for_data"
    if ruling.deed is Deed.REFUSED and is_limit:
        if START_LEVEL in inputs:
            return "not_started"
        if "max_users" not in inputs:
            return "too_many"
    return ruling.deed.value
