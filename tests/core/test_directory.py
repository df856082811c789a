"""What issued tokens tell: who is known where, what is archived, and who is told what goes."""

from collections.abc import Collection

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Bounds, Directory, DirectoryListener
from lotus_guard.core.identities import LISTED
from lotus_guard.core.lru import weight
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId

ROOM, OTHER = RoomId("!r:s"), RoomId("!other:s")
CALL, SECOND = LiveKitRoom("call"), LiveKitRoom("second")
WHO = Identity("a-hash")


def learnt(
    *calls: LiveKitRoom,
    users: int = 1,
    most: int = 1000,
    listener: DirectoryListener | None = None,
) -> Directory:
    """Make one that knows so many users of each of these calls; they have a room each."""
    directory = Directory(listener=listener or DirectoryListener(), bounds=Bounds(identities=most))
    for call in calls:
        directory.learn_room(call, Binding(RoomId(f"!{call}:s"), "m.call#ROOM", Evidence.PROOF))
        for number in range(users):
            identity = Identity(f"{call}{number}")
            directory.learn_identity(identity, UserId(f"@{identity}:s"), call)
    return directory


def known(directory: Directory) -> int:
    return sum(1 for _ in directory.users())


@pytest.mark.parametrize("by", ["alias", "room"])
def test_what_is_archived_is_there_again_once_somebody_asks_for_its_room(by: str) -> None:
    directory = learnt(CALL, SECOND)
    directory.archive({CALL})
    assert directory.user_of(Identity("call0")) is None, "it is packed"
    assert directory.user_of(Identity("second0")) == "@second0:s", "the others are not"
    if by == "alias":
        assert directory.binding_of(CALL)
    else:
        assert CALL in directory.livekit_rooms_of(RoomId("!call:s"))
    assert directory.user_of(Identity("call0")) == "@call0:s"


def test_what_has_been_learnt_since_is_newer() -> None:
    directory = learnt(CALL, SECOND)
    directory.learn_identity(WHO, UserId("@who:s"), CALL)
    directory.archive({CALL})
    directory.learn_identity(WHO, UserId("@who:s"), SECOND)
    directory.binding_of(CALL)
    assert (WHO, (UserId("@who:s"), SECOND)) in list(directory.users())


@pytest.mark.parametrize("is_archived", [False, True])
def test_an_identity_that_was_issued_to_two_users_is_neither_of_them(is_archived: bool) -> None:
    """`@x:s` with the device `8448:D`, and `@x:s:8448` with the device `D`."""
    directory, both = learnt(CALL, SECOND), Identity("@x:s:8448:D")
    directory.learn_identity(both, UserId("@x:s"), CALL)
    if is_archived:
        directory.archive({CALL})
    directory.learn_identity(both, UserId("@x:s:8448"), SECOND)
    directory.binding_of(CALL)
    assert directory.person(both) == both
    directory.learn_identity(both, UserId("@x:s"), SECOND)
    assert directory.person(both) == both, "asking again does not win it back"


@pytest.mark.parametrize(
    ("identity", "user"),
    [
        ("@x:s:DEVICE", "@x:s"),
        ("@x:s:8448:D", None),  # of `@x:s` or of `@x:s:8448`
        ("@x:[::1]:D", None),
        ("b8LdbNhWk0", None),
    ],
)
def test_who_an_identity_is_beyond_doubt_can_be_read_in_one_way_only(
    identity: str, user: str | None
) -> None:
    directory = learnt(CALL)
    assert directory.proved_user(Identity(identity)) == user
    directory.learn_identity(Identity(identity), UserId("@who:s"), CALL)
    assert directory.proved_user(Identity(identity)) == "@who:s", "a token has told us"
    directory.learn_identity(Identity(identity), UserId("@other:s"), CALL)
    assert directory.proved_user(Identity(identity)) is None, "another one as well"


