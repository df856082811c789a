"""Policies kept fresh, shared and remembered; one flight for all who wait."""

from collections.abc import Sequence
from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.core.membership import Standing
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.power import PowerLevels
from lotus_guard.enforce.policies import (
    UNKNOWN_SECONDS,
    AllPolicies,
    Known,
    Policies,
    all_policies,
)
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.enforce.remembered import MOST_AHEAD, Freshness
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.rules.rule import Allow, P, Reading
from lotus_guard.rules.state_event import ReadsEvent
from tests.enforce import stand_ins
from tests.enforce.stand_ins import (
    MAX_AGE,
    ROOM,
    STALE,
    Given,
    Journal,
    Says,
    policies_of,
    read_by,
    result,
)


class Homeserver:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Reading[LimitPolicy]]] = []
        self.clock = Clock()
        self.complaints: list[str] = []
        fresh, now = Freshness(lambda: 2.0, 600.0), self.clock.seconds
        every = all_policies([Limit()], (self, self), (fresh, fresh), now, self)
        self.policies: Policies[LimitPolicy] = every.of("limit")

    def complained(self, _room: RoomId, text: str) -> None:
        self.complaints.append(text)

    def used_policy(self, rule: str, was_kept: bool) -> None:
        pass

    def used_stale(self, rule: str, outage: Outage) -> None:
        pass

    async def membership(self, room: RoomId, user: UserId) -> Standing:
        raise AssertionError("policies ask for no memberships")

    async def power(self, room: RoomId) -> PowerLevels:
        raise AssertionError("policies ask for no power levels")

    async def ping(self) -> None:
        raise AssertionError("nothing is out")

    async def name(self, room: RoomId) -> str | None:
        raise AssertionError("policies ask for no names")

    async def rooms(self, start: int) -> tuple[Sequence[RoomId], int | None]:
        raise AssertionError("policies ask for no lists of rooms")

    async def policy(self, _room: RoomId, rule: ReadsEvent[P]) -> Reading[P]:
        waiting: Deferred[Reading[Any]] = Deferred()
        self.asked.append(waiting)
        found: Reading[P] = read_by(rule, await waiting)
        return found

    def get(self, **more: Any) -> Deferred[LimitPolicy]:
        return ensureDeferred(self.policies.get(ROOM, **more))

    def answer(self, users: int | None, *complaints: str) -> None:
        self.asked.pop(0).callback(Reading(LimitPolicy(users), complaints))

    def fail(self) -> None:
        self.asked.pop(0).errback(Outage(Reason.RESET, "made up"))


def test_all_who_ask_at_once_share_one_look_up() -> None:
    server = Homeserver()
    waiting = [server.get() for _ in range(5)]
    assert len(server.asked) == 1
    server.answer(3)
    assert [result(each) for each in waiting] == [LimitPolicy(3)] * 5


def test_a_fresh_one_is_not_asked_for_and_an_old_one_is() -> None:
    server = Homeserver()
    first = server.get()
    server.answer(3)
    server.clock.advance(2.0)
    assert result(server.get()) == result(first) == LimitPolicy(3)
    server.clock.advance(0.1)
    late = server.get()
    server.answer(4)
    assert result(late) == LimitPolicy(4)


def test_age_counts_from_when_the_look_up_was_begun() -> None:
    """One begun while upstream was slow is too old when it is needed: it is done once more."""
    server = Homeserver()
    server.policies.ahead(ROOM)
    server.clock.advance(5.0)
    waiting = server.get()
    server.answer(None)
    server.answer(3)
    assert result(waiting) == LimitPolicy(3)


def test_who_joins_a_look_up_that_fails_gets_a_try_of_their_own() -> None:
    server = Homeserver()
    server.policies.ahead(ROOM)
    waiting = server.get()
    server.fail()
    server.answer(3)
    assert result(waiting) == LimitPolicy(3)
    server.clock.advance(3.0)
    alone = server.get(max_age=0.0)
    server.fail()
    assert result(alone).check(Outage)


def test_what_was_known_last_is_kept_for_a_while() -> None:
    server = Homeserver()
    server.get()
    server.answer(3)
    server.clock.advance(600.0)
    assert server.policies.last(ROOM) == LimitPolicy(3)
    server.clock.advance(0.1)
    assert server.policies.last(ROOM) is None


def test_an_older_answer_does_not_overwrite_a_push() -> None:
    server = Homeserver()
    waiting = server.get()
    server.clock.advance(1.0)
    server.policies.put(ROOM, Reading(LimitPolicy(1)), 1.0)
    server.answer(None)
    assert result(waiting) == LimitPolicy(1)


