"""Seats for those who ask: by how fresh a look, and what counts where nobody can look."""

from collections.abc import Callable
from typing import Any

import pytest
from attrs import define, field, frozen
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.core.model import Identity, RoomId
from lotus_guard.core.seats import Occupancy, Seats
from lotus_guard.enforce.patience import Patience, waited
from lotus_guard.enforce.ports import Flooded, NotAsked, Outage, Reason
from lotus_guard.enforce.presence import KEPT
from lotus_guard.enforce.recipient import Recipient
from lotus_guard.enforce.remembered import MOST_AHEAD
from lotus_guard.enforce.seat_store import LocalSeats
from lotus_guard.enforce.seating import LOOK_MAX_AGE, Question, SeatDesk
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.rules.rule import Allow, Facts, Refuse, Verdict
from tests.core.seating import CALL, ROOM, look, make
from tests.enforce.stand_ins import result, unhandled

DEADLINE = 1.0
NOW = 1000.0


@frozen
class Begun:
    """A look, as far as it matters here."""

    at: float


@define(eq=False)
class Presence:
    """Looks at the room when it is told to; who is there is for the test to say."""

    seats: Seats
    clock: Clock
    there: tuple[str, ...] = ()
    trouble: Any = None
    """A failure of the next looks, or a Deferred that they wait for."""
    looks: int = 0
    """How many are under way."""
    last: float | None = None
    asked: list[float] = field(factory=list)
    """Of each look that was made, how old it might have been."""
    joined: list[float] = field(factory=list)
    """Of each look to come that somebody else began: for how many seconds it has been under way."""
    resorts: int = 0

    def at_hand(self, _room: RoomId, not_before: float) -> float | None:
        return self.last if self.last is not None and self.last >= not_before else None

    async def look(
        self, _room: RoomId, not_before: float, patience: Patience | None = None
    ) -> Begun:
        self.asked.append(not_before)
        if isinstance(self.trouble, Deferred):
            await waited(self.trouble, patience, "LiveKit")
        elif self.trouble:
            raise self.trouble
        self.see(self.joined.pop(0) if self.joined else 0.0)
        assert self.last is not None
        return Begun(self.last)

    def see(self, age: float = 0.0) -> None:
        """Have the last look be one of so long ago."""
        self.last = self.clock.seconds() - age
        self.seats.saw(ROOM, {CALL: look(self.last, *self.there)})

    def last_look(self, _room: RoomId) -> float:
        return self.last or 0.0

    async def last_resort(self, _room: RoomId) -> float:
        self.resorts += 1
        return max(self.last_look(ROOM), self.clock.seconds() - KEPT)


def judging(recipient: Recipient) -> Callable[[Occupancy], Verdict]:
    """A limit of one."""
    return lambda occupancy: Limit().judge(LimitPolicy(1), recipient.who, Facts(occupancy))


