"""Seats: examples of each rule, and the laws under any interleaving."""

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, precondition, rule

from lotus_guard.core.model import Alias, Identity, RoomId, UserId
from lotus_guard.core.seats import WATCHED, Look, Seats

ROOM = RoomId("!r:s")
CALL, OTHER = Alias("call"), Alias("other")


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
    seats.saw(ROOM, {CALL: look(20.0)})
    assert not admit(seats, "b", 1, 20.0)


def test_who_left_unseen_and_comes_back_at_once_is_not_put_out() -> None:
    """Found by the state machine: nobody looked for longer than the grace, so none was kept."""
    seats = make(grace=10.0)
    assert admit(seats, "a", 2, 0.0)
    assert admit(seats, "b", 2, 0.0)
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:D", "@b:s:D")})
    seats.saw(ROOM, {CALL: look(20.0, "@a:s:D")})  # b has gone at some moment of these
    assert admit(seats, "a", 1, 20.0, "OTHER"), "who sits already takes nobody's place"
    seats.saw(ROOM, {CALL: look(20.1, "@a:s:D", "@b:s:D")})
    assert seats.settle(ROOM, 1) == []
    seats.saw(ROOM, {CALL: look(20.2, "@a:s:D")})
    seats.saw(ROOM, {CALL: look(45.0, "@a:s:D")})
    seats.saw(ROOM, {CALL: look(60.0, "@a:s:D", "@b:s:D")})
    assert seats.settle(ROOM, 1) == ["@b:s"], "long after he left he may not"


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
    assert admit(seats, "a", 1, 0.5)
    seats.saw(ROOM, {CALL: look(1.0, "@a:s:D")})
    seats.saw(ROOM, {CALL: look(2.0)})
    seats.saw(ROOM, {CALL: look(21.0)})
    assert admit(seats, "b", 1, 21.0)
    seats.saw(ROOM, {CALL: look(21.5, "@a:s:D")})
    assert seats.settle(ROOM, 1) == ["@a:s"]


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


def test_a_present_user_gets_no_hold() -> None:
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, "@a:s:D")})
    assert admit(seats, "a", 1, 0.0, "2")
    seats.saw(ROOM, {CALL: look(1.0)})
    assert not admit(seats, "b", 1, 10.9)
    assert admit(seats, "b", 1, 11.0)


# Who stands.


def watched(*people: str) -> Seats:
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0, *people)})
    return seats


def test_who_comes_without_a_seat_into_a_full_room_stands_newest_first() -> None:
    seats = watched("@a:s:1", "@b:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1", "@c:s:1")})
    seats.saw(ROOM, {CALL: look(4.0, "@a:s:1", "@b:s:1", "@c:s:1", "@d:s:1")})
    assert seats.settle(ROOM, 2) == ["@d:s", "@c:s"]
    assert seats.settle(ROOM, 3) == ["@d:s"]
    assert seats.settle(ROOM, None) == []
    assert seats.settle(ROOM, 1) == []


def test_who_was_in_before_is_never_standing() -> None:
    seats = watched("@a:s:1", "@b:s:1", "@c:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1", "@c:s:1")})
    assert seats.settle(ROOM, 1) == []


def test_a_held_seat_and_a_free_one_are_both_seats() -> None:
    seats = watched("@a:s:1")
    assert admit(seats, "b", 2, 1.0)
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1")})
    assert seats.settle(ROOM, 2) == []
    assert seats.settle(ROOM, 1) == []
    seats = watched("@a:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1")})
    assert seats.settle(ROOM, 2) == []
    assert seats.settle(ROOM, 1) == []


def test_a_held_seat_is_not_free_for_one_who_stands() -> None:
    seats = watched("@a:s:1")
    assert admit(seats, "b", 2, 1.0)
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@c:s:1")})
    assert seats.settle(ROOM, 2) == ["@c:s"]


def test_doubt_seats_everybody() -> None:
    unknown = watched("@a:s:1")
    unknown.saw(ROOM, {CALL: look(2.0, "@a:s:1", "hash")})
    assert unknown.settle(ROOM, 1) == []
    late = watched("@a:s:1")
    late.saw(ROOM, {CALL: look(WATCHED + 1.0, "@a:s:1", "@b:s:1")})
    assert late.settle(ROOM, 1) == []
    failed = watched("@a:s:1")
    failed.lost_sight(ROOM, 1.0)
    failed.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1")})
    assert failed.settle(ROOM, 1) == []


def test_those_whom_livekit_forgot_all_at_once_may_come_back() -> None:
    seats = watched("@a:s:1", "@b:s:1", "@c:s:1")
    seats.saw(ROOM, {CALL: look(2.0)})
    seats.saw(ROOM, {CALL: look(20.0, "@a:s:1")})
    seats.saw(ROOM, {CALL: look(22.0, "@a:s:1", "@b:s:1", "@d:s:1")})
    assert seats.settle(ROOM, 1) == ["@d:s"]


