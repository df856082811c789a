"""Seats: examples of each rule, and the laws under any interleaving."""

from attrs import evolve
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from lotus_guard.core.directory import Directory
from lotus_guard.core.model import Identity, LiveKitRoom, RoomId, UserId
from lotus_guard.core.seats import (
    MOST_AWAITED,
    MOST_PUT_OUT,
    PUT_OUT,
    SPARE,
    TOGETHER,
    WATCHED,
    Look,
    Seats,
)
from lotus_guard.enforce.seating import LOOK_MAX_AGE

ROOM = RoomId("!r:s")
CALL, OTHER = LiveKitRoom("call"), LiveKitRoom("other")


def user_of(identity: Identity) -> UserId | None:
    """Identities of these tests are `@user:s:DEVICE`; a hash is one that nobody taught us."""
    return UserId(identity.rpartition(":")[0]) if identity.startswith("@") else None


def make(hold: float = 60.0, grace: float = 10.0) -> Seats:
    return Seats(hold, grace, user_of, lambda identity: user_of(identity) or identity)


def look(at: float, *people: str) -> Look:
    return Look(at, frozenset(map(Identity, people)))


def admit(seats: Seats, name: str, limit: int, at: float, device: str = "D") -> bool:
    person = f"@{name}:s"
    identity = Identity(f"{person}:{device}")
    return seats.admit(ROOM, person, identity, limit, at, at).admitted


def test_the_last_seat_is_given_once() -> None:
    seats = make()
    assert [admit(seats, f"u{i}", 3, 0.0) for i in range(14)] == [True] * 3 + [False] * 11


def test_who_holds_a_seat_passes_again_also_when_the_limit_was_lowered() -> None:
    seats = make()
    assert admit(seats, "a", 2, 0.0)
    assert admit(seats, "b", 2, 0.0)
    assert admit(seats, "a", 1, 1.0, "OTHER")


def test_a_hold_runs_out_and_a_used_one_does_not() -> None:
    seats = make(hold=60.0)
    assert admit(seats, "a", 1, 0.0)
    assert not admit(seats, "b", 1, 59.0)
    assert admit(seats, "b", 1, 60.0)
    seats = make(hold=60.0)
    assert admit(seats, "a", 1, 0.0)
    seats.saw(ROOM, {CALL: look(30.0, "@a:s:D")})
    seats.saw(ROOM, {CALL: look(100.0, "@a:s:D")})
    assert not admit(seats, "b", 1, 100.0)


def test_a_hold_is_judged_by_the_moment_of_the_look() -> None:
    """One who came in after the look on a hold that has run out since is still counted."""
    seats = make(hold=60.0)
    assert admit(seats, "a", 1, 0.0)
    seats.saw(ROOM, {CALL: look(59.0)})
    asked = seats.admit(ROOM, "@b:s", Identity("@b:s:D"), 1, at=59.0, now=61.0)
    assert not asked.admitted


def test_a_look_ends_only_holds_made_before_it() -> None:
    seats = make()
    seats.saw(ROOM, {CALL: look(1.0)})
    assert admit(seats, "a", 1, 5.0)
    seats.saw(ROOM, {CALL: look(4.0, "@a:s:D")})  # begun before, answered after
    seats.saw(ROOM, {CALL: look(6.0, "@a:s:D")})
    seats.saw(ROOM, {CALL: look(20.0)})
    seats.hung_up(ROOM, Identity("@a:s:D"))
    assert not admit(seats, "b", 1, 20.0)


def test_who_came_while_there_was_no_limit_does_not_stand() -> None:
    """Found by the soak: a look of before the limit, a token without a seat, then a limit."""
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:D")})
    assert seats.reassess(ROOM, 1) == []
    assert seats.reassess(ROOM, None) == []  # the limit is lifted
    seats.saw(ROOM, {CALL: look(10.0, "@a:s:D", "@b:s:D")})
    assert seats.reassess(ROOM, 1) == [], "he got his token without a seat, as anybody did"
    seats.saw(ROOM, {CALL: look(12.0, "@a:s:D", "@b:s:D", "@c:s:D")})
    assert seats.reassess(ROOM, 1) == ["@c:s"], "by now there is a limit"
    seats.saw(ROOM, {CALL: look(60.0, "@a:s:D")})
    seats.saw(ROOM, {CALL: look(61.0, "@a:s:D", "@d:s:D")})
    assert seats.reassess(ROOM, 1) == [], "for too long nobody knew whether there was a limit"


