"""Who is there without a seat: listed newest first, known again, seated where a seat is free."""

from attrs import evolve

from lotus_guard.core.model import Identity
from lotus_guard.core.seat_table import PUT_OUT, WATCHED
from lotus_guard.core.seats import Seats
from lotus_guard.core.unseated import MOST_PUT_OUT
from tests.core.seating import CALL, OTHER, ROOM, admit, look, make, watched


def test_who_came_while_there_was_no_limit_is_not_unseated() -> None:
    """Found by the soak: a look of before the limit, a token without a seat, then a limit."""
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:D")})
    assert seats.reassess(ROOM, 1) == []
    assert seats.reassess(ROOM, None) == []  # the limit is lifted
    seats.saw(ROOM, {CALL: look(10.0, "@a:s:D", "@b:s:D")})
    assert seats.reassess(ROOM, 1) == [], "they got their token without a seat, as anybody did"
    seats.saw(ROOM, {CALL: look(12.0, "@a:s:D", "@b:s:D", "@c:s:D")})
    assert seats.reassess(ROOM, 1) == ["@c:s"], "by now there is a limit"
    seats.saw(ROOM, {CALL: look(60.0, "@a:s:D")})
    seats.saw(ROOM, {CALL: look(61.0, "@a:s:D", "@d:s:D")})
    assert seats.reassess(ROOM, 1) == [], "for too long nobody knew whether there was a limit"


def test_who_comes_without_a_seat_into_a_full_room_is_unseated_newest_first() -> None:
    seats = watched("@a:s:1", "@b:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1", "@c:s:1")})
    seats.saw(ROOM, {CALL: look(4.0, "@a:s:1", "@b:s:1", "@c:s:1", "@d:s:1")})
    assert seats.reassess(ROOM, 2) == ["@d:s", "@c:s"]
    assert seats.reassess(ROOM, 3) == ["@d:s"]
    assert seats.reassess(ROOM, None) == []
    assert seats.reassess(ROOM, 1) == []


def test_who_is_exempt_is_seated_in_a_full_room_and_takes_nobodys_place() -> None:
    seats = watched("@a:s:1", "@b:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1", "@c:s:1")})
    seats.saw(ROOM, {CALL: look(4.0, "@a:s:1", "@b:s:1", "@c:s:1", "@mod:s:1")})
    assert seats.reassess(ROOM, 2, {"@mod:s"}) == ["@c:s"]
    assert len(seats.taken(ROOM, 4.0)) == 4
    assert seats.reassess(ROOM, 2) == ["@c:s"], "they have a seat now, exempt or not"
    assert seats.reassess(ROOM, 4) == []


def test_who_is_exempt_counts_as_everybody_does() -> None:
    seats = watched("@a:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@mod:s:1")})
    seats.saw(ROOM, {CALL: look(4.0, "@a:s:1", "@mod:s:1", "@c:s:1")})
    assert seats.reassess(ROOM, 2, {"@mod:s"}) == ["@c:s"]


def put_out(seats: Seats, *identities: str) -> None:
    for identity in identities:
        seats.put_out(ROOM, Identity(identity), 2.0)


def test_who_was_put_out_and_is_back_with_the_same_token_is_unseated_at_once() -> None:
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


def test_one_who_is_unseated_gets_no_seat_by_asking_for_it_unless_there_is_one() -> None:
    """A token from a drawer, and a fresh one before the live loop has put them out."""
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


def test_a_held_seat_is_not_free_for_one_who_is_unseated() -> None:
    seats = watched("@a:s:1")
    assert admit(seats, "b", 2, 1.0)
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@c:s:1")})
    assert seats.reassess(ROOM, 2) == ["@c:s"]


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
