"""The live loop on the sandbox: which rooms it works on, and that nothing kills or stalls it."""

import time
from itertools import pairwise
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field, frozen
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock, LoopingCall, deferLater

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.core.webhook import Event, EventKind
from lotus_guard.enforce.live import Live
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.enforce.room_pass import Outcome
from lotus_guard.enforce.rota import RESTRICTED, Candidate
from lotus_guard.rules import RULES, by_event
from lotus_guard.rules.rule import Allow, Fact, Reading
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.loop import LoopTick
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from tests.calls import (
    NO_CAMERA,
    VIDEO,
    Counting,
    Troubled,
    chosen,
    delivered,
    hook_up,
    join,
    metric,
    people,
    settled,
    sources,
)
from tests.enforce.stand_ins import ROOM, Given, Rank, Records, Says, policies_of, result
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.world import World, reactor

FAULTS = ["refused", "timeout", "server_error", "garbage", "bug"]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize("method", ["existing", "attendance", "permit", "remove"])
@pytest_twisted.ensureDeferred
async def test_no_fault_at_any_call_kills_the_loop_or_throws_anybody_out(
    world: World, method: str, fault: str
) -> None:
    world.start_guard()
    await join(world, "alice", TWO)
    bob = await join(world, "bob", TWO)
    world.sandbox.homeserver.set_state(TWO, SOURCES_EVENT, NO_CAMERA)
    live, good = world.guard.live, world.guard.live.service
    tick = LoopTick(world.guard.loop, Clocks(reactor, time.monotonic, time.time))
    troubled = Troubled(good, method, fault)
    live.service = live.room_pass.presence.background = troubled
    await tick()
    assert len(people(world, TWO)) == 2
    assert (await world.ask("alice", TWO)).status == 200, "tokens flow"
    live.service = live.room_pass.presence.background = good
    await tick()
    assert Source.CAMERA not in sources(bob)
    assert bob.permission.can_publish
    assert live.last_good is not None
    assert len(people(world, TWO)) == 2


@pytest_twisted.ensureDeferred
async def test_a_pass_that_is_stuck_is_given_up_and_tokens_flow_meanwhile(world: World) -> None:
    world.start_guard()
    clock = Clock()
    stuck: Deferred[Any] = Deferred()

    class Stuck(Troubled):
        async def _trouble(self, *_args: Any) -> Any:
            await stuck

    live = world.guard.live
    live.service = Stuck(live.service, "existing", "")
    running = LoopTick(world.guard.loop, Clocks(clock, time.monotonic, time.time))()
    assert (await world.ask("alice", VOICE)).sources == ["microphone"]
    assert not running.called
    clock.advance(61.0)
    assert running.called


@pytest.mark.parametrize("reason", [Reason.OVERSIZED, Reason.SERVER_ERROR, Reason.TIMEOUT])
@pytest_twisted.ensureDeferred
async def test_one_rooms_trouble_is_not_anothers(world: World, reason: Reason) -> None:
    """A room that Synapse cannot read, as its owner can bring about; so many of them, so early."""
    world.start_guard(LOTUS_GUARD_POLICY_RATE="1000")
    states = world.sandbox.homeserver
    states.set_state(TWO, LIMIT_EVENT, {})
    drawer = (await world.ask("carol", TWO, "/get_token")).json()["jwt"]
    await join(world, "alice", TWO)
    for number in range(12):
        states.add_room(f"!a{number}:sandbox", "@admin:sandbox")
        await join(world, "bob", f"!a{number}:sandbox")
    states.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    limits = world.guard.live.candidates.policies.of("limit").events
    limits.homeserver = limits.background = Poisoned(limits.homeserver, reason)
    await world.guard.live.run_pass()
    world.sandbox.sfu.join(drawer)
    await world.guard.live.run_pass()
    assert len(people(world, TWO)) == 1


@frozen
class Poisoned:
    """Synapse, of which rooms that a client has invented make no sense."""

    synapse: Any
    reason: Reason

    async def policy(self, room: RoomId, rule: Any) -> Any:
        if room.startswith("!a"):
            raise Outage(self.reason, "made up")
        return await self.synapse.policy(room, rule)

    async def membership(self, room: RoomId, user: UserId) -> Any:
        return await self.synapse.membership(room, user)

    async def power(self, room: RoomId) -> Any:
        return await self.synapse.power(room)

    async def ping(self) -> None:
        await self.synapse.ping()

    async def name(self, room: RoomId) -> Any:
        return await self.synapse.name(room)

    async def rooms(self, start: int) -> Any:
        return await self.synapse.rooms(start)


