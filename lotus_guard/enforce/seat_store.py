"""Where changes of seats go, so that all who give seats see the same ones.

One guard alone keeps its seats in memory, and a change is simply made. Several guards share theirs
(`lotus_guard.memory.redis_seats`); there a change is made on a copy and holds only once Redis has
taken it in, and it is made again where another guard was faster.
"""

from collections.abc import Callable
from typing import Any, Protocol, TypeVar

from attrs import define

from lotus_guard.core.model import RoomId
from lotus_guard.core.seats import Seats

V = TypeVar("V")


def no_slack(_result: Any) -> float:
    """Of a result that may be another as soon as anything of the room's seats is."""
    return -1.0


class SeatStore(Protocol):
    """Takes in changes of seats."""

    async def change(
        self, room: RoomId, work: Callable[[Seats], V], slack: Callable[[V], float] = no_slack
    ) -> V:
        """Do a piece of work on a room's seats and return its result.

        `work` may be done more than once, each time on the seats as they are then; only the last
        time counts. It must not wait for anything, and touch the seats of this room only.

        `slack` says of a result how many people others may seat meanwhile and it holds all the
        same; below 0 nothing may have changed. With slack, guards need not wait for each other. It
        counts only where the work did no more than hold seats, or date a look.
        """
        ...

    def is_certain(self, room: RoomId) -> bool:
        """Whether all seats that anybody gave in a room are known here."""
        ...

    def sweep(self, now: float) -> None:
        """Clear away what is left of rooms that are over."""
        ...

    async def reunite(self) -> None:
        """Exchange with the others what could not be told before; never raises."""
        ...


@define(eq=False)
class LocalSeats:
    """The seats of a guard that shares them with nobody."""

    seats: Seats

    async def change(
        self, _room: RoomId, work: Callable[[Seats], V], _slack: Callable[[V], float] = no_slack
    ) -> V:
        """Do the work at once."""
        return work(self.seats)

    def is_certain(self, _room: RoomId) -> bool:
        """Always: nobody else gives seats."""
        return True

    def sweep(self, now: float) -> None:
        """Clear away what is left of rooms that are over."""
        self.seats.sweep(now)

    async def reunite(self) -> None:
        """Do nothing: there is nobody to tell."""
