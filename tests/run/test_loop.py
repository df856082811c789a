"""The passes of the live loop, none of which can end the loop."""

from itertools import pairwise
from typing import Any, ClassVar

import pytest
from attrs import define, field, frozen
from twisted.internet.defer import CancelledError, Deferred, ensureDeferred
from twisted.internet.task import Clock, LoopingCall, deferLater

from lotus_guard.enforce.deferreds import gather_bounded
from lotus_guard.enforce.giving_way import Turnstile
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.run.loop import (
    LATE_PASSES,
    LATE_SECONDS,
    LOOKS,
    PASS_SECONDS,
    Loop,
    LoopTick,
    describe_loop,
)
from tests.run.parts import clocks_on


@define(eq=False)
class Passes:
    """A live loop, and all else that a pass goes through."""

    last_good: float | None = None
    interval: float = 2.0
    did: list[Any] = field(factory=list)
    overdue: list[str] = field(factory=lambda: ["!late"])
    fault: Exception | None = None
    work: Deferred[None] | None = None

    async def run_pass(self) -> frozenset[str]:
        self.did.append("pass")
        if self.work is not None:
            await self.work
        if self.fault is not None:
            raise self.fault
        return frozenset({"room"})

    def note(self, outage: Outage) -> None:
        self.did.append(outage.reason)

    def begin(self, rooms: frozenset[str]) -> None:
        self.did.append(sorted(rooms))

    def probe_if_due(self) -> None:
        self.did.append("probe")


@frozen
class Overdue:
    """Keeps the rooms that there was no turn for."""

    passes: Any

    def watch(self, rooms: list[str]) -> None:
        self.passes.did.append(("overdue", rooms))


def loop_of(passes: Any) -> Loop:
    changes: Any = Overdue(passes)
    return Loop(passes, None, passes, changes, (passes, passes))


def tick_of(passes: Passes) -> tuple[LoopTick, Clock]:
    clock = Clock()
    return LoopTick(loop_of(passes), clocks_on(clock)), clock


def test_a_pass_probes_who_is_out_works_and_looks_for_unknown_rooms() -> None:
    passes = Passes()
    ensureDeferred(loop_of(passes).run_pass())
    assert passes.did == ["probe", "probe", "pass", ("overdue", ["!late"]), ["room"]]


def test_a_pass_has_the_members_of_occupied_rooms_looked_at() -> None:
    seen: list[Any] = []

    class Members:
        def begin_round(self, rooms: Any) -> None:
            seen.append(rooms)

    class Live(Passes):
        counts: ClassVar[Any] = {"call": 2}

        @property
        def candidates(self) -> Any:
            return self

        def occupied(self, counts: Any) -> Any:
            return ["!r:s"] if counts == self.counts else []

    members: Any = Members()
    live: Any = Live()
    changes: Any = Overdue(live)
    failed: list[object] = []
    loop = Loop(live, members, live, changes, ())
    ensureDeferred(loop.run_pass()).addErrback(failed.append)
    assert failed == []
    assert seen == [["!r:s"]]


@pytest.mark.parametrize("fault", [Outage(Reason.REFUSED, "away"), RuntimeError("a bug")])
def test_a_pass_that_fails_ends_nothing(fault: Exception, logged: list[Any]) -> None:
    passes = Passes(fault=fault)
    tick, _ = tick_of(passes)
    ends: list[object] = []
    tick().addBoth(ends.append)
    assert ends == [None]
    is_outage = isinstance(fault, Outage)
    assert (Reason.REFUSED in passes.did) is is_outage
    assert len([event for event in logged if "log_failure" in event]) == (not is_outage)


def test_a_pass_that_is_stuck_is_given_up() -> None:
    passes = Passes(work=Deferred())
    tick, clock = tick_of(passes)
    running = tick()
    clock.advance(PASS_SECONDS - 1.0)
    assert not running.called
    clock.advance(1.0)
    assert running.called


@pytest.mark.parametrize(("lasts", "apart"), [(0.1, 2.0), (1.9, 2.0), (2.1, 2.5), (5.0, 5.5)])
def test_the_next_pass_begins_in_time_or_soon_after_one_that_took_longer(
    lasts: float, apart: float
) -> None:
    begun: list[float] = []

    class Lasting(Passes):
        async def run_pass(self) -> frozenset[str]:
            begun.append(clock.seconds())
            await deferLater(clock, lasts)
            return frozenset()

    tick, clock = tick_of(Lasting())
    looks = LoopingCall(tick.if_due)
    looks.clock = clock
    looks.start(2.0 / LOOKS)
    clock.pump([0.05] * 600)
    looks.stop()
    gaps = {round(after - before, 1) for before, after in pairwise(begun)}
    assert gaps == {apart}


@pytest.mark.parametrize("at_once", [1, 4])
def test_a_pass_that_ends_with_the_guard_has_not_failed(logged: list[Any], at_once: int) -> None:
    """Wherever it waits, as for the rooms that wait for their turns."""

    class Rooms(Passes):
        async def run_pass(self) -> frozenset[str]:
            await gather_bounded(at_once, (self.enter() for _ in range(9)))
            return frozenset()

        async def enter(self) -> None:
            await Turnstile(clock).turn()

    tick, clock = tick_of(Rooms())
    running = tick()
    tick.stop()
    assert running.called
    assert logged == []


def test_a_pass_that_is_cancelled_while_the_guard_runs_has_failed(logged: list[Any]) -> None:
    tick, _ = tick_of(Passes(fault=CancelledError()))
    tick()
    assert len([event for event in logged if "log_failure" in event]) == 1


def test_the_loop_turns_whatever_its_passes_see_and_until_none_begins() -> None:
    passes = Passes(fault=Outage(Reason.REFUSED, "away"))
    tick, clock = tick_of(passes)
    for _ in range(100):
        tick()
        clock.advance(10.0)
        assert tick.is_turning()
    clock.advance(PASS_SECONDS + LATE_SECONDS - 10.0)
    assert tick.is_turning()
    clock.advance(1.0)
    assert not tick.is_turning()


def test_how_the_loop_is_described() -> None:
    passes: Any = Passes()
    now = 1000.0
    assert describe_loop(passes, lambda: now)["state"] == "unknown"
    passes.last_good = now
    late = LATE_PASSES * passes.interval + LATE_SECONDS
    for age, state in ((0.0, "ok"), (late, "ok"), (late + 1.0, "trouble")):
        found = describe_loop(passes, lambda age=age: now + age)  # type: ignore[misc]
        assert (found["name"], found["state"], found["age"]) == ("loop", state, age)