@pytest_twisted.ensureDeferred
async def test_other_rooms_do_not_keep_those_with_a_policy_waiting(world: World) -> None:
    rate = str(5 * len(by_event(RULES)))
    world.start_guard(LOTUS_GUARD_POLICY_RATE=rate, LOTUS_GUARD_RECONCILE_INTERVAL="1")
    live, states = world.guard.live, world.sandbox.homeserver
    await join(world, "alice", VOICE)
    for number in range(30):
        states.add_room(f"!{number:02}:sandbox", "@admin:sandbox")
        await join(world, "bob", f"!{number:02}:sandbox")
    live.counts = await live.service.existing()
    seen: set[RoomId] = set()
    for number in range(6):
        rooms = chosen(world, number)
        assert VOICE in rooms[:1]
        assert len(rooms) == 1 + 5, "as many others as may be looked up in one interval"
        seen.update(rooms)
    assert len(seen) == 31, "who has waited longest comes first"


@pytest_twisted.ensureDeferred
async def test_invented_rooms_have_a_small_share_and_wake_nobody(world: World) -> None:
    world.start_guard(LOTUS_GUARD_POLICY_RATE="10", LOTUS_GUARD_RECONCILE_INTERVAL="2")
    live = world.guard.live
    await join(world, "alice", OPEN)
    for number in range(30):
        await join(world, "bob", f"!invented{number:02}:sandbox")
    live.counts = await live.service.existing()
    for number in range(3):
        rooms = chosen(world, number)
        assert OPEN in rooms
        assert len(rooms) == 1 + 1
    looks: list[LiveKitRoom] = []
    live.room_pass.presence.background = Counting(live.service, looks)
    asked = world.sandbox.homeserver.asked = []
    live.wake(RoomId("!invented00:sandbox"))
    await settled(world)
    assert (looks, asked) == ([], [])


@pytest_twisted.ensureDeferred
async def test_asked_for_twice_a_room_is_worked_on_once_more_and_not_at_once(world: World) -> None:
    world.start_guard()
    await join(world, "alice", VOICE)
    looks: list[LiveKitRoom] = []
    live = world.guard.live
    live.room_pass.presence.background = Counting(live.service, looks)
    for _ in range(5):
        live.wake(RoomId(VOICE))
    await settled(world)
    assert len(looks) == 2


@pytest_twisted.ensureDeferred
async def test_a_webhook_wakes_the_loop_for_its_room(world: World) -> None:
    world.start_guard()
    alice = await join(world, "alice", VOICE)
    sent = hook_up(world)
    livekit_room = livekit_room_of(RoomId(VOICE), "m.call#ROOM")
    world.sandbox.sfu.publish(livekit_room, alice.identity, Source.MICROPHONE, VIDEO)
    await delivered(world, sent)
    assert not alice.permission.can_publish


@pytest_twisted.ensureDeferred
async def test_tokens_for_rooms_in_which_nobody_is_make_no_pass_longer(world: World) -> None:
    """Rooms of a client's own, with policies: each would cost two look-ups of fifty a second."""
    world.start_guard()
    for number in range(60):
        room = f"!own{number:02}:sandbox"
        world.sandbox.homeserver.add_room(room, "@alice:sandbox")
        world.sandbox.homeserver.set_state(room, LIMIT_EVENT, {"max_users": 5})
        assert (await world.ask("alice", room, "/get_token")).status == 200
    bob = await join(world, "bob", VOICE)
    livekit_room = livekit_room_of(RoomId(VOICE), "m.call#ROOM")
    world.sandbox.sfu.publish(livekit_room, bob.identity, Source.MICROPHONE, VIDEO)
    before, begun = lookups(world), time.monotonic()
    await world.guard.live.run_pass()
    assert list(bob.tracks) == []
    assert time.monotonic() - begun < 1.0, "and not the 2.4 s of 120 look-ups"
    assert lookups(world) - before <= 4.0


def lookups(world: World) -> float:
    return sum(
        metric(world, "lotus_guard_synapse_calls_total", method=method)
        for method in (LIMIT_EVENT, SOURCES_EVENT)
    )


# By itself, with rooms of which the test says what comes of them.

CALL, MADE_UP = LiveKitRoom("call"), Outage(Reason.RESET, "made up")


