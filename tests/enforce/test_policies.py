"""Policies kept fresh, shared and remembered; one flight for all who wait."""

from collections.abc import Sequence
from typing import Any

import pytest
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.deferreds import SingleFlight, with_timeout
from lotus_guard.enforce.policies import MOST_AHEAD, Freshness, Policies
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.rules.rule import P, Reading, Rule

ROOM = RoomId("!r:s")


class Homeserver:
    """Answers when it is told to."""

    def __init__(self) -> None:
        self.asked: list[Deferred[Reading[LimitPolicy]]] = []
        self.clock = Clock()
        self.complaints: list[str] = []
        self.policies = Policies(
            Limit(), self, self, Freshness(lambda: 2.0, 600.0), self, self.clock.seconds
        )

    def complained(self, _room: RoomId, text: str) -> None:
        self.complaints.append(text)

    def used_policy(self, rule: str, was_kept: bool) -> None:
        pass

    def used_stale(self, rule: str, outage: Outage) -> None:
        pass

    async def name(self, room: RoomId) -> str | None:
        raise NotImplementedError

    async def rooms(self, start: int) -> tuple[Sequence[RoomId], int | None]:
        raise NotImplementedError

    async def policy(self, _room: RoomId, _rule: Rule[P]) -> Reading[P]:
        waiting: Deferred[Reading[Any]] = Deferred()
        self.asked.append(waiting)
        return await waiting

    def get(self, **more: Any) -> Deferred[LimitPolicy]:
        return ensureDeferred(self.policies.get(ROOM, **more))

    def answer(self, users: int | None, *complaints: str) -> None:
        self.asked.pop(0).callback(Reading(LimitPolicy(users), complaints))

    def fail(self) -> None:
        self.asked.pop(0).errback(Outage(Reason.RESET, "made up"))


def result(deferred: Deferred[Any]) -> Any:
    found: list[Any] = []
    deferred.addBoth(found.append)
    assert found, "it has not fired"
    return found[0]


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


def test_one_who_goes_away_leaves_the_others_waiting() -> None:
    flights: SingleFlight[str, int] = SingleFlight()
    landing: Deferred[int] = Deferred()

    async def work() -> int:
        return await landing

    one, two = flights.join("k", work), flights.join("k", work)
    one.cancel()
    landing.callback(5)
    assert result(one).check(CancelledError)
    assert result(two) == 5
    assert len(flights) == 0


def test_an_error_reaches_all_who_wait() -> None:
    flights: SingleFlight[str, int] = SingleFlight()

    async def work() -> int:
        raise Outage(Reason.DNS, "x")

    assert result(flights.join("k", work)).check(Outage)
    assert result(flights.join("k", work)).check(Outage)


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_deadline_is_a_timeout_whatever_the_work_makes_of_being_cancelled(stubborn: bool) -> None:
    clock = Clock()
    stuck: Deferred[int] = Deferred(
        (lambda d: d.errback(RuntimeError("cancelled in its own way"))) if stubborn else None
    )

    async def work() -> int:
        return await stuck

    waiting = with_timeout(1.0, clock, work())
    clock.advance(1.0)
    assert result(waiting).check(TimeoutError)


def test_a_policy_too_old_for_any_use_is_dropped_and_no_other() -> None:
    server = Homeserver()
    waiting = server.get()
    server.answer(3)
    assert result(waiting) == LimitPolicy(3)
    server.clock.advance(600.0)
    server.policies.sweep()
    assert server.policies.last(ROOM) == LimitPolicy(3), "it may serve while Synapse is out"
    server.clock.advance(1.0)
    server.policies.sweep()
    assert server.policies.age(ROOM) is None
