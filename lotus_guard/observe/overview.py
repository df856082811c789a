"""What an operator sees of a running guard, as plain values: rooms, decisions, dependencies.

Nobody is asked anything for it: it shows what the guard knows anyway. So who is in a room is known
where a policy restricts it; of other rooms LiveKit's count is. A room, as JSON:

    {"room": "!r:s", "name": "Kitchen" | null, "people": 3, "users": ["@a:s", ...],
     "taken": 3 | null, "max_users": 5 | null, "forbidden": ["camera", ...],
     "refused": 1, "narrowed": 4, "steps": 0, "failed_open": 0}
"""

import os
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import LimitPolicy, RoomId, SourcePolicy
from lotus_guard.core.seats import Seats
from lotus_guard.enforce.live import Live
from lotus_guard.enforce.policies import Policies
from lotus_guard.enforce.ports import Now
from lotus_guard.enforce.records import Recorder
from lotus_guard.observe.health import Health
from lotus_guard.rules.decision import Deed

MOST_ROOMS = 1000
"""Rooms that are shown at once, those under a policy and those with most people first."""
MOST_USERS = 100
MOST_DECISIONS = 50


@define(eq=False)
class Overview:
    """Describes a guard; every method gives what JSON can hold."""

    live: Live
    knowledge: Directory
    seats: Seats
    limits: Policies[LimitPolicy]
    sources: Policies[SourcePolicy]
    records: Recorder
    health: Health
    now: Now
    epoch: Callable[[], float]
    identity: Mapping[str, Any]
    """Who this guard is: its instance, and which rules it enforces or observes."""
    name_of: Callable[[RoomId], str | None] = lambda _room: None
    _started: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._started = self.epoch()

    def guard(self) -> dict[str, Any]:
        """Describe this process."""
        return {"pid": os.getpid(), "started": self._started, **self.identity}

    def dependencies(self) -> list[dict[str, Any]]:
        """Describe everything that the guard depends on, with its age."""
        return self.health.dependencies()

    def decisions(self) -> list[dict[str, Any]]:
        """List the last decisions, newest first."""
        recent = list(self.records.recent)[-MOST_DECISIONS:]
        return [decision.as_json() for decision in reversed(recent)]

    def rooms(self) -> list[dict[str, Any]]:
        """Describe the live rooms, those under a policy first, then by people."""
        counts: dict[RoomId, int] = {}
        for livekit_room, count in self.live.counts.items():
            place = self.knowledge.place_of(livekit_room)
            if place:
                counts[place.room] = counts.get(place.room, 0) + count
        for room in self.seats.rooms():
            if self.seats.taken(room, self.now()):
                counts.setdefault(room, 0)
        ranked = sorted(counts, key=lambda room: (not self._restricts(room), -counts[room], room))
        return [self._room(room, counts[room]) for room in ranked[:MOST_ROOMS]]

    def people(self) -> int:
        """Count the people in all LiveKit rooms, by LiveKit's own count."""
        return sum(self.live.counts.values())

    def snapshot(self) -> dict[str, Any]:
        """Describe everything, for the status page."""
        return {
            "guard": self.guard(),
            "dependencies": self.dependencies(),
            "rooms": self.rooms(),
            "decisions": self.decisions(),
        }

    def _restricts(self, room: RoomId) -> bool:
        limit, sources = self.limits.last(room), self.sources.last(room)
        return bool((limit and limit.restricts) or (sources and sources.restricts))

    def _room(self, room: RoomId, count: int) -> dict[str, Any]:
        limit, sources = self.limits.last(room), self.sources.last(room)
        most = limit.max_users if limit else None
        seen = self.seats.people(room) if self._restricts(room) else []
        tally = self.records.tally(room)
        return {
            "room": room,
            "name": self.name_of(room),
            "people": max(count, len(seen)),
            "users": self.records.shown(seen[:MOST_USERS]),
            "taken": None if most is None else len(self.seats.taken(room, self.now())),
            "max_users": most,
            "forbidden": sorted(sources.forbidden) if sources else [],
            "refused": tally[Deed.REFUSED],
            "narrowed": tally[Deed.CHANGED],
            "steps": tally[Deed.STEP],
            "failed_open": tally[Deed.FAIL_OPEN],
        }
