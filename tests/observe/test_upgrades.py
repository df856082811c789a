"""Which rooms have lost their rules by an upgrade: looked for slowly, and of each room once."""

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.observe.upgrades import AGAIN_SECONDS, MOST_ASKED, UpgradedRooms
from lotus_guard.rules import RULES
from lotus_guard.rules.state_event import read_events
from tests.events import LIMIT_EVENT, SOURCES_EVENT

OLD, NEW, FIRST = RoomId("!old:s"), RoomId("!new:s"), RoomId("!first:s")
RATE = 10.0


@define(eq=False)
class House:
    """A homeserver with an upgraded room."""

    contents: dict[tuple[RoomId, str], Any] = field(factory=dict)
    asked: list[tuple[RoomId, str]] = field(factory=list)
    fails: Exception | None = None
    clock: Clock = field(factory=Clock)
    rooms: UpgradedRooms = field(init=False)

    def __attrs_post_init__(self) -> None:
        here: Any = self
        limiter = RateLimiter(RATE, self.clock, self.clock.seconds)
        self.rooms = UpgradedRooms(here, here, RULES, limiter, self.clock.seconds)
        self.contents[OLD, LIMIT_EVENT] = {"max_users": 3}

    async def predecessor(self, room: RoomId) -> RoomId | None:
        self.asked.append((room, "create"))
        if self.fails:
            raise self.fails
        return OLD if room == NEW else None

    async def policy(self, room: RoomId, rule: Any) -> Any:
        self.asked.append((room, rule.event))
        content = self.contents.get((room, rule.event))
        event = {"type": rule.event, "state_key": "", "content": content, "origin_server_ts": 1000}
        return read_events(rule, [] if content is None else [event])

    def lost(self, room: RoomId = NEW) -> RoomId | None:
        """Look twice, with time to ask in between."""
        self.rooms.lost(room)
        for _ in range(20):
            self.clock.advance(1.0 / RATE)
        return self.rooms.lost(room)


def test_a_room_that_replaced_one_with_rules_and_has_none_is_found() -> None:
    house = House()
    assert house.rooms.lost(NEW) is None, "nobody waits for it"
    assert house.lost() == OLD


@pytest.mark.parametrize("content", [{"max_users": 2}, {}])
def test_a_room_whose_rules_were_ever_set_has_lost_none(content: Any) -> None:
    house = House()
    house.contents[NEW, SOURCES_EVENT] = content
    assert house.lost() is None


def test_a_room_that_replaced_one_without_rules_has_lost_none() -> None:
    house = House()
    house.contents[OLD, LIMIT_EVENT] = {}
    assert house.lost() is None


def test_of_a_room_that_replaced_none_its_first_event_is_asked_for_once() -> None:
    house = House()
    for _ in range(5):
        assert house.lost(FIRST) is None
        house.clock.advance(AGAIN_SECONDS)
    assert house.asked == [(FIRST, "create")]


def test_one_that_has_lost_its_rules_is_looked_at_again_after_a_while() -> None:
    house = House()
    house.lost()
    before = len(house.asked)
    assert house.lost() == OLD
    assert len(house.asked) == before
    house.contents[NEW, LIMIT_EVENT] = {}
    house.clock.advance(AGAIN_SECONDS)
    assert house.lost() is None


@pytest.mark.parametrize("failure", [Outage(Reason.TIMEOUT, "made up"), ValueError("made up")])
def test_where_it_cannot_be_asked_what_was_known_holds(
    failure: Exception, logged: list[Any]
) -> None:
    house = House()
    house.lost()
    house.clock.advance(AGAIN_SECONDS)
    house.fails = failure
    assert house.lost() == OLD
    assert bool(logged) == isinstance(failure, ValueError)
    asked = len(house.asked)
    assert house.lost() == OLD
    assert len(house.asked) == asked, "not before a while has gone by"


def test_looks_are_slow_and_few_at_once() -> None:
    house = House()
    for number in range(100):
        house.rooms.lost(RoomId(f"!{number}:s"))
    assert len(house.rooms._flight) == MOST_ASKED
    house.clock.advance(0.45)
    assert len(house.asked) <= 1 + 0.45 * RATE


def test_a_room_with_rules_is_not_asked_for_and_one_that_is_settled_not_looked_at() -> None:
    house, looked = House(), list[RoomId]()

    def lacks_rules(room: RoomId) -> bool:
        looked.append(room)
        return has_none

    has_none = False
    assert house.rooms.lost(NEW, lacks_rules) is None
    assert (looked, house.asked, len(house.rooms._flight)) == ([NEW], [], 0)
    house.lost(NEW)
    house.lost(FIRST)
    looked.clear()
    assert house.rooms.lost(FIRST, lacks_rules) is None
    assert looked == [], "it never replaced any room"
    assert house.rooms.lost(NEW, lacks_rules) is None, "it has rules by now"
    has_none = True
    assert house.rooms.lost(NEW, lacks_rules) == OLD
    assert looked == [NEW, NEW]
