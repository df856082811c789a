"""Where rooms are too many to be asked about in turn, those that have changed come first."""

from collections.abc import Iterator, Mapping
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock, deferLater

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.change_watch import (
    AGAIN_SECONDS,
    AT_ONCE,
    LOOK_SECONDS,
    MOST_PAGES,
    REST_SECONDS,
    REST_TIMES,
    ChangeWatch,
)
from lotus_guard.enforce.policies import AllPolicies
from lotus_guard.enforce.ports import MayNotLook, Outage, Reason
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.rules.rule import Allow, Reading
from lotus_guard.sandbox.stack import OPEN
from tests.calls import join
from tests.enforce.stand_ins import Given, Homeserver, Says, policies_of
from tests.world import World, reactor

STEP = 0.02
RATE = 50.0


def names(count: int) -> list[RoomId]:
    return [RoomId(f"!{number}:s") for number in range(count)]


_servers: list["Server"] = []


@pytest.fixture(autouse=True)
def nothing_goes_on() -> Iterator[None]:
    yield
    while _servers:
        _servers.pop().watch.stop()


@define(eq=False)
class Server:
    """A homeserver that counts its rooms' state events, and a guard that watches the counts."""

    rooms: list[RoomId]
    page: int = 1000
    takes: float = 0.0
    """Seconds for a page."""
    fails: Exception | None = None
    endless: bool = False
    clock: Clock = field(factory=Clock)
    pages: list[float] = field(factory=list)
    """When each page was asked for."""
    looked: list[tuple[float, RoomId]] = field(factory=list)
    """When each room had its look-ups."""
    counts: dict[RoomId, int] = field(init=False)
    policies: AllPolicies = field(init=False)
    limiter: RateLimiter = field(init=False)
    watch: ChangeWatch = field(init=False)

    def __attrs_post_init__(self) -> None:
        _servers.append(self)
        self.clock.advance(1000.0)
        self.counts = dict.fromkeys(self.rooms, 5)
        now = self.clock.seconds
        rules = [Says("one", Allow()), Says("two", Allow())]
        self.policies = policies_of(rules, Homeserver(), self.clock)
        self.limiter = RateLimiter(RATE, self.clock, now)
        self.watch = ChangeWatch(self, self.policies, self.limiter, self.changed, self.clock, now)

    async def tallies(self, start: int) -> tuple[Mapping[RoomId, int], int | None]:
        self.pages.append(self.clock.seconds())
        if self.fails is not None:
            raise self.fails
        listed = list(self.counts)[start : start + self.page]
        found = {room: self.counts[room] for room in listed}
        if self.takes:
            waiting: Deferred[None] = Deferred()
            self.clock.callLater(self.takes, waiting.callback, None)
            await waiting
        after = start + self.page
        return found, after if self.endless or after < len(self.counts) else None

    def changed(self, room: RoomId) -> None:
        self.looked.append((self.clock.seconds(), room))
        self.read(room)

    def read(self, room: RoomId) -> None:
        readings = dict.fromkeys(("one", "two"), Reading(Given(False)))
        self.policies.put(room, readings, self.clock.seconds())

    def run(self, seconds: float) -> None:
        """Have passes come by for so long."""
        for number in range(round(seconds / STEP)):
            if number % 1500 == 0:  # a pass takes half a minute
                self.watch.watch(self.rooms)
            self.clock.advance(STEP)

    def settle(self) -> None:
        """Have all rooms counted, and read since then."""
        self.run(5.0 if self.takes else 2 * STEP)
        self.clock.advance(STEP)
        for room in self.rooms:
            self.read(room)
        self.run(REST_SECONDS + LOOK_SECONDS)
        self.looked.clear()
        self.pages.clear()

    @property
    def order(self) -> list[RoomId]:
        return [room for _, room in self.looked]


def test_what_changes_among_5000_rooms_is_looked_at_within_a_minute() -> None:
    server = Server(names(5000), takes=0.2)
    server.settle()
    begun = server.clock.seconds()
    server.counts[RoomId("!4321:s")] += 1
    server.run(60.0)
    assert server.order == ["!4321:s"]
    assert server.looked[0][0] - begun < 20.0
    assert len(server.pages) <= 25, "five a round, and a round each eleven seconds or more"


def test_the_first_numbers_say_nothing_of_what_was_read_before() -> None:
    server = Server(names(3))
    for room in server.rooms:
        server.read(room)
    server.clock.advance(1.0)
    server.run(5.0)
    assert set(server.order) == set(server.rooms)
    server.looked.clear()
    server.run(60.0)
    assert server.order == []


def test_a_room_that_was_read_since_is_not_looked_at() -> None:
    server = Server(names(3))
    server.settle()
    server.counts[RoomId("!1:s")] += 1
    server.run(2 * STEP)
    server.read(RoomId("!1:s"))
    server.run(60.0)
    assert server.order in ([], ["!1:s"])
    server.looked.clear()
    server.run(60.0)
    assert server.order == []


def test_changed_rooms_come_before_new_ones_and_each_by_when_it_was_read_last() -> None:
    old, new = names(4), [RoomId("!new:s")]
    server = Server(old)
    server.settle()
    for room in (old[2], old[0], old[3]):
        server.clock.advance(0.1)
        server.read(room)
    server.rooms = [*old, *new]
    server.counts |= dict.fromkeys(new, 5)
    for room in (old[3], old[0], old[2]):
        server.counts[room] += 1
    server.run(2 * REST_SECONDS)
    assert server.order == [old[2], old[0], old[3], new[0]]