def test_a_policy_is_known_since_it_changed_and_not_since_it_was_read_last() -> None:
    server = Homeserver()
    put = server.policies.put
    for at, users, since in [(1.0, 3, 1.0), (2.0, 3, 1.0), (3.0, 2, 3.0), (4.0, None, 0.0)]:
        server.clock.advance(at - server.clock.seconds())
        put(ROOM, Reading(LimitPolicy(users)), at - 0.5)
        assert server.policies.since(ROOM) == since


def test_a_complaint_is_made_once_for_each_change() -> None:
    server = Homeserver()
    for policy in (None, None, 3, None):
        waiting = server.get(max_age=0.0)
        server.answer(policy, *([] if policy else ["senseless"]))
        result(waiting)
        server.clock.advance(1.0)
    assert server.complaints == ["senseless", "senseless"]


def test_only_a_few_are_looked_up_for_those_who_have_proved_nothing() -> None:
    server = Homeserver()
    for number in range(100):
        server.policies.ahead(RoomId(f"!{number}:s"))
    assert len(server.asked) == MOST_AHEAD
    assert server.get() is not None
    assert len(server.asked) == MOST_AHEAD + 1, "who has been vouched for is not held up"


def test_a_policy_too_old_for_any_use_is_dropped_and_no_other() -> None:
    server = Homeserver()
    waiting = server.get()
    server.answer(3)
    assert result(waiting) == LimitPolicy(3)
    server.clock.advance(600.0)
    server.policies.events.sweep()
    assert server.policies.last(ROOM) == LimitPolicy(3), "it may serve while Synapse is out"
    server.clock.advance(1.0)
    server.policies.events.sweep()
    assert server.policies.age(ROOM) is None


def test_the_background_looks_up_by_itself() -> None:
    """Nobody who has a deadline waits in its queue."""
    server = Homeserver()
    waiting = [server.get(), server.get(in_background=True), server.get(in_background=True)]
    assert len(server.asked) == 2
    server.answer(3)
    server.answer(4)
    assert [result(each) for each in waiting] == [LimitPolicy(3), LimitPolicy(4), LimitPolicy(4)]


# By rules that say what the test wants.

STRICT, LOOSE, CALM = Given(True, 5), Given(False), Reading(Given(False))


@define(eq=False)
class Two:
    """The policies of two rules."""

    clock: Clock = field(factory=Clock)
    journal: Journal = field(factory=Journal)
    homeserver: stand_ins.Homeserver = field(factory=stand_ins.Homeserver)
    background: stand_ins.Homeserver = field(factory=stand_ins.Homeserver)
    policies: AllPolicies = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.clock.advance(1000.0)
        rules = [Says("one", Allow()), Says("two", Allow())]
        self.policies = policies_of(
            rules, self.homeserver, self.clock, self.journal, self.background
        )

    def reads(self, one: Given | Reading[Given], two: Any = CALM, age: float = 0.0) -> None:
        """Have both been read so long ago."""
        both = [each if isinstance(each, Reading) else Reading(each) for each in (one, two)]
        at = self.clock.seconds() - age
        self.policies.put(ROOM, dict(zip(("one", "two"), both, strict=True)), at)


@pytest.fixture
def two() -> Two:
    return Two()


def test_what_is_fresh_is_at_hand_and_what_is_not_must_be_asked_for(two: Two) -> None:
    one = two.policies.of("one")
    assert one.at_hand(ROOM) is None
    two.reads(STRICT, age=MAX_AGE)
    assert one.at_hand(ROOM) == STRICT
    two.clock.advance(0.1)
    assert one.at_hand(ROOM) is None
    assert two.journal.used == [("one", True)], "a use is counted where it is one"


def test_whoever_has_a_deadline_asks_another_homeserver_than_the_background(two: Two) -> None:
    one = two.policies.of("one")
    two.homeserver.answers, two.background.answers = {"one": STRICT}, {"one": LOOSE}
    assert result(ensureDeferred(one.get(ROOM, 0.0))) == STRICT
    two.clock.advance(1.0)
    assert result(ensureDeferred(one.get(ROOM, 0.0, in_background=True))) == LOOSE


def test_a_look_up_that_fails_falls_back_on_what_was_known(two: Two) -> None:
    one = two.policies.of("one")
    failing = ensureDeferred(one.known(ROOM, one.get(ROOM)))
    assert result(failing).check(Outage)
    two.reads(STRICT, age=MAX_AGE + 1.0)
    assert result(ensureDeferred(one.known(ROOM, one.get(ROOM)))) == Known(STRICT, False)
    assert two.journal.stale == ["one"]
    two.homeserver.answers = {"one": LOOSE}
    assert result(ensureDeferred(one.known(ROOM, one.get(ROOM)))) == Known(LOOSE, True)


