"""The live rooms as an operator sees them, from what the guard knows anyway."""

import json
from collections import Counter
from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.task import Clock

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, Source
from lotus_guard.core.seats import Look, Seats
from lotus_guard.enforce.policies import AllPolicies
from lotus_guard.observe.rooms import MOST_ROOMS, MOST_USERS, Rooms, described
from lotus_guard.rules import RULES
from lotus_guard.rules.decision import Deed
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.rules.media import Media, SourcePolicy
from lotus_guard.rules.rule import Reading
from tests.enforce.stand_ins import STALE, Homeserver, policies_of

NOW = 1000.0


@define(eq=False)
class Town:
    """Rooms, with what is known of them."""

    counts: dict[LiveKitRoom, int] = field(factory=dict)
    tallies: dict[RoomId, Counter[Deed]] = field(factory=dict)
    names: dict[RoomId, str] = field(factory=dict)
    strangers: dict[RoomId, int] = field(factory=dict)
    clock: Clock = field(factory=Clock)
    directory: Directory = field(factory=Directory)
    seats: Seats = field(init=False)
    policies: AllPolicies = field(init=False)
    rooms: Rooms = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(NOW)
        self.seats = Seats(60.0, 10.0, self.directory)
        self.policies = policies_of(RULES, Homeserver(), self.clock)
        here: Any = self
        self.rooms = Rooms(
            here,
            self.directory,
            self.seats,
            self.policies,
            here,
            self.names.get,
            lambda room: self.strangers.get(room, 0),
        )

    def now(self) -> float:
        return self.clock.seconds()

    def tally(self, room: RoomId) -> Counter[Deed]:
        return self.tallies.get(room, Counter())

    def shown(self, people: Any) -> list[str]:
        return [f"shown {person}" for person in people]

    def room(self, name: str, *counts: int) -> RoomId:
        """A room with so many people in each of its LiveKit rooms, by LiveKit's count."""
        room = RoomId(f"!{name}:s")
        for number, count in enumerate(counts):
            livekit_room = LiveKitRoom(f"{name}{number}")
            self.directory.learn_room(livekit_room, Binding(room, "slot", Evidence.PROOF))
            self.counts[livekit_room] = count
        return room

    def has(self, room: RoomId, most: int | None = None, *forbidden: Source) -> None:
        readings: dict[str, Reading[Any]] = {
            "limit": Reading(LimitPolicy(most)),
            "sources": Reading(SourcePolicy(frozenset(forbidden))),
        }
        self.policies.put(room, readings, self.clock.seconds())

    def sees(self, room: RoomId, *names: str) -> None:
        people = frozenset(Identity(f"@{name}:s:D") for name in names)
        self.seats.saw(room, {LiveKitRoom("seen"): Look(self.clock.seconds(), people)})


@pytest.fixture
def town() -> Town:
    return Town()


def test_a_room_is_told_with_all_that_is_known_of_it(town: Town) -> None:
    room = town.room("r", 2)
    town.has(room, 5, Source.CAMERA)
    town.sees(room, "a", "b")
    town.seats.keep(room, "@c:s", Identity("@c:s:D"), NOW)
    town.names[room] = "Kitchen"
    town.tallies[room] = Counter(
        {Deed.REFUSED: 1, Deed.CHANGED: 4, Deed.STEP: 2, Deed.FAIL_OPEN: 3}
    )
    (told,) = town.rooms.all()
    assert told.pop("rules_lost_of") is None
    assert told.pop("strangers") == 0
    none = {
        name: value
        for rule in RULES
        for name, value in rule.show(rule.read(None).policy).fields.items()
    }
    assert told == {
        **none,
        "room": "!r:s",
        "name": "Kitchen",
        "people": 2,
        "users": ["shown @a:s", "shown @b:s"],
        "policy": [
            {"rule": "limit", "words": ["at most 5 people"], "brief": ["at most 5"], "seats": 5},
            {"rule": "sources", "words": ["no camera"], "brief": ["no camera"], "seats": None},
        ],
        "taken": 3,
        "max_users": 5,
        "forbidden": ["camera"],
        "refused": 1,
        "narrowed": 4,
        "steps": 2,
        "failed_open": 3,
    }
    assert json.loads(json.dumps(told)) == told


def test_of_a_room_without_a_policy_nobody_is_told(town: Town) -> None:
    room = town.room("r", 3)
    town.sees(room, "a")
    (told,) = town.rooms.all()
    assert (told["people"], told["users"], told["policy"], told["taken"]) == (3, [], [], None)
    assert (told["max_users"], told["forbidden"], told["name"]) == (None, [], None)


def test_a_policy_that_is_too_old_is_not_told(town: Town) -> None:
    room = town.room("r", 1)
    town.has(room, 5)
    town.clock.advance(STALE + 1.0)
    (told,) = town.rooms.all()
    assert (told["policy"], told["max_users"]) == ([], None)