@define(eq=False)
class Hall:
    """A room for one person, and a desk in front of it."""

    clock: Clock = field(factory=Clock)
    seats: Seats = field(factory=make)
    presence: Any = field(init=False)
    desk: SeatDesk = field(init=False)

    at_once: Any = None
    """What could be said when somebody asked last, without waiting."""

    def __attrs_post_init__(self) -> None:
        self.clock.advance(NOW)
        self.presence = Presence(self.seats, self.clock)
        self.desk = SeatDesk(
            self.seats, LocalSeats(self.seats), self.presence, self.clock, self.clock.seconds
        )

    def recipient(self, name: str = "b") -> Recipient:
        now = self.clock.seconds()
        person = f"@{name}:s"
        return Recipient(ROOM, person, Identity(f"{person}:D"), now, now + DEADLINE)

    def judged(self, name: str = "b", is_strict: bool = False, since: float = 0.0) -> Deferred[Any]:
        recipient = self.recipient(name)
        question = Question(judging(recipient), since, is_strict)
        self.at_once = self.desk.at_once(recipient, question)
        return ensureDeferred(self.desk.judged(recipient, question))

    def wait(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.clock.advance(0.0)


@pytest.fixture
def hall() -> Hall:
    return Hall()


def test_a_look_of_a_moment_ago_lets_in(hall: Hall) -> None:
    hall.presence.see(age=LOOK_MAX_AGE)
    assert result(hall.judged()) == hall.at_once == (Allow(), NOW - LOOK_MAX_AGE)
    assert hall.presence.asked == []


def test_an_older_look_does_not(hall: Hall) -> None:
    hall.presence.see(age=LOOK_MAX_AGE + 0.1)
    assert result(hall.judged()) == (Allow(), NOW)
    assert hall.presence.asked == [NOW - LOOK_MAX_AGE]
    assert hall.at_once is None


def test_a_look_from_before_the_policy_was_known_lets_nobody_in(hall: Hall) -> None:
    """No seat was held for those who were on their way when nobody counted."""
    hall.presence.see(age=1.0)
    hall.presence.there = ("@a:s:D",)
    verdict, at = result(hall.judged(since=NOW - 0.5))
    assert isinstance(verdict, Refuse)
    assert (at, hall.presence.asked) == (NOW, [NOW - 0.5])
    assert hall.at_once is None


def test_nobody_is_refused_on_a_look_from_before_they_asked(hall: Hall) -> None:
    hall.presence.there = ("@a:s:D",)
    hall.presence.see(age=1.0)
    verdict, at = result(hall.judged())
    assert isinstance(verdict, Refuse)
    assert hall.presence.asked == [NOW], "one of their own decides"
    assert at == NOW
    assert hall.at_once is None


def test_a_look_begun_as_they_asked_refuses_at_once(hall: Hall) -> None:
    hall.presence.there = ("@a:s:D",)
    hall.presence.see()
    verdict, at = result(hall.judged())
    assert isinstance(verdict, Refuse)
    assert hall.at_once == (verdict, at) == (verdict, NOW)
    assert hall.presence.asked == []


def test_who_left_in_between_is_not_in_the_way(hall: Hall) -> None:
    hall.presence.there = ("@a:s:D",)
    hall.presence.see(age=1.0)
    hall.presence.there = ()
    hall.seats.grace = 0.0
    assert result(hall.judged()) == (Allow(), NOW)
    assert hall.presence.asked == [NOW]


def test_a_look_that_was_joined_and_refuses_is_made_once_more(hall: Hall) -> None:
    """Somebody else began it, before these asked."""
    hall.presence.there = ("@a:s:D",)
    hall.presence.joined = [0.5]
    verdict, at = result(hall.judged())
    assert isinstance(verdict, Refuse)
    assert (at, hall.presence.asked) == (NOW, [NOW - LOOK_MAX_AGE, NOW])


@pytest.mark.parametrize("reason", [Reason.REFUSED, Reason.SERVER_ERROR, Reason.GARBAGE])
def test_an_outage_of_livekits_is_none_of_the_clients_doing(hall: Hall, reason: Reason) -> None:
    hall.presence.see(age=LOOK_MAX_AGE + 1.0)
    hall.presence.trouble = Outage(reason, "made up")
    assert result(hall.judged()).check(Outage)
    assert hall.presence.resorts == 0


def test_a_livekit_that_hangs_is_given_up_at_the_deadline(hall: Hall) -> None:
    hall.presence.trouble = Deferred()
    waiting = hall.judged()
    hall.wait(DEADLINE - 0.01)
    assert not waiting.called
    hall.wait(0.02)
    failure = result(waiting)
    assert failure.check(Outage)
    assert failure.value.reason is Reason.TIMEOUT


@pytest.mark.parametrize(("age", "is_refused"), [(LOOK_MAX_AGE + 1.0, True), (KEPT + 1.0, None)])
def test_where_clients_may_have_made_it_slow_who_was_seen_last_counts_for_a_while(
    hall: Hall, age: float, is_refused: bool | None
) -> None:
    hall.presence.there = ("@a:s:D",)
    hall.presence.see(age=age)
    hall.presence.trouble = Deferred()
    waiting = hall.judged()
    hall.wait(DEADLINE)
    found = result(waiting)
    if is_refused is None:
        assert found.check(Outage)
    else:
        assert isinstance(found[0], Refuse)
    assert hall.presence.resorts == (0 if is_refused is None else 1)


@pytest.mark.parametrize(
    ("reason", "is_refused"), [(Reason.TIMEOUT, True), (Reason.BUSY, True), (Reason.REFUSED, False)]
)
def test_where_nobody_may_start_unseen_a_slow_livekit_lets_nobody_start(
    hall: Hall, reason: Reason, is_refused: bool
) -> None:
    """However long ago somebody looked: a room in which nobody is is looked at by nobody."""
    hall.presence.there = ("@a:s:D",)
    hall.presence.see(age=KEPT + 1.0)
    hall.presence.trouble = Outage(reason, "made up")
    found = result(hall.judged(is_strict=True))
    if is_refused:
        assert hall.presence.resorts == 1
        assert isinstance(found[0], Allow | Refuse)
    else:
        assert found.check(Outage)


def test_a_line_before_livekit_that_is_too_long_is_nobodys_way_in(hall: Hall) -> None:
    """Clients can fill it: who was seen last counts, as where it answers too late."""
    hall.presence.there = ("@a:s:D",)
    hall.presence.see(age=LOOK_MAX_AGE + 1.0)
    hall.presence.trouble = NotAsked(Reason.BUSY, "made up")
    verdict, _ = result(hall.judged())
    assert isinstance(verdict, Refuse)
    hall.presence.see(age=KEPT + 1.0)
    assert result(hall.judged()).check(Outage)


def test_a_room_that_is_too_much_to_look_at_is_nobodys_way_in(hall: Hall) -> None:
    hall.presence.there = ("@a:s:D",)
    hall.presence.see(age=LOOK_MAX_AGE + 1.0)
    hall.presence.trouble = Flooded()
    verdict, _ = result(hall.judged())
    assert isinstance(verdict, Refuse)
    assert isinstance(result(hall.judged("a"))[0], Allow), "who is in it passes"


def claim(hall: Hall, recipient: Recipient, at: float) -> Any:
    return result(ensureDeferred(hall.desk.claim(recipient, 1, at)))


def test_a_claimed_seat_is_held(hall: Hall) -> None:
    assert claim(hall, hall.recipient("a"), NOW).admitted
    assert hall.desk.taken(ROOM) == ["@a:s"]
    assert not claim(hall, hall.recipient("b"), NOW).admitted
    assert hall.presence.asked == [], "the look is of after they asked"


def test_where_the_store_says_no_by_an_older_look_a_new_one_decides(hall: Hall) -> None:
    hall.seats.keep(ROOM, "@a:s", Identity("@a:s:D"), NOW - 59.5)
    hall.clock.advance(1.0)  # alice's hold is over, but was not at the time of the look
    assert claim(hall, hall.recipient("b"), NOW).admitted
    assert hall.presence.asked == [NOW + 1.0]


@pytest.mark.parametrize("trouble", [Outage(Reason.RESET, "made up"), Flooded()])
def test_where_livekit_does_not_tell_the_store_has_the_last_word(
    hall: Hall, trouble: Exception
) -> None:
    hall.seats.keep(ROOM, "@a:s", Identity("@a:s:D"), NOW)
    hall.presence.trouble = trouble
    hall.clock.advance(1.0)
    seating = claim(hall, hall.recipient("b"), NOW)
    assert (seating.admitted, seating.users) == (False, 1)


def test_a_seat_is_kept_for_who_comes_in_unjudged(hall: Hall) -> None:
    result(ensureDeferred(hall.desk.keep(hall.recipient("a"))))
    hall.desk.keep_soon(hall.recipient("b"))
    assert hall.desk.taken(ROOM) == ["@a:s", "@b:s"]


def test_a_store_that_is_out_holds_up_nobody_who_is_let_go(hall: Hall, logged: list[Any]) -> None:
    class Away:
        async def change(self, *_args: Any) -> Any:
            raise Outage(Reason.TIMEOUT, "made up")

    hall.desk.store = Away()  # type: ignore[assignment]
    hall.desk.keep_soon(hall.recipient("a"))
    assert hall.desk.taken(ROOM) == []
    assert unhandled(logged) == []


def test_a_look_ahead_is_made_unless_one_serves_or_too_many_are_under_way(hall: Hall) -> None:
    hall.presence.looks = MOST_AHEAD
    hall.desk.look_ahead(ROOM)
    assert hall.presence.asked == []
    hall.presence.looks = MOST_AHEAD - 1
    hall.desk.look_ahead(ROOM)
    hall.desk.look_ahead(ROOM)
    assert hall.presence.asked == [NOW - LOOK_MAX_AGE]


@pytest.mark.parametrize("is_flooded", [True, False])
def test_a_look_ahead_that_fails_is_nobodys_failure(
    hall: Hall, is_flooded: bool, logged: list[Any]
) -> None:
    hall.presence.trouble = Flooded() if is_flooded else Outage(Reason.RESET, "made up")
    hall.desk.look_ahead(ROOM)
    assert hall.presence.asked
    hall.presence.trouble = None
    assert unhandled(logged) == []


@pytest.mark.parametrize(("there", "not_before"), [((), []), (("@a:s:D",), [NOW])])
def test_a_look_is_foreseen_as_fresh_as_the_verdict_will_need_it(
    hall: Hall, there: tuple[str, ...], not_before: list[float]
) -> None:
    hall.presence.there = there
    hall.presence.see(age=1.0)
    recipient = hall.recipient("b")
    hall.desk.foresee(recipient, Question(judging(recipient), since=0.0))
    assert hall.presence.asked == not_before
