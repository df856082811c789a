"""What a new look at a room changes: seats used up, seats kept, who is there without one."""

from lotus_guard.core.model import Identity
from lotus_guard.core.seat_arrivals import TOGETHER
from lotus_guard.core.seat_table import WATCHED
from tests.core.seating import CALL, OTHER, ROOM, admit, look, make, watched


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


def test_who_reloads_the_page_keeps_their_seat() -> None:
    """Found by the soak (seed 11): gone, token and back again between a look and its successor."""
    seats = watched("@a:s:1", "@b:s:1")
    assert admit(seats, "a", 1, 0.0, "1")  # they hung up a moment ago; the last look shows them
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


def test_one_who_comes_in_uses_up_the_tokens_that_they_were_issued_for_it() -> None:
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
    assert seats.reassess(ROOM, 1) == ["@b:s"], "long after they left they may not"


def test_who_comes_back_after_their_grace_into_a_full_room_has_no_seat() -> None:
    """Their token is still good for LiveKit; the seat went to somebody else meanwhile."""
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


def test_who_was_in_before_is_never_unseated() -> None:
    seats = watched("@a:s:1", "@b:s:1", "@c:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1", "@c:s:1")})
    assert seats.reassess(ROOM, 1) == []


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


def test_who_is_unseated_and_goes_leaves_no_seat_behind() -> None:
    seats = watched("@a:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1")})
    assert seats.reassess(ROOM, 1) == ["@b:s"]
    seats.saw(ROOM, {CALL: look(4.0, "@a:s:1")})
    assert not admit(seats, "b", 1, 4.0)
    seats.saw(ROOM, {CALL: look(6.0, "@a:s:1", "@b:s:1")})
    assert seats.reassess(ROOM, 1) == ["@b:s"]