def test_a_hold_that_runs_out_between_joining_and_the_next_look_was_a_seat() -> None:
    seats = watched("@a:s:1")
    assert admit(seats, "b", 2, 0.0)
    seats.saw(ROOM, {CALL: look(28.0, "@a:s:1")})
    seats.saw(ROOM, {CALL: look(56.0, "@a:s:1")})
    seats.saw(ROOM, {CALL: look(61.0, "@a:s:1", "@b:s:1")})
    assert seats.settle(ROOM, 1) == []


def test_a_place_kept_for_who_may_return_is_given_once() -> None:
    """Five leave a slot all at once, five newcomers take their seats, and the first come back."""
    seats = make()
    seats.saw(ROOM, {CALL: look(0.0), OTHER: look(0.0, "@a:s:1", "@b:s:1")})
    seats.saw(ROOM, {CALL: look(2.0), OTHER: look(2.0)})
    seats.saw(ROOM, {CALL: look(13.0), OTHER: look(13.0)})
    assert admit(seats, "c", 2, 13.0)
    assert admit(seats, "d", 2, 13.0)
    seats.saw(ROOM, {CALL: look(14.0, "@c:s:1", "@d:s:1"), OTHER: look(14.0)})
    seats.saw(ROOM, {CALL: look(16.0, "@c:s:1", "@d:s:1", "@a:s:1", "@b:s:1"), OTHER: look(16.0)})
    assert sorted(seats.settle(ROOM, 2)) == ["@a:s", "@b:s"]


def test_who_hung_up_is_not_expected_back() -> None:
    seats = watched("@a:s:1", "@b:s:1")
    seats.saw(ROOM, {CALL: look(2.0)})
    seats.hung_up(ROOM, Identity("@a:s:1"))
    seats.hung_up(ROOM, Identity("@b:s:1"))
    assert admit(seats, "c", 1, 2.0)
    seats.saw(ROOM, {CALL: look(4.0, "@c:s:1", "@a:s:1")})
    assert seats.settle(ROOM, 1) == ["@a:s"]


def test_who_stands_and_goes_leaves_no_seat_behind() -> None:
    seats = watched("@a:s:1")
    seats.saw(ROOM, {CALL: look(2.0, "@a:s:1", "@b:s:1")})
    assert seats.settle(ROOM, 1) == ["@b:s"]
    seats.saw(ROOM, {CALL: look(4.0, "@a:s:1")})
    assert not admit(seats, "b", 1, 4.0)
    seats.saw(ROOM, {CALL: look(6.0, "@a:s:1", "@b:s:1")})
    assert seats.settle(ROOM, 1) == ["@b:s"]


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
        self.look()

    def look(self) -> None:
        self.seats.saw(ROOM, {CALL: look(self.now, *self.live)})

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

    @rule(user=USERS, device=DEVICES)
    def ask(self, user: str, device: str) -> None:
        self.look()
        identity = Identity(f"{user}:{device}")
        held = {
            p for p, until in self.seats.seated(ROOM).items() if until is None or until > self.now
        }
        before = len(held | self.users())
        seating = self.seats.admit(ROOM, user, identity, self.limit, self.now, self.now)
        if user in self.users() or user in held:
            assert seating.admitted, "nobody seated is ever refused"
        else:
            assert seating.admitted == (before < self.limit), "never more than the limit"
        if seating.admitted:
            self.tokens[f"{user}:{device}"] = self.now + 60.0

    @rule(user=USERS, device=DEVICES)
    def join(self, user: str, device: str) -> None:
        """Join with a token while its seat lives; drawer tokens are the live loop's business."""
        self.tick()
        if self.tokens.get(f"{user}:{device}", 0.0) > self.now:
            self.live.add(f"{user}:{device}")

    @precondition(lambda self: self.live)
    @rule(data=st.data())
    def leave(self, data: st.DataObject) -> None:
        self.tick()
        gone = data.draw(st.sampled_from(sorted(self.live)))
        self.live.discard(gone)
        user = gone.rpartition(":")[0]
        if user not in self.users():
            # What his tokens still give him is the grace: a newcomer may have the seat after it.
            for token in self.tokens:
                if token.startswith(f"{user}:"):
                    self.tokens[token] = min(self.tokens[token], self.now + 10.0)

    @rule()
    def watch(self) -> None:
        self.look()
        assert self.seats.settle(ROOM, self.limit) == [], "nobody seated is ever put out"

    @rule()
    def sweep(self) -> None:
        self.seats.sweep(self.now)


SeatsMachine.TestCase.settings = settings(max_examples=80, stateful_step_count=40, deadline=None)
test_seats_under_any_interleaving = SeatsMachine.TestCase