@define(eq=False)
class Loop:
    """A live loop, and all that it asks."""

    clock: Clock = field(factory=Clock)
    rank: Rank = field(factory=Rank)
    records: Records = field(factory=Records)
    directory: Directory = field(factory=Directory)
    outcome: Any = Outcome.UNDER_POLICY
    """What comes of a room, or a failure."""
    empty: bool = False
    is_out: bool = False
    """Whether LiveKit fails even what no client has a hand in."""
    seems_empty: bool = False
    worked_on: list[tuple[RoomId, bool]] = field(factory=list)
    """Each with whether it was a pass that asked."""
    passes: list[tuple[float, int, int, bool]] = field(factory=list)
    forgotten: list[Any] = field(factory=list)
    expected: list[RoomId] = field(factory=list)
    noted: list[str] = field(factory=list)
    lasts: float = 0.0
    """Seconds that a room's turn takes."""
    unasked: int = 0
    has_limit: bool = True
    limited: frozenset[RoomId] = frozenset()
    people: dict[RoomId, int] = field(factory=lambda: {ROOM: 3})
    policies: Any = field(init=False)
    live: Live = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1000.0)
        here: Any = self
        self.policies = policies_of(
            [Says("one", Allow(), [Fact.ATTENDANCE]), Says("two", Allow())], here, self.clock
        )
        self.live = Live(here, here, here, self.rank, here, self.clock, self.clock.seconds, 2.0)

    # LiveKit.

    async def existing(self) -> Any:
        return {CALL: 3}

    async def ping(self) -> None:
        if self.is_out:
            raise MADE_UP

    # Candidates.

    def of(self, counts: Any, people: Any, limited: Any) -> Any:
        return [Candidate(ROOM, not self.seems_empty, RESTRICTED)]

    def is_invented(self, room: RoomId) -> bool:
        return "invented" in room

    def heard(self, room: RoomId) -> None:
        self.expected.append(room)

    # The pass over one room; its reader, its seats and its effects.

    @property
    def reader(self) -> Any:
        return self

    @property
    def seats(self) -> Any:
        return self

    @property
    def effects(self) -> Any:
        return self

    @property
    def hang_ups(self) -> Any:
        return self

    @property
    def limiter(self) -> Any:
        return RateLimiter(50.0, self.clock, self.clock.seconds)

    def begin(self) -> None:
        self.noted.append("begun")

    async def enforce(self, room: RoomId, turn: Any) -> Outcome:
        self.worked_on.append((room, turn.is_poll))
        if self.lasts:
            await deferLater(self.clock, self.lasts)
        if isinstance(self.outcome, Exception):
            raise self.outcome
        found: Outcome = self.outcome
        return found

    async def prepare(self, _livekit_rooms: Any) -> None:
        """Nothing is given back."""

    def step_down(self) -> None:
        self.forgotten.append(frozenset())

    async def is_empty(self, _room: RoomId) -> bool:
        return self.empty

    def forget_all_but(self, rooms: Any) -> None:
        self.forgotten.append(rooms)

    def note(self, event: Event) -> None:
        self.noted.append(event.id)

    # The journal.

    def passed(self, seconds: float, rooms: int, people: int, late: bool) -> None:
        self.passes.append((seconds, rooms, people, late))

    def run(self) -> Any:
        return result(ensureDeferred(self.live.run_pass()))


@pytest.fixture
def loop() -> Loop:
    return Loop()


def test_a_good_pass_is_noted_and_what_is_over_forgotten(loop: Loop) -> None:
    loop.directory.learn_room(CALL, Binding(ROOM, "slot", Evidence.PROOF))
    assert loop.run() == frozenset({CALL})
    assert loop.worked_on == [(ROOM, True)]
    assert loop.passes == [(0.0, 1, 3, False)]
    assert loop.forgotten == [{ROOM}]
    assert (loop.live.last_good, loop.live.counts) == (1000.0, {CALL: 3})
    assert loop.noted == ["begun"]


def test_a_pass_that_took_policies_as_they_were_is_late(loop: Loop) -> None:
    loop.unasked = 1
    loop.run()
    assert loop.passes == [(0.0, 1, 3, True)]


def test_a_guard_that_does_not_lead_lists_rooms_and_does_nothing(loop: Loop) -> None:
    loop.directory.learn_room(CALL, Binding(ROOM, "slot", Evidence.PROOF))
    loop.run()
    loop.rank.is_leader = False
    assert loop.run() == frozenset({CALL})
    assert len(loop.worked_on) == 1
    assert loop.live.last_good is None
    assert loop.forgotten == [{ROOM}, frozenset()], "whoever leads now knows what was tried"
    loop.live.wake(ROOM)
    assert len(loop.worked_on) == 1