def test_who_left_unseen_and_comes_back_at_once_is_not_put_out() -> None:
    """Found by the state machine: nobody looked for longer than the grace, so none was kept."""
    seats = make(grace=10.0)
    assert admit(seats, "a", 2, 0.0)
    assert admit(seats, "b", 2, 0.0)
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:D", "@b:s:D")})
    seats.reassess(ROOM, 99)  # the live loop knows of a limit
    seats.saw(ROOM, {CALL: look(20.0, "@a:s:D")})  # b has gone at some moment of these
    assert admit(seats, "a", 1, 20.0, "OTHER"), "who sits already takes nobody's place"
    seats.saw(ROOM, {CALL: look(20.1, "@a:s:D", "@b:s:D")})
    assert seats.reassess(ROOM, 1) == []
    seats.saw(ROOM, {CALL: look(20.2, "@a:s:D")})
    seats.saw(ROOM, {CALL: look(45.0, "@a:s:D")})
    assert seats.reassess(ROOM, 1) == []
    seats.saw(ROOM, {CALL: look(60.0, "@a:s:D", "@b:s:D")})
    assert seats.reassess(ROOM, 1) == ["@b:s"], "long after he left he may not"


def test_an_older_look_changes_nothing() -> None:
    seats = make()
    seats.saw(ROOM, {CALL: look(5.0, "@a:s:D")})
    seats.saw(ROOM, {CALL: look(4.0, "@a:s:D", "@b:s:D", "@c:s:D")})
    assert admit(seats, "d", 2, 5.0)


def test_the_grace_runs_from_when_the_last_device_was_missed() -> None:
    seats = make(grace=10.0)
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:1", "@a:s:2")})
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:2")})
    seats.saw(ROOM, {CALL: look(4.0)})
    assert not admit(seats, "b", 1, 13.9)
    assert admit(seats, "b", 1, 14.0)


def test_an_unwatched_room_keeps_no_seat_for_people_long_gone() -> None:
    seats = make(grace=10.0)
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:D")})
    seats.saw(ROOM, {CALL: look(300.0)})
    assert admit(seats, "b", 1, 300.0)


def test_who_comes_back_after_his_grace_into_a_full_room_has_no_seat() -> None:
    """His token is still good for LiveKit; the seat went to somebody else meanwhile."""
    seats = make(hold=60.0, grace=10.0)
    seats.saw(ROOM, {CALL: look(0.0)})
    seats.reassess(ROOM, 99)  # the live loop knows of a limit
    assert admit(seats, "a", 1, 0.5)
    seats.saw(ROOM, {CALL: look(1.0, "@a:s:D")})
    seats.saw(ROOM, {CALL: look(2.0)})
    seats.saw(ROOM, {CALL: look(21.0)})
    assert admit(seats, "b", 1, 21.0)
    seats.saw(ROOM, {CALL: look(21.5, "@a:s:D")})
    assert seats.reassess(ROOM, 1) == ["@a:s"]


def test_hanging_up_frees_the_seat_at_once_but_not_that_of_another_device() -> None:
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:1", "@a:s:2")})
    seats.saw(ROOM, {CALL: look(1.0, "@a:s:2")})
    seats.hung_up(ROOM, Identity("@a:s:1"))
    assert not admit(seats, "b", 1, 1.0)
    seats.saw(ROOM, {CALL: look(2.0)})
    seats.hung_up(ROOM, Identity("@a:s:2"))
    assert admit(seats, "b", 1, 2.0)


def test_hanging_up_costs_nobody_the_seat_of_a_new_token() -> None:
    seats = make()
    assert admit(seats, "a", 1, 0.0)
    seats.hung_up(ROOM, Identity("@a:s:D"))
    assert not admit(seats, "b", 1, 1.0)


def test_people_of_all_livekit_rooms_count_and_a_user_counts_once() -> None:
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:1")})
    seats.saw(ROOM, {OTHER: look(0.0, "@a:s:2", "@b:s:1")})
    assert seats.ask(ROOM, "@c:s", Identity("@c:s:1"), 2, 0.0).users == 2
    assert not admit(seats, "c", 2, 0.0)
    assert admit(seats, "a", 1, 0.0, "3")


def test_a_hash_that_nobody_taught_us_is_a_person_of_his_own_and_may_rejoin() -> None:
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, "hash1", "hash2")})
    assert not admit(seats, "a", 2, 0.0)
    assert seats.admit(ROOM, "hash1", Identity("hash1"), 1, 0.0, 0.0).admitted