def test_archiving_twice_keeps_both_halves() -> None:
    directory = learnt(CALL)
    directory.archive({CALL})
    directory.learn_identity(WHO, UserId("@who:s"), CALL)
    directory.archive({CALL})
    directory.binding_of(CALL)
    assert directory.user_of(Identity("call0")) == "@call0:s"
    assert directory.user_of(WHO) == "@who:s"


def test_what_is_archived_is_listed_and_forgotten_like_the_rest() -> None:
    directory = learnt(CALL, SECOND, users=3)
    directory.archive({CALL})
    assert known(directory) == 6
    assert (Identity("call2"), (UserId("@call2:s"), CALL)) in list(directory.users())
    directory.forget({CALL})
    assert known(directory) == 3
    assert directory.binding_of(CALL) is None


def test_a_livekit_room_that_is_pushed_out_takes_along_what_is_archived_there() -> None:
    directory = Directory(bounds=Bounds(rooms=1))
    directory.learn_room(CALL, Binding(ROOM, "m.call#ROOM", Evidence.PROOF))
    directory.learn_identity(WHO, UserId("@who:s"), CALL)
    directory.archive({CALL})
    assert known(directory) == 1
    directory.learn_room(SECOND, Binding(OTHER, "m.call#ROOM", Evidence.PROOF))
    assert known(directory) == 0


def test_what_is_archived_is_bounded_and_the_oldest_goes_first() -> None:
    directory = learnt(CALL, most=10)
    directory.archive({CALL})
    for number in range(4):
        call = LiveKitRoom(f"later{number}")
        directory.learn_room(call, Binding(RoomId(f"!{call}:s"), "m.call#ROOM", Evidence.PROOF))
        for each in range(3):
            directory.learn_identity(Identity(f"{call}-{each}"), UserId("@u:s"), call)
        directory.archive({call})
    assert known(directory) == 9
    assert directory.binding_of(CALL)
    assert directory.user_of(Identity("call0")) is None


def test_an_identity_that_is_no_text_survives() -> None:
    directory, odd = learnt(CALL), Identity("\ud800@u:s:\U0001f600")
    directory.learn_identity(odd, UserId("@u:s"), CALL)
    directory.archive({CALL})
    directory.binding_of(CALL)
    assert directory.user_of(odd) == "@u:s"


class Told(DirectoryListener):
    """Who has written down what is known, and is told what to delete."""

    def __init__(self) -> None:
        self.livekit_rooms: set[LiveKitRoom] = set()
        self.identities: dict[Identity, LiveKitRoom] = {}

    def learnt_room(self, livekit_room: LiveKitRoom, binding: Binding) -> None:
        self.livekit_rooms.add(livekit_room)

    def learnt_identity(self, livekit_room: LiveKitRoom, identity: Identity, user: UserId) -> None:
        self.identities[identity] = livekit_room

    def dropped_room(self, livekit_room: LiveKitRoom) -> None:
        self.livekit_rooms.remove(livekit_room)

    def dropped_identities(
        self, livekit_room: LiveKitRoom, identities: Collection[Identity]
    ) -> None:
        for identity in identities:
            if self.identities.get(identity) == livekit_room:
                del self.identities[identity]


@given(st.lists(st.tuples(st.integers(0, 8), st.integers(0, 30), st.booleans()), max_size=80))
def test_what_falls_out_is_told_whoever_has_written_it_down(
    steps: list[tuple[int, int, bool]],
) -> None:
    told = Told()
    directory = Directory(listener=told, bounds=Bounds(4, 6, archived_bytes=1500))
    for room, user, ends in steps:
        call = LiveKitRoom(f"call{room}")
        directory.learn_room(call, Binding(RoomId(f"!{room}:s"), "slot", Evidence.BELIEF))
        directory.learn_identity(Identity(f"i{room}.{user}"), UserId(f"@{user}:s"), call)
        if ends:
            directory.archive({call})
    assert told.livekit_rooms == {livekit_room for livekit_room, _ in directory.bindings()}
    # With a LiveKit room go its identities; the store deletes them by it.
    known = {i for i, (_, call) in directory.users() if call in told.livekit_rooms}
    assert {i for i, call in told.identities.items() if call in told.livekit_rooms} == known
    assert len(told.livekit_rooms) <= 4


