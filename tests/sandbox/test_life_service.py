"""One step follows the other while the sandbox runs."""

from random import Random
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.logger import ILogObserver, globalLogPublisher
from zope.interface import implementer

from lotus_guard.sandbox.life import Life
from lotus_guard.sandbox.life_service import ARRIVALS, MOST_SECONDS, PAUSES, QUICK, LifeService
from lotus_guard.sandbox.livekit_state import LiveKitState


class Asked:
    def __init__(self, fails: bool = False, hangs: bool = False) -> None:
        self.times = 0
        self.fails = fails
        self.hangs = hangs

    async def __call__(self, _room: str, _name: str) -> str | None:
        self.times += 1
        if self.fails:
            raise OSError("no guard")
        if self.hangs:
            await Deferred()
        return None


def living(clock: Clock, asked: Asked) -> LifeService:
    sfu = LiveKitState("key", "secret", clock.seconds, lambda: "1")
    return LifeService(clock, Life(sfu, asked, Random(1)), Random(2))


def test_they_arrive_quickly_and_then_take_their_time() -> None:
    clock, asked = Clock(), Asked()
    service = living(clock, asked)
    service.startService()
    clock.pump([QUICK] * ARRIVALS)
    assert asked.times == ARRIVALS
    clock.advance(PAUSES[0] - 0.01)
    assert asked.times == ARRIVALS
    clock.pump([PAUSES[1]] * 5)
    assert asked.times == ARRIVALS + 5


def test_nothing_is_left_over_once_it_has_stopped() -> None:
    clock, asked = Clock(), Asked()
    service = living(clock, asked)
    service.startService()
    clock.advance(QUICK)
    service.stopService()
    assert clock.getDelayedCalls() == []
    assert asked.times == 1


def test_a_guard_that_does_not_answer_stops_nobody() -> None:
    told: list[str] = []
    clock, asked = Clock(), Asked(fails=True)
    service = living(clock, asked)

    @implementer(ILogObserver)
    def observer(event: Any) -> None:
        told.append(str(event.get("log_format")))

    globalLogPublisher.addObserver(observer)
    try:
        service.startService()
        clock.pump([QUICK] * 3)
    finally:
        globalLogPublisher.removeObserver(observer)
        service.stopService()
    assert asked.times == 3
    assert told.count("A made-up person of the sandbox got no answer") == 3


def test_an_answer_that_never_comes_holds_nobody_up_for_ever() -> None:
    clock, asked = Clock(), Asked(hangs=True)
    service = living(clock, asked)
    service.startService()
    clock.pump([QUICK, 1.0, 1.0])
    assert asked.times == 1
    clock.pump([MOST_SECONDS, QUICK])
    assert asked.times == 2
    service.stopService()