def test_a_device_id_like_a_port_costs_nobody_his_rejoin() -> None:
    seats = Seats(60.0, 10.0, lambda _: None, lambda _: "@a:s:8448")
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:8448:X")})
    assert seats.admit(ROOM, "@a:s", Identity("@a:s:NEW"), 1, 0.0, 0.0).admitted


def test_a_name_that_begins_like_anothers_is_not_that_other() -> None:
    """Another server on the same host: `@x:evil` is not there where `@x:evil:8448` sits."""
    registered = {Identity("@x:evil:8448:D"): UserId("@x:evil:8448")}
    for user, is_taught in (("@x:evil:8448", True), ("@x:evil", False)):
        seats = Seats(
            60.0, 10.0, registered.get, lambda identity: registered.get(identity) or identity
        )
        seats.saw(ROOM, {CALL: look(0.0, "@x:evil:8448:D")})
        asked = seats.admit(ROOM, user, Identity("a hash"), 1, 0.0, 0.0)
        assert asked.admitted is is_taught


def test_who_asks_for_anothers_identity_is_not_there_by_that() -> None:
    """Two users whom lk-jwt-service gives the same identity (`Directory.learn_identity`)."""
    knowledge, both = Directory(), Identity("@x:evil:8448:D")
    seats = Seats(60.0, 10.0, knowledge.user_of, knowledge.person)
    one, other = UserId("@x:evil"), UserId("@x:evil:8448")
    knowledge.learn_identity(both, one, CALL)
    assert seats.admit(ROOM, one, both, 1, 0.0, 0.0).admitted
    seats.saw(ROOM, {CALL: look(1.0, both)})
    knowledge.learn_identity(both, other, CALL)
    assert not seats.admit(ROOM, other, both, 1, 1.0, 1.0).admitted
    assert not seats.admit(ROOM, one, Identity("a hash"), 1, 1.0, 1.0).admitted
    assert seats.people(ROOM) == [both]


def test_a_token_keeps_the_seat_of_one_who_is_there_until_it_is_used() -> None:
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:D")})
    assert admit(seats, "a", 1, 0.5, "2")
    assert seats.held(0.5) == 0, "he is there: the metric counts who is awaited"
    seats.saw(ROOM, {CALL: look(1.0, "@a:s:D")})
    seats.saw(ROOM, {CALL: look(2.0)})
    seats.hung_up(ROOM, Identity("@a:s:D"))  # the other device is not there yet
    assert not admit(seats, "b", 1, 3.0)
    seats.saw(ROOM, {CALL: look(4.0, "@a:s:2")})
    seats.saw(ROOM, {CALL: look(5.0)})
    seats.hung_up(ROOM, Identity("@a:s:2"))
    assert admit(seats, "b", 1, 5.0), "both have come and gone"


def test_a_token_asked_for_in_the_call_keeps_the_seat_a_moment_only_once_they_hang_up() -> None:
    """A new delay id's token, which nobody will use; or the one for the next device."""
    seats = make(hold=60.0)
    seats.saw(ROOM, {CALL: look(0.0)})
    assert admit(seats, "a", 1, 0.5)
    seats.saw(ROOM, {CALL: look(1.0, "@a:s:D")})
    assert admit(seats, "a", 1, 30.0, "2")
    seats.saw(ROOM, {CALL: look(31.0)})
    seats.hung_up(ROOM, Identity("@a:s:D"))
    assert not admit(seats, "b", 1, 31.0 + SPARE - 0.1), "enough to change devices"
    assert admit(seats, "b", 1, 31.0 + SPARE)


def test_a_token_asked_for_from_outside_keeps_its_seat_whatever_another_device_does() -> None:
    seats = make(hold=60.0)
    seats.saw(ROOM, {CALL: look(0.0)})
    assert admit(seats, "a", 1, 0.5, "1")
    assert admit(seats, "a", 1, 3.0, "2")
    seats.saw(ROOM, {CALL: look(4.0, "@a:s:1")})
    assert admit(seats, "a", 1, 5.0, "2"), "a new one for it, from within, does not prolong that"
    seats.saw(ROOM, {CALL: look(6.0)})
    seats.hung_up(ROOM, Identity("@a:s:1"))
    assert not admit(seats, "b", 1, 62.9)
    assert admit(seats, "b", 1, 63.0)