def test_look_ups_and_pages_keep_to_the_pace() -> None:
    server = Server(names(600), page=50)
    turns: list[float] = []

    @define(eq=False)
    class Counting(RateLimiter):
        async def turn(self) -> float:
            waited = await super().turn()
            turns.append(self.now())
            return waited

    server.watch.limiter = Counting(RATE, server.clock, server.clock.seconds)
    server.run(30.0)
    under_way = len(turns) - len(server.pages) - 2 * len(server.looked)
    assert 0 <= under_way <= 2 * AT_ONCE, "each is paid for beforehand"
    assert len(server.looked) > 100
    for at in range(1000, 1030):
        assert sum(at <= each < at + 1 for each in turns) <= RATE + 1


def test_a_round_has_rooms_looked_at_for_a_while_and_then_counts_again() -> None:
    server = Server(names(600))
    server.run(LOOK_SECONDS + 1.0)
    assert 0 < len(server.looked) <= RATE / 2 * LOOK_SECONDS + 4
    server.counts[RoomId("!7:s")] += 1
    server.read(RoomId("!7:s"))
    server.looked.clear()
    server.run(REST_SECONDS + 2.0)
    assert server.order[0] == "!7:s", "what has changed comes before what has not been looked at"


def test_a_dear_list_is_asked_for_rarely() -> None:
    server = Server(names(5), page=1, takes=2.0)
    server.run(30.0)
    gaps = [b - a for a, b in zip(server.pages, server.pages[1:], strict=False)][:4]
    assert all(gap >= 2.0 * (1.0 + REST_TIMES) for gap in gaps)


def test_a_homeserver_that_does_not_say_it_is_left_alone_for_a_while() -> None:
    server = Server(names(3), fails=MayNotLook("no"))
    server.run(AGAIN_SECONDS - 10.0)
    assert len(server.pages) == 1
    server.run(20.0)
    assert len(server.pages) == 2


@pytest.mark.parametrize("fault", [Outage(Reason.REFUSED, "away"), RuntimeError("a bug")])
def test_a_round_that_fails_is_followed_by_another(fault: Exception, logged: list[Any]) -> None:
    server = Server(names(3), fails=fault)
    server.run(REST_SECONDS - 1.0)
    assert len(server.pages) == 1
    server.fails = None
    server.run(5.0)
    assert len(server.pages) == 2
    is_bug = not isinstance(fault, Outage)
    assert len([event for event in logged if "log_failure" in event]) == is_bug


def test_a_list_without_an_end_ends_all_the_same() -> None:
    server = Server(names(3), page=3, endless=True)
    server.run(MOST_PAGES / RATE + 3.0)
    assert len(server.pages) == MOST_PAGES


def test_where_all_rooms_have_their_turns_nothing_is_asked_or_kept() -> None:
    server = Server(names(3))
    server.settle()
    server.rooms = []
    server.run(60.0)
    assert server.pages == []
    server.rooms = names(3)
    server.run(5.0)
    assert set(server.order) == set(names(3)), "what was known of them is forgotten"


def test_a_stop_ends_the_round() -> None:
    server = Server(names(5), page=1, takes=2.0)
    server.run(1.0)
    server.watch.stop()
    server.watch.stop()
    server.clock.advance(60.0)
    assert len(server.pages) == 1


@pytest_twisted.ensureDeferred
async def test_a_guard_with_more_rooms_than_it_may_ask_about_watches_the_counts(
    world: World,
) -> None:
    world.start_guard(LOTUS_GUARD_POLICY_RATE="4", LOTUS_GUARD_RECONCILE_INTERVAL="1")
    states, loop, rooms = world.sandbox.homeserver, world.guard.loop, []
    for number in range(4):
        rooms.append(f"!{number}:sandbox")
        states.add_room(rooms[-1], "@admin:sandbox")
        await join(world, "alice", rooms[-1])
    await loop.run_pass()
    assert set(loop.live.overdue) == set(rooms)
    for _ in range(300):
        if "rooms" in states.asked and loop.changes._tallies:
            break
        await deferLater(reactor, 0.01, lambda: None)
    assert {room: each.count for room, each in loop.changes._tallies.items()} == {
        room: len(states.rooms[room]) for room in rooms
    }
    loop.changes.stop()


@pytest_twisted.ensureDeferred
async def test_a_guard_with_few_rooms_asks_for_no_counts(world: World) -> None:
    world.start_guard()
    await join(world, "alice", OPEN)
    await world.guard.loop.run_pass()
    assert world.guard.live.overdue == []
    assert "rooms" not in world.sandbox.homeserver.asked


@given(st.lists(st.sampled_from(names(6)), max_size=40), st.integers(1, 3))
def test_nobody_who_changes_their_rooms_all_the_time_keeps_another_waiting(
    hostile: list[RoomId], most: int
) -> None:
    """A room that was read before the others were is looked at before they are again."""
    mine = RoomId("!mine:s")
    server = Server([*names(6), mine], page=most)
    server.settle()
    server.counts[mine] += 1
    for room in hostile:
        server.counts[room] += 1
        server.run(1.0)
    server.run(2 * REST_SECONDS)
    before = server.order[: server.order.index(mine)]
    assert len(set(before)) == len(before)


def test_a_round_can_be_cancelled_while_rooms_wait(logged: list[Any]) -> None:
    server = Server(names(600))
    server.run(1.0)
    server.watch.stop()
    looked = len(server.looked)
    server.clock.advance(30.0)
    assert len(server.looked) == looked
    assert not [event for event in logged if "log_failure" in event]
