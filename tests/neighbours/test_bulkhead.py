"""The way to a neighbour: the line before it, and its breaker."""

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred, ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.enforce.ports import NotAsked, Outage, Reason
from lotus_guard.neighbours.bulkhead import Backend, Bulkhead, QueuedHttp
from lotus_guard.neighbours.http import HttpAnswer


@define
class Said:
    """A journal that is a list."""

    lines: list[tuple[str, ...]] = field(factory=list)

    def not_asked(self, neighbour: str, why: str) -> None:
        self.lines.append(("not asked", why))

    def opened(self, neighbour: str, outage: Outage) -> None:
        self.lines.append(("opened", outage.reason))

    def closed(self, neighbour: str, seconds: float) -> None:
        self.lines.append(("closed", f"{seconds:.2f}"))


@define(eq=False)
class Street:
    """A neighbour whose answers the test gives."""

    clock: Clock = field(factory=Clock)
    said: Said = field(factory=Said)
    questions: list[Deferred[None]] = field(factory=list)
    requests: list[Deferred[Any]] = field(factory=list)
    backend: Backend = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.backend = Backend("synapse", self.said, self.clock.seconds, lambda: 1.0, self.probe)

    async def probe(self) -> None:
        asked: Deferred[None] = Deferred()
        self.questions.append(asked)
        await asked

    def request(self, *_arguments: object) -> Deferred[Any]:
        """Stand for the agent."""
        self.requests.append(Deferred(lambda mine: self.requests.remove(mine)))
        return self.requests[-1]

    def call(self, way: QueuedHttp, seconds: float = 1.0) -> Deferred[HttpAnswer]:
        exchange = way.exchange(b"GET", b"http://s/", {}, None, seconds=seconds, most=10)
        return ensureDeferred(exchange)

    def fail(self, times: int, reason: Reason = Reason.REFUSED) -> None:
        for _ in range(times):
            self.backend.ended(Outage(reason, "test"))

    def open(self) -> None:
        self.fail(5)
        self.questions.pop().errback(Outage(Reason.TIMEOUT, "test"))


def failure_of(done: Deferred[Any]) -> Any:
    found: list[Any] = []
    done.addErrback(found.append)
    return found[0].value if found else None


def test_whose_turn_comes_too_late_does_not_ask_and_blames_nobody() -> None:
    """The reactor was late: the place came before the timer that would have ended the waiting."""
    street = Street()
    way = QueuedHttp(street, street.clock, street.backend, Bulkhead(1, 9, street.clock))  # type: ignore[arg-type]
    first, late = street.call(way), street.call(way)
    street.clock.rightNow += 3.0
    first.cancel()
    busy = failure_of(late)
    assert isinstance(busy, NotAsked)
    assert busy.reason is Reason.BUSY
    assert street.requests == [], "and nothing is left under way"


def test_over_the_line_nobody_waits_and_in_it_not_for_ever() -> None:
    street = Street()
    way = QueuedHttp(street, street.clock, street.backend, Bulkhead(2, 1, street.clock))  # type: ignore[arg-type]
    first, _second, third, fourth = (street.call(way) for _ in range(4))
    assert len(street.requests) == 2
    busy = failure_of(fourth)
    assert isinstance(busy, NotAsked)
    assert busy.reason is Reason.BUSY
    street.clock.advance(0.4)
    assert not third.called
    street.clock.advance(0.1)
    assert failure_of(third).reason is Reason.BUSY, "half of its time is for the exchange"
    street.clock.advance(0.5)
    assert failure_of(first).reason is Reason.TIMEOUT
    assert way.bulkhead.under_way == 0