def test_a_spare_token_is_not_cut_while_another_device_is_there_nor_where_the_line_breaks() -> None:
    for on_purpose, freed in ((True, 30.0 + SPARE), (False, 62.0)):
        seats = make(hold=60.0)
        seats.saw(ROOM, {CALL: look(0.0, "@a:s:1", "@a:s:2")})
        assert admit(seats, "a", 1, 2.0, "3")
        seats.saw(ROOM, {CALL: look(4.0, "@a:s:2")})
        seats.hung_up(ROOM, Identity("@a:s:1"))
        seats.saw(ROOM, {CALL: look(30.0)})
        if on_purpose:
            seats.hung_up(ROOM, Identity("@a:s:2"))
        assert not admit(seats, "b", 1, freed - 0.1)
        assert admit(seats, "b", 1, freed)


def test_a_seat_restored_after_a_restart_is_for_no_token_we_know_and_stays() -> None:
    seats = make()
    seats.restore(ROOM, {"@a:s": 65.0}, 5.0)
    seats.saw(ROOM, {CALL: look(6.0)})
    seats.hung_up(ROOM, Identity("@a:s:1"))
    assert not admit(seats, "b", 1, 64.9)


def test_who_reloads_the_page_keeps_his_seat() -> None:
    """Found by the soak (seed 11): gone, token and back again between a look and its successor."""
    seats = watched("@a:s:1", "@b:s:1")
    assert admit(seats, "a", 1, 0.0, "1")  # he hung up a moment ago; the last look shows him
    seats.saw(ROOM, {CALL: look(0.1, "@b:s:1")})
    seats.hung_up(ROOM, Identity("@a:s:1"))
    seats.saw(ROOM, {CALL: look(0.2, "@b:s:1", "@a:s:1")})
    assert seats.reassess(ROOM, 1) == []


def test_a_token_issued_later_than_the_one_that_is_used_is_waited_for() -> None:
    seats = make(hold=60.0)
    seats.saw(ROOM, {CALL: look(0.0)})
    assert admit(seats, "a", 1, 1.0, "1")
    assert admit(seats, "a", 1, 1.0 + TOGETHER + 0.1, "2")
    for moment, device in ((4.0, "1"), (6.0, "2")):
        assert not admit(seats, "b", 1, moment)
        seats.saw(ROOM, {CALL: look(moment, f"@a:s:{device}")})
        seats.saw(ROOM, {CALL: look(moment + 1.0)})
        seats.hung_up(ROOM, Identity(f"@a:s:{device}"))
    assert admit(seats, "b", 1, 7.0)


def test_one_who_comes_in_uses_up_the_tokens_that_he_was_issued_for_it() -> None:
    """Element Call asks both endpoints, and again with a delay id; after a reload, anew."""
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0)})
    assert admit(seats, "a", 1, 1.0, "before the reload")
    for moment, device in ((11.0, "1"), (11.1, "2"), (11.4, "1"), (11.5, "2")):
        assert admit(seats, "a", 1, moment, device)
    seats.saw(ROOM, {CALL: look(12.0, "@a:s:1")})
    assert seats.held(12.0) == 0
    seats.saw(ROOM, {CALL: look(13.0)})
    seats.hung_up(ROOM, Identity("@a:s:1"))
    assert admit(seats, "b", 1, 13.0)


def test_a_look_uses_up_no_token_that_was_issued_after_it_was_begun() -> None:
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0)})
    assert admit(seats, "a", 1, 1.0, "1")
    assert admit(seats, "a", 1, 1.6, "2")
    seats.saw(ROOM, {CALL: look(1.5, "@a:s:1")})
    seats.saw(ROOM, {CALL: look(1.8, "@a:s:1")})
    seats.saw(ROOM, {CALL: look(2.0)})
    seats.hung_up(ROOM, Identity("@a:s:1"))
    assert not admit(seats, "b", 1, 2.0)
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0)})
    assert admit(seats, "a", 1, 1.0, "1")
    assert admit(seats, "a", 1, 3.5, "2")  # again, while a look that shows it is on its way
    seats.saw(ROOM, {CALL: look(3.4, "@a:s:2"), OTHER: look(3.6, "@a:s:1")})
    seats.saw(ROOM, {CALL: look(4.0), OTHER: look(4.0)})
    seats.hung_up(ROOM, Identity("@a:s:1"))
    assert not admit(seats, "b", 1, 4.0)


def test_a_look_from_before_a_restart_ends_no_seat_that_was_restored() -> None:
    seats = make()
    seats.restore(ROOM, {"@a:s": 65.0}, 5.0)
    seats.saw(ROOM, {CALL: look(4.0, "@a:s:1")})
    seats.saw(ROOM, {CALL: look(6.0)})
    assert not admit(seats, "b", 1, 20.0)


