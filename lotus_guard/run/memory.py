"""What the guard remembers, and what of it is cleared away once a minute."""

from attrs import define, field, frozen
from twisted.logger import Logger

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import LiveKitRoom
from lotus_guard.core.seats import Seats
from lotus_guard.enforce.claims import ClaimStore
from lotus_guard.enforce.live import Live
from lotus_guard.enforce.ports import Now
from lotus_guard.enforce.seat_store import SeatStore
from lotus_guard.run.cluster import Cluster

_log = Logger()

HOUSEKEEPING_SECONDS = 60.0
FORGET_SECONDS = 3600.0
"""Seconds after which a LiveKit room that has not been seen is forgotten."""
ARCHIVE_SECONDS = 300.0
"""Seconds after which what was learnt in a LiveKit room that has not been seen is packed away."""


@frozen
class Memory:
    """Who and what is behind LiveKit's names, who has a seat, and what keeps it."""

    directory: Directory
    seats: Seats
    seat_store: SeatStore
    cluster: Cluster
    claims: ClaimStore | None = None
    """What may be given back; None where nothing is."""

    def open(self) -> None:
        """Take up what was kept before, and keep what is learnt from now on."""
        self.cluster.store.open(self.directory, self.seats)


@define(eq=False)
class Housekeeping:
    """Clears away what has run out."""

    memory: Memory
    live: Live
    now: Now
    _alive: dict[LiveKitRoom, float] = field(init=False, factory=dict)
    """When each LiveKit room was last seen."""

    def tidy(self) -> None:
        """Clear away; never raises, because a LoopingCall stops for good at its first error."""
        try:
            self.memory.cluster.store.beat()
            self.memory.seat_store.sweep(self.now())
            self.live.candidates.policies.sweep()
            self._forget_finished()
        except Exception:
            _log.failure("Could not clear away expired entries")

    def _forget_finished(self) -> None:
        """Forget LiveKit rooms that have not been seen for an hour."""
        now, directory, seen = self.now(), self.memory.directory, self.live.counts
        self._alive = {
            livekit_room: now if livekit_room in seen else self._alive.get(livekit_room, now)
            for livekit_room, _ in list(directory.bindings())
        }
        directory.archive(self._unseen_for(ARCHIVE_SECONDS))
        finished = self._unseen_for(FORGET_SECONDS)
        if finished and self.live.last_good is not None:
            directory.forget(finished)
            if self.memory.claims is not None:
                self.memory.claims.forget(finished)

    def _unseen_for(self, seconds: float) -> set[LiveKitRoom]:
        now = self.now()
        return {livekit_room for livekit_room, at in self._alive.items() if now - at > seconds}
