"""The rooms in which the live loop looks for people."""

import time
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.task import Clock, deferLater

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import LiveKitRoom, RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.enforce.candidates import EXPECTED, JUST_LOOKED_UP, Candidates
from lotus_guard.enforce.policies import AllPolicies
from lotus_guard.enforce.rota import INVENTED, OTHERS, RESTRICTED, Candidate, Rota
from lotus_guard.rules.rule import Allow, Reading
from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import OPEN, VOICE
from tests.calls import NO_CAMERA, Counting, chosen, delivered, hook_up, join, sources
from tests.enforce.stand_ins import MAX_AGE, Given, Homeserver, Says, policies_of
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.world import World, reactor


@pytest_twisted.ensureDeferred
async def test_empty_rooms_cost_nothing_unless_somebody_is_expected(world: World) -> None:
    world.start_guard()
    live, begun = world.guard.live, time.monotonic()
    for number in range(5):
        world.sandbox.homeserver.add_room(f"!{number}:sandbox", "@admin:sandbox")
        await world.ask("bob", f"!{number}:sandbox")
    await world.ask("bob", VOICE)
    live.counts = await live.service.existing()
    assert chosen(world, at=begun) == [VOICE], (
        "what a token request has just looked up needs no poll"
    )
    assert len(chosen(world, 2.0)) == 6
    assert chosen(world, 11.0) == []


class Behind(Counting):
    """A RoomService whose count of people is as old as LiveKit's."""

    async def existing(self, *_args: Any) -> dict[LiveKitRoom, int]:
        return dict.fromkeys(await self._inner.existing(), 0)


@pytest.mark.parametrize("event", [SOURCES_EVENT, LIMIT_EVENT])
@pytest_twisted.ensureDeferred
async def test_a_new_policy_holds_for_who_has_come_before_livekit_counts_them(
    world: World, event: str
) -> None:
    world.start_guard()
    states, live = world.sandbox.homeserver, world.guard.live
    if event == LIMIT_EVENT:  # one that is known already
        states.set_state(OPEN, LIMIT_EVENT, {"max_users": 5})
    alice = await join(world, "alice", OPEN)
    states.set_state(OPEN, SOURCES_EVENT, NO_CAMERA)
    live.service = Behind(live.service, [])
    await deferLater(reactor, JUST_LOOKED_UP + 0.1, lambda: None)
    await live.run_pass()
    assert Source.CAMERA not in (sources(alice) or [Source.CAMERA])


@pytest_twisted.ensureDeferred
async def test_a_room_is_looked_at_until_the_loop_has_seen_it_empty(world: World) -> None:
    world.start_guard()
    alice = await join(world, "alice", VOICE)
    live = world.guard.live
    await live.run_pass()
    livekit_room = livekit_room_of(RoomId(VOICE), "m.call#ROOM")
    world.sandbox.sfu.leave(livekit_room, alice.identity)
    live.counts = {livekit_room: 0}
    assert chosen(world, 11.0) == [VOICE]
    await live.run_pass()
    live.counts = {livekit_room: 0}
    assert chosen(world, 11.0) == []


@pytest_twisted.ensureDeferred
async def test_what_livekit_says_of_a_room_counts_before_its_count_does(world: World) -> None:
    world.start_guard()
    token = (await world.ask("alice", OPEN)).json()["jwt"]
    sent = hook_up(world)
    chosen(world, 11.0)
    world.sandbox.sfu.join(token)
    await delivered(world, sent)
    world.guard.live.counts = {livekit_room_of(RoomId(OPEN), "m.call#ROOM"): 0}
    assert chosen(world, 12.0) == [OPEN]


# By itself.

LOOSE, STRICT = Given(False), Given(True)