def test_how_many_tokens_are_waited_for_has_a_bound() -> None:
    seats = make()
    for number in range(2 * MOST_AWAITED):
        assert admit(seats, "a", 1, 1.0, str(number))
    assert len(seats.table(ROOM).holds["@a:s"].awaits) == MOST_AWAITED


# Who stands.


def watched(*people: str) -> Seats:
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, *people)})
    seats.reassess(ROOM, 99)  # the live loop knows of a limit
    return seats


def test_who_comes_without_a_seat_into_a_full_room_stands_newest_first() -> None:
    seats = watched("@a:s:1", "@b:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1", "@c:s:1")})
    seats.saw(ROOM, {CALL: look(4.0, "@a:s:1", "@b:s:1", "@c:s:1", "@d:s:1")})
    assert seats.reassess(ROOM, 2) == ["@d:s", "@c:s"]
    assert seats.reassess(ROOM, 3) == ["@d:s"]
    assert seats.reassess(ROOM, None) == []
    assert seats.reassess(ROOM, 1) == []


def put_out(seats: Seats, *identities: str) -> None:
    for identity in identities:
        seats.put_out(ROOM, Identity(identity), 2.0)


def test_who_was_put_out_and_is_back_with_the_same_token_stands_at_once() -> None:
    """Also where nobody was watching, and nobody knows who they are."""
    for name in ("@b:s:1", "hash"):
        seats = watched("@a:s:1")
        put_out(seats, name)
        seats.lost_sight(ROOM, 3.0)
        seats.saw(ROOM, {CALL: look(4.0, "@a:s:1", name)})
        assert seats.reassess(ROOM, 1) == [name.removesuffix(":1")]
        seats.saw(ROOM, {CALL: look(5.0, "@a:s:1")})
        seats.saw(ROOM, {OTHER: look(6.0, name)})
        assert seats.reassess(ROOM, 1) == [name.removesuffix(":1")], "and again"


def test_who_was_put_out_and_got_a_seat_since_is_like_anybody() -> None:
    def back(seats: Seats, *people: str) -> list[str]:
        seats.lost_sight(ROOM, 5.0)
        seats.saw(ROOM, {CALL: look(6.0, *people)})
        return seats.reassess(ROOM, 1)

    for device in ("1", "2"):  # a token for that device, or for another one of theirs
        seats = watched()
        put_out(seats, "@b:s:1")
        assert admit(seats, "b", 1, 3.0, device)
        seats.saw(ROOM, {CALL: look(4.0, f"@b:s:{device}")})
        seats.saw(ROOM, {CALL: look(4.5)})
        seats.hung_up(ROOM, Identity(f"@b:s:{device}"))
        assert back(seats, "@a:s:1", "@b:s:1") == []
    seats = watched("@a:s:1")
    assert admit(seats, "b", 2, 1.0)
    put_out(seats, "@b:s:1")  # the seat was given while the removal was under way
    assert seats.table(ROOM).put_out == {}
    seats = watched()
    put_out(seats, "@b:s:1")
    seats.saw(ROOM, {CALL: look(3.0, "@b:s:1")})
    assert seats.reassess(ROOM, 1) == [], "there is a free seat by now"
    assert seats.table(ROOM).put_out == {}


def test_where_there_may_have_been_no_limit_nobody_is_known_as_put_out() -> None:
    seats = watched("@a:s:1")
    put_out(seats, "@b:s:1")
    assert seats.reassess(ROOM, None) == []
    assert seats.table(ROOM).put_out == {}
    seats = watched("@a:s:1")
    put_out(seats, "@b:s:1")
    seats.saw(ROOM, {CALL: look(WATCHED + 1.0, "@a:s:1", "@b:s:1")})
    assert seats.reassess(ROOM, 1) == [], "for too long nobody knew whether there was a limit"
    assert seats.table(ROOM).put_out == {}


def test_who_was_put_out_is_known_as_long_as_their_token_lives() -> None:
    seats = watched()
    for number in range(MOST_PUT_OUT + 2):
        seats.put_out(ROOM, Identity(f"@u{number}:s:1"), float(number))
    assert len(seats.table(ROOM).put_out) == MOST_PUT_OUT
    assert "@u1:s:1" not in seats.table(ROOM).put_out
    seats.sweep(PUT_OUT)
    assert seats.rooms() == [ROOM]
    seats.sweep(MOST_PUT_OUT + 2 + PUT_OUT)
    assert seats.rooms() == []


