"""What was learnt in calls that are over: packed away, and there again when it is wanted."""

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.directory import LISTED, Change, Directory, Grounds, Place, _Packed
from lotus_guard.core.lru import LruDict, weight
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId

ROOM, OTHER = RoomId("!r:s"), RoomId("!other:s")
CALL, SECOND = LiveKitRoom("call"), LiveKitRoom("second")
WHO = Identity("a-hash")


def learnt(*calls: LiveKitRoom, users: int = 1, most: int = 1000) -> Directory:
    """Make one that knows so many users of each of these calls; they have a room each."""
    knowledge = Directory(most_identities=most)
    for call in calls:
        knowledge.learn_room(call, Place(RoomId(f"!{call}:s"), "m.call#ROOM", Grounds.PROOF))
        for number in range(users):
            identity = Identity(f"{call}{number}")
            knowledge.learn_identity(identity, UserId(f"@{identity}:s"), call)
    return knowledge


def known(knowledge: Directory) -> int:
    return sum(1 for _ in knowledge.users())


@pytest.mark.parametrize("by", ["alias", "room"])
def test_what_rests_is_there_again_once_somebody_asks_for_its_room(by: str) -> None:
    knowledge = learnt(CALL, SECOND)
    knowledge.rest({CALL})
    assert knowledge.user_of(Identity("call0")) is None, "it is packed"
    assert knowledge.user_of(Identity("second0")) == "@second0:s", "the others are not"
    if by == "alias":
        assert knowledge.place_of(CALL)
    else:
        assert CALL in knowledge.livekit_rooms_of(RoomId("!call:s"))
    assert knowledge.user_of(Identity("call0")) == "@call0:s"


def test_what_has_been_learnt_since_is_newer() -> None:
    knowledge = learnt(CALL, SECOND)
    knowledge.learn_identity(WHO, UserId("@who:s"), CALL)
    knowledge.rest({CALL})
    knowledge.learn_identity(WHO, UserId("@who:s"), SECOND)
    knowledge.place_of(CALL)
    assert (WHO, (UserId("@who:s"), SECOND)) in list(knowledge.users())


@pytest.mark.parametrize("rests", [False, True])
def test_an_identity_that_was_issued_to_two_users_is_neither_of_them(rests: bool) -> None:
    """`@x:s` with the device `8448:D`, and `@x:s:8448` with the device `D`."""
    knowledge, both = learnt(CALL, SECOND), Identity("@x:s:8448:D")
    knowledge.learn_identity(both, UserId("@x:s"), CALL)
    if rests:
        knowledge.rest({CALL})
    knowledge.learn_identity(both, UserId("@x:s:8448"), SECOND)
    knowledge.place_of(CALL)
    assert knowledge.person(both) == both
    knowledge.learn_identity(both, UserId("@x:s"), SECOND)
    assert knowledge.person(both) == both, "asking again does not win it back"


def test_resting_twice_keeps_both_halves() -> None:
    knowledge = learnt(CALL)
    knowledge.rest({CALL})
    knowledge.learn_identity(WHO, UserId("@who:s"), CALL)
    knowledge.rest({CALL})
    knowledge.place_of(CALL)
    assert knowledge.user_of(Identity("call0")) == "@call0:s"
    assert knowledge.user_of(WHO) == "@who:s"


def test_what_rests_is_listed_and_forgotten_like_the_rest() -> None:
    knowledge = learnt(CALL, SECOND, users=3)
    knowledge.rest({CALL})
    assert known(knowledge) == 6
    assert (Identity("call2"), (UserId("@call2:s"), CALL)) in list(knowledge.users())
    knowledge.forget({CALL})
    assert known(knowledge) == 3
    assert knowledge.place_of(CALL) is None


def test_an_alias_that_is_pushed_out_takes_along_what_rests_there() -> None:
    knowledge = Directory(most_aliases=1)
    knowledge.learn_room(CALL, Place(ROOM, "m.call#ROOM", Grounds.PROOF))
    knowledge.learn_identity(WHO, UserId("@who:s"), CALL)
    knowledge.rest({CALL})
    assert known(knowledge) == 1
    knowledge.learn_room(SECOND, Place(OTHER, "m.call#ROOM", Grounds.PROOF))
    assert known(knowledge) == 0


def test_what_rests_is_bounded_and_the_oldest_goes_first() -> None:
    knowledge = learnt(CALL, most=10)
    knowledge.rest({CALL})
    for number in range(4):
        call = LiveKitRoom(f"later{number}")
        knowledge.learn_room(call, Place(RoomId(f"!{call}:s"), "m.call#ROOM", Grounds.PROOF))
        for each in range(3):
            knowledge.learn_identity(Identity(f"{call}-{each}"), UserId("@u:s"), call)
        knowledge.rest({call})
    assert known(knowledge) == 9
    assert knowledge.place_of(CALL)
    assert knowledge.user_of(Identity("call0")) is None


def test_an_identity_that_is_no_text_survives() -> None:
    knowledge, odd = learnt(CALL), Identity("\ud800@u:s:\U0001f600")
    knowledge.learn_identity(odd, UserId("@u:s"), CALL)
    knowledge.rest({CALL})
    knowledge.place_of(CALL)
    assert knowledge.user_of(odd) == "@u:s"


