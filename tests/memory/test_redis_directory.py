"""LiveKit rooms and identities in Redis: what one guard has learnt, all know."""

import json

import pytest_twisted
from attrs import define, field

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Bounds, Directory
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.memory.redis_directory import SOON_SECONDS, RedisDirectory
from tests.memory.sharing import Party
from tests.model_redis import Memory

ROOM, CALL, WHO = RoomId("!r:s"), LiveKitRoom("call"), Identity("i")
BELIEF = Binding(ROOM, "slot", Evidence.BELIEF)
PROOF = Binding(RoomId("!other:s"), "slot", Evidence.PROOF)


@define(eq=False)
class Guard:
    """A directory that is kept in Redis."""

    memory: Memory = field(factory=Memory)
    instance: str = "one"
    bounds: Bounds = field(factory=Bounds)
    party: Party = field(init=False)
    kept: RedisDirectory = field(init=False)
    directory: Directory = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.party = Party(self.memory, self.instance)
        self.kept = RedisDirectory(self.party.keys, self.party.reactor)
        self.directory = Directory(listener=self.kept, bounds=self.bounds)
        self.kept.open(self.directory)

    def hears(self, other: "Guard") -> None:
        """Hear all that another has told since; what it hears it does not tell."""
        told, other.party.told = other.party.told, []
        for news in told:
            self.kept.hear(news["kind"], news)


def pair(bounds: Bounds | None = None) -> tuple[Guard, Guard]:
    memory = Memory()
    return Guard(memory, "one", bounds or Bounds()), Guard(memory, "two")


def test_what_one_learns_and_forgets_the_other_does_too() -> None:
    one, two = pair()
    one.directory.learn_room(CALL, BELIEF)
    one.directory.learn_identity(WHO, UserId("@u:s"), CALL)
    two.party.told.clear()
    two.hears(one)
    assert two.directory.binding_of(CALL) == BELIEF
    assert two.directory.user_of(WHO) == "@u:s"
    assert two.party.told == [], "what was heard is not told again"
    one.directory.forget([CALL])
    two.hears(one)
    assert two.directory.binding_of(CALL) is None
    assert two.directory.user_of(WHO) is None
    assert not one.memory.keys["p:aliases"]
    assert "p:users:call" not in one.memory.keys


def test_whoever_learns_later_adopts_what_is_there() -> None:
    one, two = pair()
    one.directory.learn_room(CALL, BELIEF)
    two.directory.learn_room(CALL, Binding(RoomId("!third:s"), "slot", Evidence.BELIEF))
    assert two.directory.binding_of(CALL) == BELIEF
    two.directory.learn_room(CALL, PROOF)
    one.hears(two)
    assert one.directory.binding_of(CALL) == PROOF, "no hash matches by accident"


@pytest_twisted.ensureDeferred
async def test_who_starts_later_reads_all_and_tells_what_nobody_knew() -> None:
    one, two = pair()
    one.directory.learn_room(CALL, PROOF)
    one.directory.learn_identity(WHO, UserId("@u:s"), CALL)
    two.party.server.is_away = True
    second = LiveKitRoom("learnt while redis was away")
    two.directory.learn_room(second, BELIEF)
    two.directory.learn_identity(Identity("j"), UserId("@v:s"), second)
    two.party.server.is_away = False
    one.party.told.clear()
    await two.kept.load()
    assert dict(two.directory.bindings()) == {second: BELIEF, CALL: PROOF}
    assert two.directory.user_of(WHO) == "@u:s"
    one.hears(one)
    assert one.directory.binding_of(second) == BELIEF
    assert one.directory.user_of(Identity("j")) == "@v:s"


@pytest_twisted.ensureDeferred
async def test_what_is_none_of_ours_is_not_taken_up_and_leaves_redis() -> None:
    one, _ = pair()
    long = "x" * 600
    one.memory.keys["p:aliases"] = {
        "no json": "[",
        "no list": "7",
        "an odd word": '["!r:s", "", "weird"]',
        "too long a room": json.dumps([f"!{long}", "", "proof"]),
        long: json.dumps(["!r:s", "", "proof"]),
        "fine": json.dumps(["!r:s", "", "proof"]),
    }
    one.memory.keys["p:users:fine"] = {long: "@u:s", "i": long, "j": "", "k": "@u:s"}
    await one.kept.load()
    one.party.reactor.advance(SOON_SECONDS)
    assert list(one.memory.keys["p:aliases"]) == ["fine"]
    assert [identity for identity, _ in one.directory.users()] == ["k"]


def test_what_there_is_no_room_for_is_deleted_together_and_nobody_is_told() -> None:
    one, two = pair(Bounds(rooms=2, identities=2))
    for number in range(5):
        livekit_room = LiveKitRoom(f"call{number}")
        one.directory.learn_room(livekit_room, BELIEF)
        one.directory.learn_identity(Identity(f"i{number}"), UserId("@u:s"), livekit_room)
    two.hears(one)
    calls = one.party.server.calls
    one.party.reactor.advance(SOON_SECONDS)
    assert list(one.memory.keys["p:aliases"]) == ["call3", "call4"]
    assert [key for key, users in one.memory.keys.items() if ":users:" in key and users] == [
        "p:users:call3",
        "p:users:call4",
    ]
    assert one.party.server.calls - calls == 4, "the LiveKit rooms with one command"
    assert one.party.told == []
    assert two.directory.binding_of(LiveKitRoom("call0")) == BELIEF


def test_what_is_learnt_again_before_it_is_deleted_stays() -> None:
    one, _ = pair(Bounds(rooms=1, identities=1))
    for livekit_room in (CALL, LiveKitRoom("other"), CALL):
        one.directory.learn_room(livekit_room, BELIEF)
        one.directory.learn_identity(WHO, UserId("@u:s"), livekit_room)
    one.kept.close()
    assert list(one.memory.keys["p:aliases"]) == ["call"]
    assert one.memory.keys["p:users:call"] == {"i": "@u:s"}