@pytest.mark.parametrize(
    ("outcome", "is_out", "is_good"),
    [
        (Outcome.NO_POLICY, False, True),
        (MADE_UP, False, True),
        (MADE_UP, True, False),
        (ZeroDivisionError(), False, False),
    ],
)
def test_a_pass_is_good_unless_something_of_ours_failed(
    loop: Loop, outcome: Any, is_out: bool, is_good: bool
) -> None:
    """One room's failure alone may be its clients' doing: then it is no outage."""
    loop.outcome, loop.is_out = outcome, is_out
    loop.run()
    assert bool(loop.passes) is is_good
    assert (loop.live.last_good is not None) is is_good
    told = [("one", "reset"), ("two", "reset")] if outcome is MADE_UP else []
    assert loop.records.unenforced == told


def test_a_slow_room_makes_no_pass_miss_its_time(loop: Loop) -> None:
    """What somebody makes of a room of their own must not halve how often all are looked at."""
    begun: list[float] = []

    def tick() -> Any:
        begun.append(loop.clock.seconds())
        return ensureDeferred(loop.live.run_pass())

    loop.lasts = 5.0
    passes = LoopingCall(tick)
    passes.clock = loop.clock
    passes.start(2.0)
    loop.clock.pump([0.01] * 2000)
    passes.stop()
    gaps = [after - before for before, after in pairwise(begun[3:])]  # it is known to be slow
    assert max(gaps) == pytest.approx(2.0, abs=0.02)
    assert loop.worked_on.count((ROOM, True)) >= 3


def test_while_livekit_is_out_no_room_is_asked_about(loop: Loop) -> None:
    loop.outcome, loop.is_out = MADE_UP, True
    loop.run()

    async def rooms() -> Any:
        return await loop.live._work(RoomId("!other:s"), True)

    assert result(ensureDeferred(rooms())) is Outcome.TROUBLE
    assert len(loop.worked_on) == 1


@pytest.mark.parametrize(
    ("seems_empty", "empty", "worked_on"),
    [(True, True, []), (True, False, [(ROOM, True)]), (False, True, [(ROOM, True)])],
)
def test_a_room_in_which_somebody_is_only_expected_is_looked_at_first(
    loop: Loop, seems_empty: bool, empty: bool, worked_on: Any
) -> None:
    """A token is all that it takes to have it polled: its policy is not looked up for that."""
    loop.seems_empty, loop.empty = seems_empty, empty
    loop.run()
    assert loop.worked_on == worked_on
    assert loop.passes[0][1] == 1


def event(kind: EventKind, livekit_room: LiveKitRoom = CALL) -> Event:
    return Event("EV", kind, livekit_room, Identity("i"), "S", on_purpose=True)


def test_a_webhook_wakes_its_room_and_tells_who_came_and_went(loop: Loop) -> None:
    loop.directory.learn_room(CALL, Binding(ROOM, "slot", Evidence.PROOF))
    loop.policies.put(ROOM, {"one": Reading(Given(True, 5))}, 1000.0)
    loop.live.hint(event(EventKind.LEFT))
    assert (loop.worked_on, loop.noted, loop.expected) == ([(ROOM, False)], ["EV"], [])
    loop.live.hint(event(EventKind.JOINED))
    assert loop.expected == [ROOM]


def test_where_no_seats_are_counted_nobody_remembers_who_went(loop: Loop) -> None:
    loop.directory.learn_room(CALL, Binding(ROOM, "slot", Evidence.PROOF))
    loop.live.hint(event(EventKind.LEFT))
    assert loop.noted == []


def test_a_webhook_of_a_livekit_room_that_nobody_knows_is_none_of_ours(loop: Loop) -> None:
    loop.live.hint(event(EventKind.JOINED, LiveKitRoom("stranger")))
    assert (loop.worked_on, loop.expected) == ([], [])


def test_an_invented_room_is_not_woken(loop: Loop) -> None:
    loop.live.wake(RoomId("!invented:s"))
    assert loop.worked_on == []


def test_each_class_of_rooms_has_its_share_of_the_look_ups(loop: Loop) -> None:
    """Fifty a second for two rules, in a pass of two seconds."""
    assert loop.live._most() == (750, 50, 5)
