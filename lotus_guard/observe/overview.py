"""What an operator sees of a running guard, as plain values: rooms, decisions, dependencies."""

import os
from collections.abc import Callable, Mapping
from typing import Any

from attrs import define, field

from lotus_guard.enforce.records import Recorder
from lotus_guard.observe.health import Health
from lotus_guard.observe.rooms import Rooms
from lotus_guard.version import VERSION

MOST_DECISIONS = 50


@define(eq=False)
class Overview:
    """Describes a guard; every method returns what JSON can hold."""

    rooms: Rooms
    records: Recorder
    health: Health
    epoch: Callable[[], float]
    identity: Mapping[str, Any]
    """Who this guard is: its instance, and which rules it enforces or observes."""
    _started: float = field(init=False)

    def __attrs_post_init__(self) -> None:
        self._started = self.epoch()

    def guard(self) -> dict[str, Any]:
        """Describe this process."""
        return {"pid": os.getpid(), "version": VERSION, "started": self._started, **self.identity}

    def dependencies(self) -> list[dict[str, Any]]:
        """Describe everything that the guard depends on, with its age."""
        return self.health.dependencies()

    def decisions(self) -> list[dict[str, Any]]:
        """List the last decisions, newest first."""
        recent = list(self.records.recent)[-MOST_DECISIONS:]
        return [decision.as_json() for decision in reversed(recent)]

    def snapshot(self) -> dict[str, Any]:
        """Describe everything, for the status page."""
        return {
            "guard": self.guard(),
            "dependencies": self.dependencies(),
            "rooms": self.rooms.all(),
            "decisions": self.decisions(),
        }