def test_who_has_gone_on_to_another_call_is_not_dropped_with_the_first() -> None:
    told = Told()
    directory = Directory(listener=told, bounds=Bounds(archived_bytes=1))
    for call in (CALL, SECOND):
        directory.learn_room(call, Binding(RoomId(f"!{call}:s"), "m", Evidence.PROOF))
        directory.learn_identity(WHO, UserId("@who:s"), call)
        if call == CALL:
            directory._archive.add(CALL, {WHO: UserId("@who:s")})
    directory.archive({CALL})
    assert told.identities == {WHO: SECOND}
    assert directory.user_of(WHO) == "@who:s"


@pytest.mark.parametrize("ends", ["is archived", "is forgotten", "is archived, then is forgotten"])
def test_who_is_known_in_two_calls_stays_known_where_one_goes_on(ends: str) -> None:
    """A token for another LiveKit room, which soon is over, makes nobody a stranger in it."""
    told = Told()
    directory = learnt(CALL, SECOND, listener=told)
    for call in (CALL, SECOND):
        directory.learn_identity(WHO, UserId("@who:s"), call)
        assert WHO in directory.identities_of(CALL, 512)
    if "is archived" in ends:
        directory.archive({SECOND})
    if "forgotten" in ends:
        directory.forget({SECOND})
    assert directory.user_of(WHO) == "@who:s"
    assert directory.identities_of(CALL, 512)[0] == WHO
    assert told.identities[WHO] == CALL or "forgotten" not in ends, "and it is written down so"


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 3)), max_size=40))
def test_whoever_was_issued_a_token_for_a_call_is_listed_there(
    steps: list[tuple[int, int, int]],
) -> None:
    directory = learnt(*(LiveKitRoom(f"c{number}") for number in range(4)), users=0)
    issued: dict[LiveKitRoom, dict[Identity, UserId]] = {}
    for number, who, what in steps:
        call, identity = LiveKitRoom(f"c{number}"), Identity(f"i{who}")
        if what < 2:
            directory.learn_identity(identity, UserId(f"@{who}:s"), call)
            issued.setdefault(call, {})[identity] = UserId(f"@{who}:s")
        elif what == 2:
            directory.archive({call})
        else:
            directory.forget({call})
            issued.pop(call, None)
    pairs = {(i, registered) for i, registered in directory.users()}
    assert pairs == {(i, (u, c)) for c, users in issued.items() for i, u in users.items()}
    for call, users in issued.items():
        assert set(directory.identities_of(call, 512)) == set(users)
        assert all(directory.user_of(identity) == user for identity, user in users.items())


@pytest.mark.parametrize("size", [10, 250])
def test_what_is_kept_is_bounded_in_bytes(size: int) -> None:
    most = 256 * 1024
    told = Told()
    directory = Directory(listener=told, bounds=Bounds(bytes=most, archived_bytes=most))
    for number in range(3000):
        call, room = LiveKitRoom(f"call{number}"), RoomId(f"!{number:0{size}}:s")
        directory.learn_room(call, Binding(room, "s" * size, Evidence.BELIEF))
        directory.learn_identity(Identity(f"{number:0{size}}"), UserId(f"@{number:0{size}}"), call)
    kept = sum(weight(a, p.room, p.slot) for a, p in directory.bindings())
    users = sum(weight(i, user) + LISTED for i, (user, _) in directory.users())
    assert most * 0.9 < kept <= most
    assert most * 0.9 < users <= most
    assert len(told.livekit_rooms) == sum(1 for _ in directory.bindings())
    newest = LiveKitRoom("call2999")
    assert directory.binding_of(newest) is not None