@define(eq=False)
class Town:
    """Rooms of which a LiveKit room each is known, and what is known of their policies."""

    is_pushing: bool = False
    clock: Clock = field(factory=Clock)
    directory: Directory = field(factory=Directory)
    policies: AllPolicies = field(init=False)
    candidates: Candidates = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1000.0)
        rules = [Says("one", Allow()), Says("two", Allow())]
        self.policies = policies_of(rules, Homeserver(), self.clock)
        self.candidates = Candidates(
            self.directory, self.policies, lambda: self.is_pushing, self.clock.seconds
        )

    def room(self, name: str, *livekit_rooms: str) -> RoomId:
        room = RoomId(f"!{name}:s")
        for livekit_room in livekit_rooms or (name,):
            binding = Binding(room, "slot", Evidence.PROOF)
            self.directory.learn_room(LiveKitRoom(livekit_room), binding)
        return room

    def read(self, room: RoomId, *policies: Given, age: float = 0.0, **more: Any) -> None:
        """Have the policies of a room been read so long ago; the same one for all where one is."""
        both = policies if len(policies) > 1 else policies * 2
        readings = dict(zip(("one", "two"), (Reading(p, **more) for p in both), strict=True))
        self.policies.put(room, readings, self.clock.seconds() - age)

    def of(self, people: Any = None, limited: Any = (), **counts: int) -> dict[RoomId, Candidate]:
        """The candidates, where LiveKit counts so many people in each LiveKit room."""
        named = {LiveKitRoom(name): count for name, count in counts.items()}
        found = self.candidates.of(named, people or {}, frozenset(limited))
        return {each.room: each for each in found}


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_room_with_people_is_one_whatever_is_known_of_it(town: Town) -> None:
    known, unknown = town.room("known"), town.room("unknown")
    town.read(known, STRICT)
    assert town.of(known=2, unknown=1) == {
        known: Candidate(known, True, RESTRICTED),
        unknown: Candidate(unknown, True, OTHERS),
    }


def test_a_livekit_room_of_which_nobody_knows_whose_it_is_is_none(town: Town) -> None:
    assert town.of(stranger=5) == {}


def test_the_people_of_all_livekit_rooms_of_a_room_count(town: Town) -> None:
    room = town.room("r", "one", "two")
    town.read(room, STRICT)
    assert town.of(one=0, two=1)[room].has_people
    assert town.of(one=1, two=0)[room].has_people


def test_one_restricting_rule_is_enough(town: Town) -> None:
    room = town.room("r")
    town.read(room, LOOSE, STRICT)
    assert town.of(r=1)[room].kind is RESTRICTED


def test_a_room_in_which_nobody_is_or_will_soon_be_is_none(town: Town) -> None:
    room = town.room("r")
    town.read(room, STRICT)
    assert town.of(r=0) == {}
    town.candidates.expect(room)
    assert town.of(r=0) == {room: Candidate(room, False, RESTRICTED)}
    town.clock.advance(EXPECTED + 0.1)
    assert town.of(r=0) == {}


def test_whom_livekit_told_of_is_there_before_it_counts_them(town: Town) -> None:
    room = town.room("r")
    town.candidates.heard(room)
    assert town.of(r=0) == {room: Candidate(room, True, OTHERS)}
    town.clock.advance(EXPECTED + 0.1)
    assert town.of(r=0) == {}


def test_who_was_seen_in_the_last_look_counts_until_they_are_seen_gone(town: Town) -> None:
    room = town.room("r")
    assert town.of({room: 1}, r=0) == {room: Candidate(room, True, OTHERS)}


def test_what_was_just_looked_up_for_a_token_needs_no_poll(town: Town) -> None:
    room = town.room("r")
    town.candidates.expect(room)
    town.read(room, LOOSE, age=JUST_LOOKED_UP)
    assert town.of(r=0) == {}
    assert town.of(limited=[room], r=0) == {room: Candidate(room, False, OTHERS)}, (
        "there was a limit, so whoever comes may have a token from then"
    )
    town.clock.advance(0.1)
    assert town.of(r=0) == {room: Candidate(room, False, OTHERS)}


def test_a_room_with_people_is_polled_though_it_had_no_policy_just_now(town: Town) -> None:
    room = town.room("r")
    town.read(room, LOOSE)
    assert town.of(r=1) == {room: Candidate(room, True, OTHERS)}


def test_while_pushes_come_a_room_without_a_policy_needs_no_work(town: Town) -> None:
    town.is_pushing = True
    room, unknown = town.room("r"), town.room("unknown")
    town.read(room, LOOSE)
    assert set(town.of(r=3, unknown=1)) == {unknown}
    town.clock.advance(MAX_AGE + 0.1)
    assert set(town.of(r=3)) == {room}, "what is known of it is too old to be sure"


def test_invented_rooms_are_told_from_others(town: Town) -> None:
    room = town.room("r")
    town.read(room, LOOSE, is_unknown=True)
    assert town.of(r=1)[room].kind is INVENTED
    assert town.candidates.is_invented(room)
    assert not town.candidates.is_invented(town.room("other"))


def test_of_those_with_people_the_one_read_longest_ago_comes_first(town: Town) -> None:
    for name, age in (("a", 1.0), ("b", 9.0), ("c", 5.0)):
        town.read(town.room(name), LOOSE, age=age)
    town.room("never")
    found = town.of(a=1, b=1, c=1, never=1).values()
    chosen = Rota().choose(found, (10, 10, 10)).rooms
    assert chosen == ["!never:s", "!b:s", "!c:s", "!a:s"]