def test_one_who_stands_gets_no_seat_by_asking_for_it_unless_there_is_one() -> None:
    """A token from a drawer, and a fresh one before the live loop has put him out."""
    seats = watched("@a:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1")})
    assert not admit(seats, "b", 1, 2.0)
    assert seats.reassess(ROOM, 1) == ["@b:s"]
    assert admit(seats, "b", 2, 2.0)
    assert seats.reassess(ROOM, 1) == []


def test_who_may_have_come_before_the_limit_is_no_stranger_at_the_door() -> None:
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:1")})
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1")})  # nobody knows of a limit yet
    assert admit(seats, "b", 1, 2.0)
    seats = watched("@a:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1")})
    assert admit(seats, "b", 1, WATCHED + 1.0), "by now there may be none"
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:1")})
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1")})
    other = make()
    other.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1")})
    other.reassess(ROOM, 1)
    seats.put_table(ROOM, evolve(seats.table(ROOM), limited=other.table(ROOM).limited))
    assert admit(seats, "b", 1, 2.0), "another guard knows of a limit since a moment ago"


def test_who_was_in_before_is_never_standing() -> None:
    seats = watched("@a:s:1", "@b:s:1", "@c:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1", "@c:s:1")})
    assert seats.reassess(ROOM, 1) == []


def test_a_held_seat_and_a_free_one_are_both_seats() -> None:
    seats = watched("@a:s:1")
    assert admit(seats, "b", 2, 1.0)
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1")})
    assert seats.reassess(ROOM, 2) == []
    assert seats.reassess(ROOM, 1) == []
    seats = watched("@a:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1")})
    assert seats.reassess(ROOM, 2) == []
    assert seats.reassess(ROOM, 1) == []


def test_a_held_seat_is_not_free_for_one_who_stands() -> None:
    seats = watched("@a:s:1")
    assert admit(seats, "b", 2, 1.0)
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@c:s:1")})
    assert seats.reassess(ROOM, 2) == ["@c:s"]


def test_doubt_seats_everybody() -> None:
    unknown = watched("@a:s:1")
    unknown.saw(ROOM, {CALL: look(2.0, "@a:s:1", "hash")})
    assert unknown.reassess(ROOM, 1) == []
    late = watched("@a:s:1")
    late.saw(ROOM, {CALL: look(WATCHED + 1.0, "@a:s:1", "@b:s:1")})
    assert late.reassess(ROOM, 1) == []
    failed = watched("@a:s:1")
    failed.lost_sight(ROOM, 1.0)
    failed.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1")})
    assert failed.reassess(ROOM, 1) == []


def test_those_whom_livekit_forgot_all_at_once_may_come_back() -> None:
    seats = watched("@a:s:1", "@b:s:1", "@c:s:1")
    seats.saw(ROOM, {CALL: look(2.0)})
    seats.saw(ROOM, {CALL: look(20.0, "@a:s:1")})
    seats.saw(ROOM, {CALL: look(22.0, "@a:s:1", "@b:s:1", "@d:s:1")})
    assert seats.reassess(ROOM, 1) == ["@d:s"]


def test_a_hold_that_runs_out_between_joining_and_the_next_look_was_a_seat() -> None:
    seats = watched("@a:s:1")
    assert admit(seats, "b", 2, 0.0)
    seats.saw(ROOM, {CALL: look(28.0, "@a:s:1")})
    seats.saw(ROOM, {CALL: look(56.0, "@a:s:1")})
    seats.saw(ROOM, {CALL: look(61.0, "@a:s:1", "@b:s:1")})
    assert seats.reassess(ROOM, 1) == []


def test_a_place_kept_for_who_may_return_is_given_once() -> None:
    """Five leave a slot all at once, five newcomers take their seats, and the first come back."""
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0), OTHER: look(0.0, "@a:s:1", "@b:s:1")})
    seats.reassess(ROOM, 99)  # the live loop knows of a limit
    seats.saw(ROOM, {CALL: look(2.0), OTHER: look(2.0)})
    seats.saw(ROOM, {CALL: look(13.0), OTHER: look(13.0)})
    assert admit(seats, "c", 2, 13.0)
    assert admit(seats, "d", 2, 13.0)
    seats.saw(ROOM, {CALL: look(14.0, "@c:s:1", "@d:s:1"), OTHER: look(14.0)})
    seats.saw(ROOM, {CALL: look(16.0, "@c:s:1", "@d:s:1", "@a:s:1", "@b:s:1"), OTHER: look(16.0)})
    assert sorted(seats.reassess(ROOM, 2)) == ["@a:s", "@b:s"]