def test_waiting_is_part_of_the_time_but_in_the_background() -> None:
    for patience, wanted in ((None, 1.0), (5.0, 1.4)):
        street = Street()
        lane = Bulkhead(1, 1, street.clock, patience)
        way = QueuedHttp(street, street.clock, street.backend, lane)  # type: ignore[arg-type]
        first, second = street.call(way), street.call(way)
        street.clock.advance(0.4)
        first.cancel()
        failure_of(first)
        assert len(street.requests) == 1
        street.clock.advance(wanted - 0.4 - 0.01)
        assert not second.called
        street.clock.advance(0.02)
        assert failure_of(second).reason is Reason.TIMEOUT


def test_who_gives_up_leaves_the_line() -> None:
    street = Street()
    way = QueuedHttp(street, street.clock, street.backend, Bulkhead(1, 1, street.clock))  # type: ignore[arg-type]
    first, second = street.call(way), street.call(way)
    second.cancel()
    failure_of(second)
    third = street.call(way)
    first.cancel()
    failure_of(first)
    assert not third.called
    assert len(street.requests) == 1


def test_a_long_line_before_a_breaker_that_opens_is_no_deep_stack() -> None:
    street = Street()
    lane = Bulkhead(1, 3000, street.clock)
    way = QueuedHttp(street, street.clock, street.backend, lane)  # type: ignore[arg-type]
    calls = [street.call(way) for _ in range(3000)]
    street.open()
    calls[0].cancel()
    assert all(failure_of(call) is not None for call in calls)
    assert lane.under_way == 0


def test_a_failing_neighbour_is_asked_a_question_and_then_not_at_all() -> None:
    street = Street()
    street.fail(4)
    assert street.questions == []
    street.fail(1)
    street.backend.check()
    street.questions.pop().errback(Outage(Reason.TIMEOUT, "test"))
    assert street.said.lines == [("opened", "timeout")]
    with pytest.raises(NotAsked, match="not asked until it answers again") as raised:
        street.backend.check()
    assert raised.value.reason is Reason.TIMEOUT
    assert street.backend.remark()


def test_one_that_answers_the_question_is_asked_on() -> None:
    """Its failures are those of some rooms: somebody's doing, perhaps."""
    street = Street()
    for _ in range(20):
        street.fail(5)
        street.questions.pop().callback(None)
        street.backend.check()
    assert street.said.lines == []


@pytest.mark.parametrize("outage", [None, Outage(Reason.OVERSIZED, "a client's doing")])
def test_what_a_client_can_cause_and_what_goes_well_do_not_count(outage: Outage | None) -> None:
    street = Street()
    for _ in range(20):
        street.fail(4 if outage is None else 0)
        street.backend.ended(outage)
    assert street.questions == []


def test_what_was_not_asked_is_no_news_of_the_neighbour() -> None:
    street = Street()
    for _ in range(20):
        street.backend.ended(NotAsked(Reason.BUSY, "test"))
    assert street.questions == []
    assert street.said.lines == [("not asked", "busy")] * 20


def test_it_comes_back_by_one_question_after_a_while() -> None:
    street = Street()
    street.open()
    for _ in range(3):
        with pytest.raises(NotAsked):
            street.backend.check()
    assert street.questions == [], "not yet"
    street.clock.advance(0.5)
    for _ in range(3):
        with pytest.raises(NotAsked):
            street.backend.check()
    assert len(street.questions) == 1, "one probe"
    street.questions.pop().errback(Outage(Reason.REFUSED, "test"))
    street.clock.advance(0.9)
    street.backend.probe_if_due()
    assert street.questions == [], "twice as long"
    street.clock.advance(0.1)
    street.backend.probe_if_due()
    street.questions.pop().callback(None)
    street.backend.check()
    assert street.backend.remark() == ""
    assert [line for line in street.said.lines if line[0] != "not asked"] == [
        ("opened", "timeout"),
        ("closed", "1.50"),
    ], "one line on opening, one on closing"


def test_a_bug_in_the_question_does_not_keep_it_open() -> None:
    street = Street()
    street.open()
    street.clock.advance(1.0)
    street.backend.probe_if_due()
    street.questions.pop().errback(RuntimeError("a bug"))
    street.backend.check()