class Told:
    """Who has written down what is known, and is told what to delete."""

    def __init__(self, knowledge: Directory) -> None:
        self.livekit_rooms: set[LiveKitRoom] = set()
        self.identities: dict[Identity, LiveKitRoom] = {}
        self.knowledge = knowledge
        knowledge.on_learnt, knowledge.on_dropped = self.learnt, self.dropped

    def learnt(self, change: Change) -> None:
        if change.place and change.livekit_room:
            self.livekit_rooms.add(change.livekit_room)
        if change.identity and change.livekit_room:
            self.identities[change.identity] = change.livekit_room

    def dropped(self, livekit_room: LiveKitRoom, identities: Collection[Identity] | None) -> None:
        if identities is None:
            self.livekit_rooms.remove(livekit_room)
        for identity in identities or ():
            if self.identities.get(identity) == livekit_room:
                del self.identities[identity]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 30), st.booleans()), max_size=80))
def test_what_falls_out_is_told_whoever_has_written_it_down(
    steps: list[tuple[int, int, bool]],
) -> None:
    knowledge = Directory(most_aliases=4, most_identities=6, most_packed=1500)
    told = Told(knowledge)
    for room, user, rests in steps:
        call = LiveKitRoom(f"call{room}")
        knowledge.learn_room(call, Place(RoomId(f"!{room}:s"), "slot", Grounds.BELIEF))
        knowledge.learn_identity(Identity(f"i{room}.{user}"), UserId(f"@{user}:s"), call)
        if rests:
            knowledge.rest({call})
    assert told.livekit_rooms == {livekit_room for livekit_room, _ in knowledge.places()}
    # With an alias go its identities; the store deletes them by it.
    known = {i for i, (_, call) in knowledge.users() if call in told.livekit_rooms}
    assert {i for i, call in told.identities.items() if call in told.livekit_rooms} == known
    assert len(told.livekit_rooms) <= 4


def test_who_has_gone_on_to_another_call_is_not_dropped_with_the_first() -> None:
    knowledge = Directory(most_packed=1)
    told = Told(knowledge)
    for call in (CALL, SECOND):
        knowledge.learn_room(call, Place(RoomId(f"!{call}:s"), "m", Grounds.PROOF))
        knowledge.learn_identity(WHO, UserId("@who:s"), call)
        if call == CALL:
            knowledge._resting[CALL] = _Packed.of({WHO: UserId("@who:s")})
    knowledge.rest({CALL})
    assert told.identities == {WHO: SECOND}
    assert knowledge.user_of(WHO) == "@who:s"


@pytest.mark.parametrize("ends", ["rests", "is forgotten", "rests, then is forgotten"])
def test_who_is_known_in_two_calls_stays_known_where_one_goes_on(ends: str) -> None:
    """A token for another LiveKit room, which soon is over, makes nobody a stranger in it."""
    knowledge = learnt(CALL, SECOND)
    told = Told(knowledge)
    for call in (CALL, SECOND):
        knowledge.learn_identity(WHO, UserId("@who:s"), call)
        assert WHO in knowledge.identities_of(CALL, 512)
    if "rests" in ends:
        knowledge.rest({SECOND})
    if "forgotten" in ends:
        knowledge.forget({SECOND})
    assert knowledge.user_of(WHO) == "@who:s"
    assert knowledge.identities_of(CALL, 512)[0] == WHO
    assert told.identities[WHO] == CALL or "forgotten" not in ends, "and it is written down so"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 3)), max_size=40))
def test_whoever_was_issued_a_token_for_a_call_is_listed_there(
    steps: list[tuple[int, int, int]],
) -> None:
    knowledge = learnt(*(LiveKitRoom(f"c{number}") for number in range(4)), users=0)
    issued: dict[LiveKitRoom, dict[Identity, UserId]] = {}
    for number, who, what in steps:
        call, identity = LiveKitRoom(f"c{number}"), Identity(f"i{who}")
        if what < 2:
            knowledge.learn_identity(identity, UserId(f"@{who}:s"), call)
            issued.setdefault(call, {})[identity] = UserId(f"@{who}:s")
        elif what == 2:
            knowledge.rest({call})
        else:
            knowledge.forget({call})
            issued.pop(call, None)
    pairs = {(i, registered) for i, registered in knowledge.users()}
    assert pairs == {(i, (u, c)) for c, users in issued.items() for i, u in users.items()}
    for call, users in issued.items():
        assert set(knowledge.identities_of(call, 512)) == set(users)
        assert all(knowledge.user_of(identity) == user for identity, user in users.items())


@pytest.mark.parametrize("size", [10, 250])
def test_what_is_kept_is_bounded_in_bytes(size: int) -> None:
    most = 256 * 1024
    knowledge = Directory(most_bytes=most, most_packed=most)
    told = Told(knowledge)
    for number in range(3000):
        call, room = LiveKitRoom(f"call{number}"), RoomId(f"!{number:0{size}}:s")
        knowledge.learn_room(call, Place(room, "s" * size, Grounds.BELIEF))
        knowledge.learn_identity(Identity(f"{number:0{size}}"), UserId(f"@{number:0{size}}"), call)
    kept = sum(weight(a, p.room, p.slot) for a, p in knowledge.places())
    users = sum(weight(i, user) + LISTED for i, (user, _) in knowledge.users())
    assert most * 0.9 < kept <= most
    assert most * 0.9 < users <= most
    assert len(told.livekit_rooms) == sum(1 for _ in knowledge.places())
    newest = LiveKitRoom("call2999")
    assert knowledge.place_of(newest) is not None


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 50), st.booleans()), max_size=60))
def test_a_recent_one_weighs_what_is_in_it(steps: list[tuple[int, int, bool]]) -> None:
    recent: LruDict[int, int] = LruDict(4, most_bytes=100, weigh=lambda _key, value: value)
    for key, value, goes in steps:
        if goes:
            recent.pop(key)
        else:
            recent.put(key, value + 1)
        assert recent.bytes == sum(value for _, value in recent.items()) <= 100
        assert len(recent) <= 4
