"""Rooms' names, asked for by who looks, and few at a time."""

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.observe.room_names import AGAIN_SECONDS, MOST_ASKED, OUTAGE_SECONDS, RoomNames


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


def test_names_come_soon_after_an_outage_not_minutes_later() -> None:
    """The page is looked at during an outage, and it is then that names are first asked for."""
    clock, namer = Clock(), Namer()
    names = RoomNames(namer, RateLimiter(1000.0, clock, clock.seconds), clock.seconds)  # type: ignore[arg-type]
    out, empty = RoomId("!out:s"), RoomId("!empty:s")
    for room in (out, empty):
        names.name_of(room)
        clock.advance(1.0)
    namer.waiting.pop(out).errback(Failure(Outage(Reason.REFUSED, "down")))
    namer.waiting.pop(empty).callback(None)
    clock.advance(OUTAGE_SECONDS + 1.0)
    for room in (out, empty):
        names.name_of(room)
        clock.advance(1.0)
    assert list(namer.waiting) == [out], "a room that has no name is not asked for again so soon"
    namer.waiting.pop(out).callback("Kitchen")
    assert names.name_of(out) == "Kitchen"
    clock.advance(AGAIN_SECONDS + 1.0)
    names.name_of(empty)
    clock.advance(1.0)
    assert list(namer.waiting) == [empty]
