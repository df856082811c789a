"""The live rooms as an operator sees them, from what the guard knows anyway.

Nobody is asked anything for it. So who is in a room is known where a policy restricts it; of other
rooms LiveKit's count is. A room, as JSON:

    {"room": "!r:s", "name": "Kitchen" | null, "people": 3, "users": ["@a:s", ...],
     "policy": [{"rule": "limit", "words": ["at most 5 people"], "brief": ["at most 5"],
                 "seats": 5 | null}, ...],
     "taken": 3 | null, "max_users": 5 | null, "forbidden": ["camera", ...],
     "refused": 1, "narrowed": 4, "steps": 0, "failed_open": 0, "strangers": 0,
     "rules_lost_of": "!old:s" | null}

`policy` lists the rules that restrict the room, and each rule adds the fields of its own policy
(`Rule.show`). `taken` is known where the room has a number of seats. `rules_lost_of` is the room
with rules that this one replaced, where it has none itself (`observe.upgrades`). `strangers` are in
the calls and not known to be members of the room (`enforce.member_watch`): listeners whom nobody
sees, or guests of a call from before the guard.
"""

from collections.abc import Callable
from typing import Any

from attrs import define

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Seats
from lotus_guard.enforce.live import Live
from lotus_guard.enforce.policies import AllPolicies, Policies
from lotus_guard.enforce.records import Recorder
from lotus_guard.rules.decision import Deed
from lotus_guard.rules.rule import P, Rule

MOST_ROOMS = 1000
"""Rooms that are shown at once; which come first, `Rooms.all` says."""
MOST_USERS = 100


@define(eq=False)
class Rooms:
    """Describes the live rooms; every method returns what JSON can hold."""

    live: Live
    directory: Directory
    seats: Seats
    policies: AllPolicies
    records: Recorder
    name_of: Callable[[RoomId], str | None]
    strangers: Callable[[RoomId], int] = lambda _room: 0
    """How many in a room's calls are not known to be its members."""
    lost: Callable[[RoomId, Callable[[RoomId], bool]], RoomId | None] = lambda _room, _lacks: None
    """Which room with rules a room without any has replaced, as far as that is known; it is given
    what says whether a room is known to have none."""

    def now(self) -> float:
        """Seconds of the clock that the live loop goes by."""
        return self.live.now()

    def all(self) -> list[dict[str, Any]]:
        """Describe the live rooms, unguarded ones first, then those under a policy, by people."""
        counts = self._counts()
        for room in self.seats.rooms():
            if self.seats.taken(room, self.now()):
                counts.setdefault(room, 0)

        def rank(room: RoomId) -> tuple[bool, bool, int, RoomId]:
            is_guarded = not self.records.tally(room)[Deed.FAIL_OPEN]
            return is_guarded, not self.policies.restricts(room), -counts[room], room

        return [self._room(room, counts[room]) for room in sorted(counts, key=rank)[:MOST_ROOMS]]

    def full(self) -> list[RoomId]:
        """List the rooms in which all seats are taken."""
        return [room for room in self.seats.rooms() if self._is_full(room)]

    def _is_full(self, room: RoomId) -> bool:
        seats = self.policies.seats(room)
        return seats is not None and len(self.seats.taken(room, self.now())) >= seats

    def upgraded(self) -> int:
        """Count the live rooms without rules that replaced one with rules."""
        rooms = sorted(self._counts())[:MOST_ROOMS]
        return sum(self._lost(room) is not None for room in rooms)

    def unknown(self) -> int:
        """Count who is in calls and not known to be a member of the room."""
        return sum(map(self.strangers, self._counts()))

    def people(self) -> int:
        """Count the people in all LiveKit rooms, by LiveKit's own count."""
        return sum(self.live.counts.values())

    def held(self) -> int:
        """Count the seats that are held for people who are not there."""
        return self.seats.held(self.now())

    def _counts(self) -> dict[RoomId, int]:
        """How many people are in each room, by LiveKit's count."""
        counts: dict[RoomId, int] = {}
        for livekit_room, count in self.live.counts.items():
            binding = self.directory.binding_of(livekit_room)
            if binding:
                counts[binding.room] = counts.get(binding.room, 0) + count
        return counts

    def _lost(self, room: RoomId) -> RoomId | None:
        """The room whose rules this one lacks; asked for only once it is known to have none."""
        return self.lost(room, self._lacks_rules)

    def _lacks_rules(self, room: RoomId) -> bool:
        """Whether it is known that no rule restricts a room."""
        policies = self.policies
        if policies.restricts(room) or policies.age(room) is None:
            return False
        return not policies.is_unknown(room)

    def _room(self, room: RoomId, count: int) -> dict[str, Any]:
        seen = self.seats.people(room) if self.policies.restricts(room) else []
        has_seats = self.policies.seats(room) is not None
        tally = self.records.tally(room)
        last = [(policies.rule, _last(policies, room)) for policies in self.policies]
        fields: dict[str, Any] = {
            "room": room,
            "name": self.name_of(room),
            "people": max(count, len(seen)),
            "users": self.records.shown(seen[:MOST_USERS]),
            "policy": [described(rule, policy) for rule, policy in last if policy.restricts],
            "taken": len(self.seats.taken(room, self.now())) if has_seats else None,
            "refused": tally[Deed.REFUSED],
            "narrowed": tally[Deed.CHANGED],
            "steps": tally[Deed.STEP],
            "failed_open": tally[Deed.FAIL_OPEN],
            "rules_lost_of": self._lost(room),
            "strangers": self.strangers(room),
        }
        for rule, policy in last:
            fields = {**rule.show(policy).fields, **fields}
        return fields


def _last(policies: Policies[P], room: RoomId) -> P:
    """What is known of a policy; where nothing is, none."""
    last = policies.last(room)
    return policies.rule.read(None).policy if last is None else last


def described(rule: Rule[P], policy: P) -> dict[str, Any]:
    """Describe what a rule says of a room, as JSON can hold it."""
    shown = rule.show(policy)
    return {
        "rule": rule.name,
        "words": list(shown.words),
        "brief": list(shown.brief),
        "seats": rule.seats(policy),
    }
