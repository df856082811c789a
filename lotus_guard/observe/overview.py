"""What an operator sees of a running guard, as plain values: rooms, decisions, dependencies."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field
from twisted.logger import Logger

from lotus_guard.enforce.records import Recorder
from lotus_guard.observe.health import Health
from lotus_guard.observe.last_hour import LastHour
from lotus_guard.observe.room_times import RoomTimes
from lotus_guard.observe.rooms import Rooms
from lotus_guard.version import VERSION

_log = Logger()

MOST_DECISIONS = 200
"""Decisions that are shown: enough for a few seconds of many, which the page puts together."""
LOOK_SECONDS = 10.0
"""How often the guard looks at itself, for what changes by itself: people, and full rooms."""


@define(eq=False)
class Overview:
    """Describes a guard; every method returns what JSON can hold."""

    rooms: Rooms
    records: Recorder
    health: Health
    epoch: Callable[[], float]
    identity: Mapping[str, Any]
    """Who this guard is: its instance, and which rules it enforces or observes."""
    hour: LastHour = field(init=False)
    times: RoomTimes = field(init=False)
    _started: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._started = self.epoch()
        self.hour, self.times = LastHour(self.epoch), RoomTimes(self.epoch)
        self.records.watchers += [self.hour.decided, self.times.decided]

    def look(self) -> None:
        """Take note of what changes by itself, whether anybody watches or not; raises nothing."""
        try:
            self.times.full(self.rooms.full())
            self.hour.saw(self.rooms.people())
        except Exception:
            _log.failure("Could not record the last hour")

    def guard(self) -> dict[str, Any]:
        """Describe this process."""
        return {"pid": os.getpid(), "version": VERSION, "started": self._started, **self.identity}

    def dependencies(self) -> list[dict[str, Any]]:
        """Describe everything that the guard depends on, with its age."""
        return self.health.dependencies()

    def live_rooms(self) -> list[dict[str, Any]]:
        """Describe the live rooms, each with its times."""
        self.times.full(self.rooms.full())
        return [{**room, **self.times.of(room["room"])} for room in self.rooms.all()]

    def decisions(self) -> list[dict[str, Any]]:
        """List the last decisions, and the last fail-opens in any case, newest first."""
        recent = list(self.records.recent)[-MOST_DECISIONS:]
        there = {decision.id for decision in recent}
        older = [each for each in self.records.unguarded if each.id not in there]
        return [decision.as_json() for decision in reversed(older + recent)]

    def snapshot(self) -> dict[str, Any]:
        """Describe everything, for the status page."""
        return {
            "guard": self.guard(),
            "dependencies": self.dependencies(),
            "rooms": self.live_rooms(),
            "decisions": self.decisions(),
            "hour": self.hour.minutes(),
        }
