"""What keeps what a guard learns: `sqlite` for one guard, `redis_store` for several."""

from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.defer import Deferred

from lotus_guard.core.directory import Directory, DirectoryListener
from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Seats
from lotus_guard.rules.decision import Decision


class Clocks(Protocol):
    """Where a store takes time from."""

    @property
    def reactor(self) -> Any:
        """Runs what is to happen later."""
        ...

    @property
    def now(self) -> Callable[[], float]:
        """Seconds that never run backwards."""
        ...

    @property
    def epoch(self) -> Callable[[], float]:
        """Seconds since 1970."""
        ...


class Store(Protocol):
    """Reads at the start what was learnt before, and writes down what is learnt now."""

    @property
    def instance(self) -> str:
        """Names this guard among all that keep things in the same place."""
        ...

    @property
    def learns(self) -> DirectoryListener:
        """What the directory tells."""
        ...

    def open(self, directory: Directory, seats: Seats) -> None:
        """Take up what was written down before, and begin to write; never raises."""
        ...

    def seats_changed(self, room: RoomId) -> None:
        """Write down the seats of a room, soon."""
        ...

    def decided(self, decision: Decision) -> None:
        """Write down a decision, soon."""
        ...

    async def decisions(
        self, room: str | None = None, user: str | None = None, most: int = 100
    ) -> list[Decision]:
        """The newest decisions on a room and a user, newest first; none where it has trouble."""
        ...

    async def decision(self, reference: str) -> Decision | None:
        """The decision with this id; None where there is none, or it has trouble."""
        ...

    def beat(self) -> None:
        """Drop what is too old or too much; called once a minute."""
        ...

    def close(self) -> Deferred[None]:
        """Write what is left."""
        ...