def test_a_room_is_restricted_where_any_rule_was_known_to_restrict_it(two: Two) -> None:
    assert not two.policies.restricts(ROOM)
    two.reads(LOOSE, STRICT)
    assert two.policies.restricts(ROOM)
    two.clock.advance(STALE + 1.0)
    assert not two.policies.restricts(ROOM), "nobody knows any more"


@pytest.mark.parametrize(
    ("one", "second", "age", "may"),
    [(LOOSE, LOOSE, 0.0, False), (LOOSE, STRICT, 0.0, True), (LOOSE, LOOSE, MAX_AGE + 1, True)],
)
def test_only_a_fresh_look_at_every_rule_says_that_there_is_no_policy(
    two: Two, one: Given, second: Given, age: float, may: bool
) -> None:
    assert two.policies.may_restrict(ROOM), "it was never read"
    two.reads(one, second, age)
    assert two.policies.may_restrict(ROOM) is may


def test_a_room_has_the_seats_that_a_rule_says(two: Two) -> None:
    assert two.policies.seats(ROOM) is None
    two.reads(LOOSE, STRICT)
    assert two.policies.seats(ROOM) == 5


def test_a_room_that_the_homeserver_did_not_know_is_unknown_for_a_while(two: Two) -> None:
    two.reads(CALM, Reading(LOOSE, is_unknown=True))
    two.clock.advance(UNKNOWN_SECONDS)
    assert two.policies.is_unknown(ROOM)
    two.clock.advance(1.0)
    assert not two.policies.is_unknown(ROOM)


def test_a_room_is_as_old_as_its_oldest_policy(two: Two) -> None:
    assert two.policies.age(ROOM) is None
    two.policies.of("one").put(ROOM, CALM, 995.0)
    assert two.policies.age(ROOM) is None, "the other one was never read"
    two.policies.of("two").put(ROOM, CALM, 999.0)
    assert two.policies.age(ROOM) == 5.0


def test_a_change_is_told_once_with_when_it_was_made(two: Two) -> None:
    two.reads(Reading(LOOSE, set_at=1.0))
    assert two.policies.changes(ROOM) == [], "it may have been so for long"
    two.clock.advance(1.0)
    two.reads(Reading(STRICT, set_at=2.0), Reading(STRICT))
    assert two.policies.changes(ROOM) == [2.0], "of the other nobody knows when"
    assert two.policies.changes(ROOM) == []
    two.clock.advance(1.0)
    two.reads(Reading(STRICT, set_at=3.0), Reading(STRICT))
    assert two.policies.changes(ROOM) == [], "it says the same"


def test_a_push_that_tells_nothing_of_a_rule_changes_nothing_of_it(two: Two) -> None:
    two.reads(STRICT, STRICT)
    two.clock.advance(1.0)
    two.policies.put(ROOM, {"one": CALM}, two.clock.seconds())
    assert two.policies.of("one").last(ROOM) == LOOSE
    assert two.policies.of("two").last(ROOM) == STRICT


def test_the_neutral_question_is_asked_in_the_background_and_fails_as_it_does(two: Two) -> None:
    one = two.policies.of("one")
    assert result(ensureDeferred(one.events.ask_neutrally())).check(Outage)
    two.background.answers = {"one": LOOSE}
    assert result(ensureDeferred(one.events.ask_neutrally())) is None
    assert one.age(ROOM) is None, "and nothing is kept of it"
    assert two.homeserver.asked == []


def test_what_the_homeserver_calls_outdated_is_asked_for_and_serves_until_it_answers() -> None:
    homeserver = Homeserver()
    policies, clock = homeserver.policies, homeserver.clock
    policies.events.outdated(ROOM)
    assert not policies.events.is_outdated(ROOM), "nothing is known that could be"
    policies.put(ROOM, Reading(LimitPolicy(2)), clock.seconds())
    clock.advance(1.0)
    begun_before = homeserver.get(max_age=0.5)
    clock.advance(0.1)
    policies.events.outdated(ROOM)
    assert policies.events.is_outdated(ROOM)
    assert policies.may_restrict(ROOM)
    assert policies.at_hand(ROOM) is None
    assert policies.last(ROOM) == LimitPolicy(2)
    clock.advance(0.1)
    waiting = homeserver.get()
    homeserver.asked[0].callback(Reading(LimitPolicy(2)))
    assert result(begun_before) == LimitPolicy(2)
    assert policies.events.is_outdated(ROOM), "that look-up was begun before"
    homeserver.asked[1].callback(Reading(LimitPolicy(3)))
    assert result(waiting) == LimitPolicy(3)
    assert policies.at_hand(ROOM) == LimitPolicy(3)
    assert not policies.events.is_outdated(ROOM)
