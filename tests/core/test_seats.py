"""Seats: who is let in, for whom a seat is held, and what is left of a room."""

from lotus_guard.core.model import Identity
from lotus_guard.core.seats import MOST_AWAITED, SPARE
from tests.core.seating import CALL, ROOM, admit, look, make, watched


def test_the_last_seat_is_given_once() -> None:
    seats = make()
    assert [admit(seats, f"u{i}", 3, 0.0) for i in range(14)] == [True] * 3 + [False] * 11


def test_whoever_needs_no_free_seat_is_seated_in_a_full_room() -> None:
    seats = make()
    assert [admit(seats, name, 1, 0.0) for name in "ab"] == [True, False]
    mod = Identity("@mod:s:1")
    seating = seats.admit(ROOM, "@mod:s", mod, None, 0.0, 0.0)
    assert seating.admitted
    assert seats.taken(ROOM, 0.0) == ["@a:s", "@mod:s"], "and counts"


def test_a_call_is_on_while_somebody_is_in_it_or_may_come_back_and_not_by_tokens() -> None:
    seats, bob = make(), Identity("@b:s:D")

    def is_on(at: float) -> bool:
        return seats.occupancy(ROOM, "@b:s", bob, at).is_on

    for at in (0.0, 50.0, 100.0):
        admit(seats, "b", 5, at)
        assert not is_on(at), "whoever asks again and again is not in it"
    seats.saw(ROOM, {CALL: look(100.0, "@a:s:D")})
    assert is_on(100.0)
    seats.saw(ROOM, {CALL: look(102.0)})
    assert is_on(103.0), "their line broke, and they may come back"
    assert not is_on(170.0)


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


def test_a_token_keeps_the_seat_of_one_who_is_there_until_it_is_used() -> None:
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:D")})
    assert admit(seats, "a", 1, 0.5, "2")
    assert seats.held(0.5) == 0, "they are there: the metric counts who is awaited"
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


def test_how_many_tokens_are_waited_for_has_a_bound() -> None:
    seats = make()
    for number in range(2 * MOST_AWAITED):
        assert admit(seats, "a", 1, 1.0, str(number))
    assert len(seats.table(ROOM).holds["@a:s"].awaits) == MOST_AWAITED


def test_who_hung_up_is_not_expected_back() -> None:
    seats = watched("@a:s:1", "@b:s:1")
    seats.saw(ROOM, {CALL: look(2.0)})
    seats.hung_up(ROOM, Identity("@a:s:1"))
    seats.hung_up(ROOM, Identity("@b:s:1"))
    assert admit(seats, "c", 1, 2.0)
    seats.saw(ROOM, {CALL: look(4.0, "@c:s:1", "@a:s:1")})
    assert seats.reassess(ROOM, 1) == ["@a:s"]


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
