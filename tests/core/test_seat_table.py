"""Who counts as whom in a room: identities, users, and names that begin alike."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.directory import Bounds, Directory
from lotus_guard.core.model import Identity, LiveKitRoom, UserId
from lotus_guard.core.seat_table import Look, Table
from lotus_guard.core.seats import Seats
from tests.core.seating import CALL, OTHER, ROOM, Told, admit, look, make


def test_people_of_all_livekit_rooms_count_and_a_user_counts_once() -> None:
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:1")})
    seats.saw(ROOM, {OTHER: look(0.0, "@a:s:2", "@b:s:1")})
    assert seats.occupancy(ROOM, "@c:s", Identity("@c:s:1"), 0.0).taken == 2
    assert not admit(seats, "c", 2, 0.0)
    assert admit(seats, "a", 1, 0.0, "3")


def test_a_hash_that_nobody_taught_us_is_a_person_of_their_own_and_may_rejoin() -> None:
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, "hash1", "hash2")})
    assert not admit(seats, "a", 2, 0.0)
    assert seats.admit(ROOM, "hash1", Identity("hash1"), 1, 0.0, 0.0).admitted


def test_a_device_id_like_a_port_costs_nobody_their_rejoin() -> None:
    seats = Seats(60.0, 10.0, Told(lambda _: None, lambda _: "@a:s:8448"))
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:8448:X")})
    assert seats.admit(ROOM, "@a:s", Identity("@a:s:NEW"), 1, 0.0, 0.0).admitted


def test_a_name_that_begins_like_anothers_is_not_that_other() -> None:
    """Another server on the same host: `@x:evil` is not there where `@x:evil:8448` sits."""
    registered = {Identity("@x:evil:8448:D"): UserId("@x:evil:8448")}
    for user, is_taught in (("@x:evil:8448", True), ("@x:evil", False)):
        seats = Seats(60.0, 10.0, Told(registered.get))
        seats.saw(ROOM, {CALL: look(0.0, "@x:evil:8448:D")})
        asked = seats.admit(ROOM, user, Identity("a hash"), 1, 0.0, 0.0)
        assert asked.admitted is is_taught


def test_who_asks_for_anothers_identity_is_not_there_by_that() -> None:
    """Two users whom lk-jwt-service gives the same identity (`Directory.learn_identity`)."""
    knowledge, both = Directory(), Identity("@x:evil:8448:D")
    seats = Seats(60.0, 10.0, knowledge)
    one, other = UserId("@x:evil"), UserId("@x:evil:8448")
    knowledge.learn_identity(both, one, CALL)
    assert seats.admit(ROOM, one, both, 1, 0.0, 0.0).admitted
    seats.saw(ROOM, {CALL: look(1.0, both)})
    knowledge.learn_identity(both, other, CALL)
    assert not seats.admit(ROOM, other, both, 1, 1.0, 1.0).admitted
    assert not seats.admit(ROOM, one, Identity("a hash"), 1, 1.0, 1.0).admitted
    assert seats.people(ROOM) == [both]


def test_whoever_is_forgotten_for_want_of_room_is_counted_anew() -> None:
    """Also where what takes the room is a name that was known already."""
    directory, hashed = Directory(bounds=Bounds(identities=2)), Identity("hash")
    table = Table({CALL: look(0.0, "hash")})
    directory.learn_identity(hashed, UserId("@a:s"), CALL)
    directory.learn_identity(Identity("@b:s:D"), UserId("@b:s"), CALL)
    assert table.present(directory) == {"@a:s"}
    directory.user_of(Identity("@b:s:D"))
    directory.learn_identity(Identity("@b:s:D"), UserId("@b:s"), OTHER)
    directory.learn_identity(Identity("@b:s:D"), UserId("@b:s"), LiveKitRoom("third"))
    assert table.present(directory) == {"hash"}


IDS = st.sampled_from(["@a:s:D", "@a:s:8448:D", "hash1", "hash2"]).map(Identity)
USERS = st.sampled_from(["@a:s", "@a:s:8448", "@b:s"]).map(UserId)
CALLS = st.sampled_from([CALL, OTHER])
DEEDS = st.one_of(
    st.tuples(st.just("learn"), IDS, USERS, CALLS),
    st.tuples(st.sampled_from(["forget", "archive", "unpack"]), CALLS),
    st.tuples(st.just("look"), CALLS, st.frozensets(IDS)),
)


@given(st.lists(DEEDS, max_size=30), st.integers(1, 3))
def test_who_is_there_is_known_by_what_the_directory_says_now(
    deeds: list[tuple[Any, ...]], most: int
) -> None:
    directory, table = Directory(bounds=Bounds(identities=most)), Table()
    for at, (deed, *what) in enumerate(deeds):
        if deed == "learn":
            directory.learn_identity(*what)
        elif deed == "look":
            table.looks[what[0]] = Look(float(at), what[1])
        elif deed == "unpack":
            directory.binding_of(what[0])
        else:
            getattr(directory, deed)(what)
        people = {directory.person(i) for look in table.looks.values() for i in look.people}
        assert table.present(directory) == people