def test_rooms_under_a_policy_come_first_then_those_with_most_people(town: Town) -> None:
    for name, count in (("a", 9), ("b", 1), ("c", 3), ("d", 9)):
        room = town.room(name, count)
        if name in "bc":
            town.has(room, 5)
    assert [each["room"] for each in town.rooms.all()] == ["!c:s", "!b:s", "!a:s", "!d:s"]


def test_rooms_that_were_let_through_unguarded_come_before_all_others(town: Town) -> None:
    town.has(town.room("a", 9), 5)
    open_to_all = town.room("z", 1)
    town.tallies[open_to_all] = Counter({Deed.FAIL_OPEN: 1})
    assert [each["room"] for each in town.rooms.all()] == ["!z:s", "!a:s"]


def test_a_room_is_full_when_its_last_seat_is_taken(town: Town) -> None:
    full, free, unlimited = town.room("full", 2), town.room("free", 1), town.room("open", 9)
    town.has(full, 2)
    town.has(free, 2)
    for room in (full, free, unlimited):
        town.sees(room, "a")
    assert town.rooms.full() == []
    town.seats.keep(full, "@b:s", Identity("@b:s:D"), NOW)
    assert town.rooms.full() == [full]
    town.clock.advance(61.0)
    assert town.rooms.full() == []


def test_the_people_of_a_rooms_livekit_rooms_add_up(town: Town) -> None:
    town.room("r", 2, 3)
    assert [each["people"] for each in town.rooms.all()] == [5]
    assert town.rooms.people() == 5
    town.counts[LiveKitRoom("nobody's")] = 7
    assert [each["people"] for each in town.rooms.all()] == [5]
    assert town.rooms.people() == 12, "LiveKit's own count, whosever room it is"


def test_who_was_seen_counts_before_livekit_counts_them(town: Town) -> None:
    room = town.room("r", 0)
    town.has(room, 5)
    town.sees(room, "a", "b")
    assert [each["people"] for each in town.rooms.all()] == [2]


def test_a_room_for_which_a_seat_is_held_is_live(town: Town) -> None:
    room = RoomId("!held:s")
    town.seats.keep(room, "@a:s", Identity("@a:s:D"), NOW)
    assert [each["room"] for each in town.rooms.all()] == [room]
    assert town.rooms.held() == 1
    town.clock.advance(61.0)
    assert town.rooms.all() == []
    assert town.rooms.held() == 0


def test_so_many_rooms_and_users_are_told(town: Town) -> None:
    room = town.room("crowd", 1)
    town.has(room, 5)
    town.sees(room, *(f"u{number}" for number in range(MOST_USERS + 5)))
    for number in range(MOST_ROOMS + 5):
        town.room(f"r{number}", 1)
    told = town.rooms.all()
    assert len(told) == MOST_ROOMS
    assert len(told[0]["users"]) == MOST_USERS
    assert told[0]["people"] == MOST_USERS + 5


def test_what_a_rule_tells_of_its_policy_hides_nothing_of_the_room(town: Town) -> None:
    room = town.room("r", 1)
    town.has(room)
    (told,) = town.rooms.all()
    own = [rule.show(rule.read(None).policy).fields.keys() for rule in RULES]
    assert all(told.keys() >= keys for keys in own)
    common = {"room", "name", "people", "users", "policy", "taken", "refused", "narrowed"}
    assert not any(keys & {*common, "steps", "failed_open"} for keys in own)


def test_a_rule_is_described_as_json() -> None:
    assert described(Limit(), LimitPolicy(1)) == {
        "rule": "limit",
        "words": ["at most 1 person"],
        "brief": ["at most 1"],
        "seats": 1,
    }
    assert described(Media(), SourcePolicy())["words"] == []


def test_a_room_without_rules_that_replaced_one_with_them_says_so_and_is_counted(
    town: Town,
) -> None:
    old, asked = RoomId("!old:s"), list[RoomId]()

    def lost(room: RoomId, lacks_rules: Callable[[RoomId], bool]) -> RoomId | None:
        if not lacks_rules(room):
            return None
        asked.append(room)
        return old

    town.rooms.lost = lost
    bare, ruled, unread = town.room("bare", 2), town.room("ruled", 2), town.room("unread", 2)
    town.has(bare)
    town.has(ruled, 3)
    told = {each["room"]: each["rules_lost_of"] for each in town.rooms.all()}
    assert told == {bare: old, ruled: None, unread: None}
    assert town.rooms.upgraded() == 1
    assert set(asked) == {bare}, "of others it is not asked"


def test_who_is_not_known_to_be_a_member_is_counted_in_the_room_and_in_all() -> None:
    town = Town()
    one, two = town.room("one", 3), town.room("two", 2)
    town.strangers = {one: 2, RoomId("!over:s"): 5}
    assert {each["room"]: each["strangers"] for each in town.rooms.all()} == {one: 2, two: 0}
    assert town.rooms.unknown() == 2
