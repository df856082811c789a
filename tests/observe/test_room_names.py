"""Rooms' names, asked for by who looks, and few at a time."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.observe.room_names import MOST_ASKED, RoomNames


class Namer:
    """A homeserver that answers when it is told to."""

    def __init__(self) -> None:
        self.waiting: dict[RoomId, Deferred[str | None]] = {}

    async def name(self, room: RoomId) -> str | None:
        self.waiting[room] = Deferred()
        return await self.waiting[room]


def test_names_are_asked_for_once_and_few_at_a_time() -> None:
    clock, namer = Clock(), Namer()
    names = RoomNames(namer, RateLimiter(1000.0, clock, clock.seconds), clock.seconds)  # type: ignore[arg-type]
    rooms = [RoomId(f"!{n}:s") for n in range(100)]
    for _ in range(3):
        for room in rooms:
            assert names.name_of(room) is None
        clock.advance(1.0)
    assert len(namer.waiting) == MOST_ASKED
    namer.waiting[rooms[0]].callback("Kitchen")
    namer.waiting[rooms[1]].errback(Failure(Outage(Reason.TIMEOUT, "late")))
    assert names.name_of(rooms[0]) == "Kitchen"
    assert names.name_of(rooms[1]) is None
    clock.advance(1.0)
    assert len(namer.waiting) == MOST_ASKED, "a room without a name is not asked for at once again"
