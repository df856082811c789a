"""Whoever is put out loses all connections and the seat, and nobody else loses anything."""

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import ensureDeferred

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Directory
from lotus_guard.core.membership import Membership, Standing
from lotus_guard.core.model import Attendance, Identity, LiveKitRoom, Participant, RoomId, UserId
from lotus_guard.core.seats import Look, Seats
from lotus_guard.enforce.expulsion import Expulsion
from lotus_guard.enforce.presence import Seen
from lotus_guard.enforce.seat_store import LocalSeats
from lotus_guard.rules.plan import MOST, NOTHING, Expel, Step
from tests.enforce.member_source import ALICE
from tests.enforce.stand_ins import ROOM, Turn, result

CALL, OTHER = LiveKitRoom("call"), LiveKitRoom("other")
CAROL = UserId("@carol:s")
KICKED = Standing(Membership.LEAVE, True, "push")


@define(eq=False)
class Call:
    """A room's calls, what is done to those in them, and what is noted of it."""

    rooms: dict[LiveKitRoom, Attendance] = field(factory=dict)
    done: list[tuple[str, Step]] = field(factory=list)
    would_be: list[Step] = field(factory=list)
    late: list[int] = field(factory=list)
    directory: Directory = field(factory=Directory)
    seats: Seats = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.seats = Seats(60.0, 10.0, self.directory)

    def add(self, livekit_room: LiveKitRoom, identity: str, user: UserId | None) -> None:
        self.directory.learn_room(livekit_room, Binding(ROOM, livekit_room, Evidence.PROOF))
        if user is not None:
            self.directory.learn_identity(Identity(identity), user, livekit_room)
        before = self.rooms.get(livekit_room, Attendance(0.0, ()))
        there = (*before.participants, Participant(Identity(identity), "S", NOTHING))
        self.rooms[livekit_room] = Attendance(0.0, there)
        looks = {name: Look(1.0, each.identities) for name, each in self.rooms.items()}
        self.seats = Seats(60.0, 10.0, self.directory)
        self.seats.saw(ROOM, looks)

    # What an expulsion asks for.

    def now(self) -> float:
        return 5.0

    async def look(self, room: RoomId, not_before: float, in_background: bool = False) -> Seen:
        assert (not_before, in_background) == (5.0, True)
        return Seen(5.0, list(self.rooms), self.rooms)

    async def carry_out(self, room: RoomId, step: Step, rule: str, turn: Turn) -> None:
        self.done.append((rule, step))

    def would(self, room: RoomId, step: Step, rule: str) -> None:
        self.would_be.append(step)

    def put_off(self, room: RoomId, steps: int) -> None:
        self.late.append(steps)

    def expulsion(self, is_observed: bool = False) -> Expulsion:
        parts: Any = self
        return Expulsion(parts, self.directory, parts, LocalSeats(self.seats), parts, is_observed)

    def put_out(self, is_observed: bool = False) -> None:
        expulsion = self.expulsion(is_observed)
        steps = result(ensureDeferred(expulsion.steps(ROOM, ALICE, KICKED)))
        result(ensureDeferred(expulsion.put_out(ROOM, ALICE, steps, Turn())))

    def gone(self) -> list[Identity]:
        return [step.participant.identity for _, step in self.done]


def test_all_connections_of_the_user_go_and_no_other() -> None:
    call = Call()
    for livekit_room, identity, user in (
        (CALL, "a1", ALICE),
        (CALL, "c", CAROL),
        (OTHER, "a2", ALICE),
    ):
        call.add(livekit_room, identity, user)
    call.put_out()
    assert call.gone() == ["a1", "a2"]
    assert {rule for rule, _ in call.done} == {"members"}
    step = call.done[0][1]
    assert isinstance(step, Expel)
    assert (step.person, step.standing) == (ALICE, KICKED)


def test_their_seat_is_free_at_once_without_a_grace() -> None:
    call = Call()
    call.add(CALL, "a1", ALICE)
    call.add(CALL, "c", CAROL)
    call.seats.keep(ROOM, ALICE, Identity("a3"), 1.0)
    call.put_out()
    assert call.seats.taken(ROOM, 1.0) == [CAROL]
    call.seats.saw(ROOM, {CALL: Look(2.0, frozenset({Identity("c")}))})
    assert call.seats.taken(ROOM, 2.0) == [CAROL]


def test_what_an_identity_looks_like_is_no_evidence() -> None:
    call = Call()
    call.add(CALL, "@alice:s:PHONE", None)
    call.put_out()
    assert call.done == []
    assert call.expulsion().user_of(Identity("@alice:s:PHONE")) is None


def test_an_identity_of_two_users_is_nobodys() -> None:
    call = Call()
    call.add(CALL, "x", ALICE)
    call.add(CALL, "x", CAROL)
    assert call.expulsion().user_of(Identity("x")) is None


def test_of_whom_nothing_can_be_read_goes_as_well() -> None:
    call = Call()
    call.add(CALL, "a1", ALICE)
    call.rooms[CALL] = Attendance(0.0, (), (Identity("a1"),))
    call.put_out()
    assert call.gone() == ["a1"]


def test_where_the_rule_only_observes_it_is_written_down_and_nothing_changes() -> None:
    call = Call()
    call.add(CALL, "a1", ALICE)
    call.put_out(is_observed=True)
    assert (call.done, len(call.would_be)) == ([], 1)
    assert call.seats.taken(ROOM, 1.0) == [ALICE]


@pytest.mark.parametrize("more", [0, 3])
def test_no_more_sessions_go_at_once_than_the_bound(more: int) -> None:
    call = Call()
    for number in range(MOST[Expel] + more):
        call.add(CALL, f"a{number}", ALICE)
    call.put_out()
    assert len(call.done) == MOST[Expel]
    assert call.late == ([more] if more else [])