def test_who_hung_up_is_not_expected_back() -> None:
    seats = watched("@a:s:1", "@b:s:1")
    seats.saw(ROOM, {CALL: look(2.0)})
    seats.hung_up(ROOM, Identity("@a:s:1"))
    seats.hung_up(ROOM, Identity("@b:s:1"))
    assert admit(seats, "c", 1, 2.0)
    seats.saw(ROOM, {CALL: look(4.0, "@c:s:1", "@a:s:1")})
    assert seats.reassess(ROOM, 1) == ["@a:s"]


def test_who_stands_and_goes_leaves_no_seat_behind() -> None:
    seats = watched("@a:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1")})
    assert seats.reassess(ROOM, 1) == ["@b:s"]
    seats.saw(ROOM, {CALL: look(4.0, "@a:s:1")})
    assert not admit(seats, "b", 1, 4.0)
    seats.saw(ROOM, {CALL: look(6.0, "@a:s:1", "@b:s:1")})
    assert seats.reassess(ROOM, 1) == ["@b:s"]


def test_seats_survive_being_written_down() -> None:
    seats = watched("@a:s:1")
    assert admit(seats, "b", 2, 1.0)
    assert seats.seated(ROOM) == {"@a:s": None, "@b:s": 61.0}
    fresh = make()
    fresh.restore(ROOM, seats.seated(ROOM), 2.0)
    assert not admit(fresh, "c", 2, 11.9)
    assert admit(fresh, "c", 2, 12.0)


def test_sweeping_drops_rooms_where_nothing_is_left() -> None:
    seats = make()
    assert admit(seats, "a", 1, 0.0)
    seats.sweep(59.0)
    assert seats.rooms() == [ROOM]
    seats.sweep(60.0)
    assert seats.rooms() == []


USERS = st.sampled_from([f"@u{i}:s" for i in range(5)])
DEVICES = st.sampled_from(["1", "2"])


