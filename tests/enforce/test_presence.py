"""Looks at a room: one for all who ask at once, whole or none, and what counts without one."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import define, evolve, field
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.core.binding import Binding, Evidence
from lotus_guard.core.directory import Directory
from lotus_guard.core.model import (
    Attendance,
    Grant,
    Identity,
    LiveKitRoom,
    Participant,
    RoomId,
    UserId,
)
from lotus_guard.core.naming import ROOM_SLOT, livekit_room_of
from lotus_guard.core.seats import Seats
from lotus_guard.enforce.ports import Flooded, Outage, Reason
from lotus_guard.enforce.presence import KEPT, Presence, Seen
from lotus_guard.enforce.seat_store import LocalSeats
from tests.enforce.stand_ins import AWAY, ROOM, result

CALL = livekit_room_of(ROOM, ROOM_SLOT)
NOW = 1000.0
Rooms = Mapping[LiveKitRoom, Attendance]


@define(eq=False)
class RollCall:
    """Answers when the test says so; in a hurry, or in the background, thoroughly."""

    asked: list[tuple[str, str, Sequence[LiveKitRoom]]] = field(factory=list)
    before: list[Rooms] = field(factory=list)
    waiting: list[Deferred[Rooms]] = field(factory=list)

    async def hurried(self, service: Any, livekit_rooms: Sequence[LiveKitRoom]) -> Rooms:
        return await self._ask("hurried", service, livekit_rooms)

    async def thorough(
        self, service: Any, livekit_rooms: Sequence[LiveKitRoom], before: Rooms
    ) -> Rooms:
        self.before.append(before)
        return await self._ask("thorough", service, livekit_rooms)

    async def _ask(self, how: str, service: Any, livekit_rooms: Sequence[LiveKitRoom]) -> Rooms:
        self.asked.append((how, service, livekit_rooms))
        self.waiting.append(Deferred())
        return await self.waiting[-1]


@define(eq=False)
class Window:
    """A presence, and all that it asks."""

    clock: Clock = field(factory=Clock)
    directory: Directory = field(factory=Directory)
    seats: Seats = field(init=False)
    roll_call: Any = field(factory=RollCall)
    used: list[bool] = field(factory=list)
    presence: Presence = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(NOW)
        self.seats = Seats(60.0, 10.0, self.directory)
        for name in "ab":
            user = UserId(f"@{name}:s")
            self.directory.learn_identity(Identity(f"{user}:D"), user, CALL)
        tokens: Any = "tokens"
        background: Any = "background"
        self.presence = Presence(
            tokens,
            background,
            LocalSeats(self.seats),
            self.directory,
            self.roll_call,
            self.clock.seconds,
            self.used.append,
        )

    def look(self, not_before: float = NOW, in_background: bool = False) -> Deferred[Seen]:
        return ensureDeferred(self.presence.look(ROOM, not_before, in_background))

    def answer(self, *names: str, **more: Any) -> None:
        """Answer the first look that waits: so many are in the ordinary call."""
        people = tuple(Participant(Identity(f"@{n}:s:D"), "S", Grant(True, ())) for n in names)
        attendance = evolve(Attendance(self.clock.seconds(), people), **more)
        self.roll_call.waiting.pop(0).callback({CALL: attendance})

    def fail(self, failure: Exception) -> None:
        self.roll_call.waiting.pop(0).errback(failure)

    def sees(self, *names: str, **more: Any) -> Seen:
        """Have a look begun and answered now."""
        looking = self.look(self.clock.seconds())
        self.answer(*names, **more)
        seen = result(looking)
        assert isinstance(seen, Seen), seen
        return seen


@pytest.fixture
def window() -> Window:
    return Window()


def test_all_who_ask_at_once_share_one_look(window: Window) -> None:
    looking = [window.look() for _ in range(5)]
    assert window.presence.looks == 1
    window.answer("a")
    assert {result(each).at for each in looking} == {NOW}
    assert len(window.roll_call.asked) == 1
    assert window.seats.people(ROOM) == ["@a:s"]
    assert window.presence.looks == 0


def test_a_look_that_serves_is_not_made_again(window: Window) -> None:
    window.sees("a")
    window.clock.advance(2.0)
    assert result(window.look(NOW)).at == NOW
    assert window.presence.at_hand(ROOM, NOW) == NOW
    assert window.presence.at_hand(ROOM, NOW + 0.1) is None
    assert len(window.roll_call.asked) == 1
    assert window.used == [False, True, True]


def test_who_joins_a_look_that_was_begun_too_early_gets_another(window: Window) -> None:
    first = window.look(NOW)
    window.clock.advance(1.0)
    second = window.look(NOW + 1.0)
    window.answer("a")
    assert result(first).at == NOW
    assert not second.called
    window.answer("a", "b")
    assert result(second).at == NOW + 1.0


def test_a_look_that_does_not_take_in_all_livekit_rooms_serves_nobody(window: Window) -> None:
    window.sees("a")
    window.directory.learn_room(LiveKitRoom("new"), Binding(ROOM, "new", Evidence.PROOF))
    assert window.presence.at_hand(ROOM, NOW) is None
    window.clock.advance(1.0)
    looking = window.look(NOW)
    assert set(window.roll_call.asked[-1][2]) == {CALL, "new"}
    window.answer("a")
    result(looking)
    assert window.presence.at_hand(ROOM, NOW) == NOW + 1.0


def test_the_background_looks_by_itself_and_takes_its_time(window: Window) -> None:
    seen = window.sees("a")
    window.clock.advance(1.0)
    hurried, thorough = window.look(NOW + 1.0), window.look(NOW + 1.0, True)
    assert [(how, service) for how, service, _ in window.roll_call.asked[1:]] == [
        ("hurried", "tokens"),
        ("thorough", "background"),
    ]
    assert window.roll_call.before == [seen.rooms], "it knows who was there before"
    window.answer("a")
    window.answer("a")
    assert result(hurried).at == result(thorough).at == NOW + 1.0


def test_the_newer_of_two_looks_is_kept(window: Window) -> None:
    slow = window.look(NOW, True)
    window.clock.advance(1.0)
    looking = window.look(NOW + 1.0)
    waiting = window.roll_call.waiting
    waiting.reverse()
    window.answer("a", "b")
    result(looking)
    window.answer("a")
    assert result(slow).at == NOW
    assert window.presence.last_look(ROOM) == NOW + 1.0


def test_what_is_too_much_to_look_at_changes_nothing(window: Window) -> None:
    window.sees("a")
    window.clock.advance(1.0)
    looking = window.look(NOW + 1.0)
    window.fail(Flooded())
    assert result(looking).check(Flooded)
    assert window.presence.last_look(ROOM) == NOW


@pytest.mark.parametrize("is_whole", [True, False])
def test_who_was_lost_sight_of_is_not_new_when_they_are_back(
    window: Window, is_whole: bool
) -> None:
    """Whoever is new in the next look may have been there already: they are not put out."""
    window.sees("a")
    window.seats.reassess(ROOM, 1)
    window.clock.advance(1.0)
    window.sees("a", is_whole=is_whole)
    window.clock.advance(1.0)
    window.sees("a", "b")
    assert window.seats.reassess(ROOM, 1) == (["@b:s"] if is_whole else [])


def test_after_an_outage_nobody_is_new_either(window: Window) -> None:
    window.sees("a")
    window.seats.reassess(ROOM, 1)
    window.clock.advance(1.0)
    looking = window.look(NOW + 1.0)
    window.fail(Outage(Reason.REFUSED, "made up"))
    assert result(looking).check(Outage)
    window.sees("a", "b")
    assert window.seats.reassess(ROOM, 1) == []


def test_an_outage_of_a_look_that_another_has_overtaken_means_nothing(window: Window) -> None:
    window.sees("a")
    window.seats.reassess(ROOM, 1)
    window.clock.advance(1.0)
    slow = window.look(NOW + 1.0, True)
    window.clock.advance(1.0)
    looking = window.look(NOW + 2.0)
    window.roll_call.waiting.reverse()
    window.answer("a")
    result(looking)
    window.fail(AWAY)
    assert result(slow).check(Outage)
    window.clock.advance(1.0)
    window.sees("a", "b")
    assert window.seats.reassess(ROOM, 1) == ["@b:s"]


def test_in_a_flooded_room_who_was_seen_last_counts_for_a_while(window: Window) -> None:
    window.sees("a")
    window.clock.advance(KEPT - 1.0)
    assert result(ensureDeferred(window.presence.last_resort(ROOM))) == NOW
    assert window.seats.people(ROOM) == ["@a:s"]
    window.clock.advance(2.0)
    assert result(ensureDeferred(window.presence.last_resort(ROOM))) == NOW + 1.0
    assert window.seats.people(ROOM) == [], "a flooder cannot keep a room full"


def test_a_room_that_nobody_has_looked_at_was_never_seen(window: Window) -> None:
    assert window.presence.last_look(RoomId("!other:s")) == 0.0
    assert window.presence.at_hand(RoomId("!other:s"), 0.0) is None
