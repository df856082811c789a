"""What was learnt in calls that are over: packed away, and there again when it is wanted."""

import pytest

from lotus_guard.core.knowledge import Grounds, Knowledge, Place
from lotus_guard.core.model import Alias, Identity, RoomId, UserId

ROOM, OTHER = RoomId("!r:s"), RoomId("!other:s")
CALL, SECOND = Alias("call"), Alias("second")
WHO = Identity("a-hash")


def learnt(*calls: Alias, users: int = 1, most: int = 1000) -> Knowledge:
    """Make one that knows so many users of each of these calls; they have a room each."""
    knowledge = Knowledge(most_identities=most)
    for call in calls:
        knowledge.learn_alias(call, Place(RoomId(f"!{call}:s"), "m.call#ROOM", Grounds.PROOF))
        for number in range(users):
            identity = Identity(f"{call}{number}")
            knowledge.learn_identity(identity, UserId(f"@{identity}:s"), call)
    return knowledge


def known(knowledge: Knowledge) -> int:
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
        assert CALL in knowledge.aliases_of(RoomId("!call:s"))
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
    knowledge = Knowledge(most_aliases=1)
    knowledge.learn_alias(CALL, Place(ROOM, "m.call#ROOM", Grounds.PROOF))
    knowledge.learn_identity(WHO, UserId("@who:s"), CALL)
    knowledge.rest({CALL})
    assert known(knowledge) == 1
    knowledge.learn_alias(SECOND, Place(OTHER, "m.call#ROOM", Grounds.PROOF))
    assert known(knowledge) == 0


def test_what_rests_is_bounded_and_the_oldest_goes_first() -> None:
    knowledge = learnt(CALL, most=10)
    knowledge.rest({CALL})
    for number in range(4):
        call = Alias(f"later{number}")
        knowledge.learn_alias(call, Place(RoomId(f"!{call}:s"), "m.call#ROOM", Grounds.PROOF))
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