class SeatsMachine(RuleBasedStateMachine):
    """A room with a limit, a real SFU's view of it, and everything that can happen in between."""

    def __init__(self) -> None:
        super().__init__()
        self.seats = make(hold=60.0, grace=10.0)
        self.now = 0.0
        self.limit = 2
        self.live: set[str] = set()
        self.tokens: dict[str, float] = {}
        """Who may still use a token he was given, until when."""
        self.unused: set[str] = set()
        """Whose latest token has not been used, nor one for the same coming in or a later one."""
        self.asked: dict[str, float] = {}
        """When each was given his latest token."""
        self.spare: set[str] = set()
        """Whose latest token was asked for by a user whom the last look showed."""
        self.shown: set[str] = set()
        """Whom the last look showed."""
        self.ended: list[str] = []
        """Who has hung up, where LiveKit's word of it is still on its way."""
        self.seen = 0.0
        self.look()

    def look(self) -> None:
        self.seats.saw(ROOM, {CALL: look(self.now, *self.live)})
        self.seen, self.shown = self.now, self.users()

    def tick(self) -> None:
        """Let a moment pass: no two things happen at the very same one."""
        self.now += 0.001

    def users(self) -> set[str]:
        return {i.rpartition(":")[0] for i in self.live}

    @rule(seconds=st.sampled_from([0.5, 2.0, 9.0, 20.0, 31.0, 61.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(limit=st.integers(1, 4))
    def change_limit(self, limit: int) -> None:
        self.limit = limit

    @rule(user=USERS, device=DEVICES, is_fresh=st.booleans())
    def ask(self, user: str, device: str, is_fresh: bool) -> None:
        """Ask for a token; a look of the last second lets in, none but a new one refuses."""
        self.tick()
        identity = Identity(f"{user}:{device}")
        is_at_hand = not is_fresh and self.now - self.seen <= LOOK_MAX_AGE
        who = (ROOM, user, identity, self.limit)
        if (is_at_hand and self.seats.admit(*who, self.seen, self.now).admitted) or self.ask_afresh(
            user, identity
        ):
            self.tokens[identity] = self.now + 60.0
            self.asked[identity] = self.now
            self.spare.discard(identity)
            if user in self.shown:
                self.spare.add(identity)
            if identity in self.live:
                self.use_up(identity)
            self.unused.add(identity)

    def use_up(self, identity: str) -> None:
        user, last = identity.rpartition(":")[0], self.asked[identity] + TOGETHER
        self.unused -= {
            other
            for other in self.unused
            if other.startswith(f"{user}:") and self.asked[other] <= last
        }

    def ask_afresh(self, user: str, identity: Identity) -> bool:
        self.look()
        held = {
            p for p, until in self.seats.seated(ROOM).items() if until is None or until > self.now
        }
        before = len(held | self.users())
        seating = self.seats.admit(ROOM, user, identity, self.limit, self.now, self.now)
        if user in self.users() or user in held:
            assert seating.admitted, "nobody seated is ever refused"
        else:
            assert seating.admitted == (before < self.limit), "never more than the limit"
        return seating.admitted

    @rule(user=USERS, device=DEVICES)
    def join(self, user: str, device: str) -> None:
        """Join with a token while its seat lives; drawer tokens are the live loop's business."""
        self.tick()
        if self.tokens.get(f"{user}:{device}", 0.0) > self.now:
            self.live.add(f"{user}:{device}")
            self.use_up(f"{user}:{device}")

    @precondition(lambda self: self.live)
    @rule(data=st.data(), on_purpose=st.booleans())
    def leave(self, data: st.DataObject, on_purpose: bool) -> None:
        self.tick()
        gone = data.draw(st.sampled_from(sorted(self.live)))
        self.live.discard(gone)
        if on_purpose:
            self.ended.append(gone)
        # What a used token still gives him is the grace, and nothing where he hung up.
        self.end_used(gone, self.now + (0.0 if on_purpose else 10.0))

    @precondition(lambda self: self.live)
    @rule(data=st.data(), is_heard=st.booleans(), device=DEVICES)
    def reload(self, data: st.DataObject, is_heard: bool, device: str) -> None:
        """Go and be back at once, perhaps with another device: one move, or chance misses it."""
        self.watch()
        before = set(self.live)
        self.leave(data, True)
        user = (before - self.live).pop().rpartition(":")[0]
        self.ask(user, device, False)
        if is_heard:
            self.hear()
        self.join(user, device)
        self.watch()

    @precondition(lambda self: self.ended)
    @rule()
    def hear(self) -> None:
        """Hear of those who hung up; of one who is back it is forgotten (`live._free_seats`)."""
        self.tick()
        self.look()
        for identity in set(self.ended) - self.live:
            self.seats.hung_up(ROOM, Identity(identity))
            self.end_used(identity, self.now)
            self.end_spare(identity.rpartition(":")[0])
        self.ended.clear()

    def end_spare(self, user: str) -> None:
        """Bound what a token asked for in the call still gives one who has hung up."""
        if user in self.users():
            return
        for token in self.spare:
            if token.startswith(f"{user}:") and token in self.tokens:
                self.tokens[token] = min(self.tokens[token], self.now + SPARE)
        hold = self.seats.table(ROOM).holds.get(user)
        if hold and not hold.firm:
            assert hold.until <= self.now + SPARE

    def end_used(self, identity: str, until: float) -> None:
        """Bound what his tokens still give a user none of whose devices is there."""
        user = identity.rpartition(":")[0]
        if user not in self.users():
            for token in self.tokens.keys() - self.unused:
                if token.startswith(f"{user}:"):
                    self.tokens[token] = min(self.tokens[token], until)

    @rule()
    def watch(self) -> None:
        self.look()
        assert self.seats.reassess(ROOM, self.limit) == [], "nobody seated is ever put out"

    @rule(user=USERS, device=DEVICES)
    def come_from_a_drawer(self, user: str, device: str) -> None:
        """Come in with an old token and no seat, and be put out where the room is full."""
        self.watch()
        identity = Identity(f"{user}:{device}")
        if user in self.seats.taken(ROOM, self.now) or self.seats.table(ROOM).returning:
            return  # who may return may be seated
        was_put_out = identity in self.seats.table(ROOM).put_out
        self.tick()
        self.live.add(identity)
        self.look()
        is_full = len(self.seats.taken(ROOM, self.now)) > self.limit
        unseated = self.seats.reassess(ROOM, self.limit)
        assert set(unseated) <= {user}, "nobody seated is ever put out"
        assert not unseated or is_full
        assert unseated or not (is_full and was_put_out), "who was put out is known again"
        if unseated:
            self.live.discard(identity)
            self.seats.put_out(ROOM, identity, self.now)
        self.tick()

    @rule()
    def everybody_goes(self) -> None:
        """No seat outlives its reasons."""
        self.live.clear()
        self.tokens.clear()
        self.unused.clear()
        self.tick()
        self.look()
        self.now += 61.0
        self.look()
        assert self.seats.taken(ROOM, self.now) == []

    @rule()
    def sweep(self) -> None:
        self.seats.sweep(self.now)


SeatsMachine.TestCase.settings = settings(max_examples=300, stateful_step_count=40, deadline=None)
test_seats_under_any_interleaving = SeatsMachine.TestCase
