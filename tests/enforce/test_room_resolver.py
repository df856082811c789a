"""LiveKit rooms that are in no record are looked for among Synapse's rooms, once."""

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import LiveKitRoom, RoomId
from lotus_guard.core.naming import ROOM_SLOT, livekit_room_of
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.enforce.room_resolver import AGAIN_SECONDS, MOST_PAGES, RoomResolver

A, B, C = RoomId("!a:s"), RoomId("!b:s"), RoomId("!c:s")
UNKNOWN = LiveKitRoom("of-nobody")
PER_SECOND = 2.0


def called(room: RoomId, slot: str = ROOM_SLOT) -> LiveKitRoom:
    return livekit_room_of(room, slot)


@define(eq=False)
class Registry:
    """A homeserver's rooms, two on a page; and a resolver that reads them."""

    rooms_there: list[RoomId] = field(factory=lambda: [A, B, C])
    clock: Clock = field(factory=Clock)
    fails: Exception | None = None
    holds: Deferred[None] = field(factory=lambda: succeed(None))
    endless: bool = False
    pages: list[int] = field(factory=list)
    found: list[RoomId] = field(factory=list)
    directory: Directory = field(init=False)
    resolver: RoomResolver = field(init=False)

    def __attrs_post_init__(self) -> None:
        now = self.clock.seconds
        self.directory = Directory(now)
        homeserver: Any = self
        limiter = RateLimiter(PER_SECOND, self.clock, now)
        self.resolver = RoomResolver(homeserver, self.directory, limiter, now, self.found.append)

    async def rooms(self, start: int) -> tuple[list[RoomId], int | None]:
        self.pages.append(start)
        await self.holds
        if self.fails is not None:
            raise self.fails
        after = start + 2
        more = self.endless or after < len(self.rooms_there)
        return self.rooms_there[start:after], after if more else None

    def look(self, *livekit_rooms: LiveKitRoom, seconds: float = 5.0) -> None:
        self.resolver.begin(livekit_rooms)
        self.clock.pump([1.0 / PER_SECOND] * int(seconds * PER_SECOND))


def test_a_room_is_found_by_the_name_that_its_call_has() -> None:
    there = Registry()
    there.look(called(B), called(C))
    assert there.found == [B, C]
    for room in (B, C):
        assert there.directory.binding_of(called(room)) == Binding(room, ROOM_SLOT, Evidence.PROOF)
    assert there.directory.binding_of(called(A)) is None, "nobody has asked for it"
    assert there.resolver.unknown == 0


def test_what_is_known_is_not_looked_for() -> None:
    there = Registry()
    there.directory.learn_room(called(A), Binding(A, ROOM_SLOT, Evidence.PROOF))
    there.look(called(A))
    assert there.pages == []


def test_the_search_ends_with_the_last_room_that_it_is_for() -> None:
    there = Registry()
    there.look(called(A))
    assert there.pages == [0], "the second page need not be read"


def test_pages_are_read_no_faster_than_the_limiter_lets_them() -> None:
    there = Registry()
    there.resolver.begin([UNKNOWN])
    assert there.pages == [0]
    there.clock.advance(1.0 / PER_SECOND)
    assert there.pages == [0, 2]


def test_what_is_not_found_is_unknown_and_looked_for_again_after_a_while() -> None:
    there = Registry()
    there.look(UNKNOWN)
    there.look(UNKNOWN)
    assert there.pages == [0, 2]
    assert there.resolver.unknown == 1
    there.clock.advance(AGAIN_SECONDS)
    assert there.resolver.unknown == 0
    there.look(UNKNOWN)
    assert there.pages == [0, 2, 0, 2]


def test_one_search_runs_at_a_time() -> None:
    there = Registry(holds=Deferred())
    there.look(called(A))
    there.look(called(B))
    assert there.pages == [0]
    there.holds.callback(None)
    assert there.found == [A]
    there.look(called(B))
    assert there.found == [A, B]


def test_a_slot_that_was_seen_elsewhere_is_tried_as_well() -> None:
    there = Registry()
    there.look(called(B, "m.call#stage"))
    assert there.found == []
    seen = called(A, "m.call#stage")
    there.directory.learn_room(seen, Binding(A, "m.call#stage", Evidence.PROOF))
    there.clock.advance(AGAIN_SECONDS + 1)
    there.look(called(B, "m.call#stage"))
    assert there.found == [B]


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (Outage(Reason.TIMEOUT, "late"), "Could not look up the rooms of 1 calls: late (timeout)"),
        (RuntimeError("a bug"), "Could not look for the rooms of unknown calls"),
    ],
)
def test_a_search_that_fails_is_said_and_made_again(
    logged: list[Any], fault: Exception, says: str
) -> None:
    there = Registry(fails=fault)
    there.look(called(A))
    assert formatEvent(logged[-1]).startswith(says)
    assert there.resolver.unknown == 0, "nobody has said that there is no such room"
    there.fails = None
    there.look(called(A))
    assert there.found == [A]


def test_a_homeserver_whose_pages_never_end_is_left_after_so_many() -> None:
    there = Registry(endless=True)
    there.look(UNKNOWN, seconds=MOST_PAGES)
    assert len(there.pages) == MOST_PAGES
