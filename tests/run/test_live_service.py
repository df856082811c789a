"""What is done again and again while the guard runs, and how it ends."""

from typing import Any

import pytest
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.logger import formatEvent

from lotus_guard.neighbours.agents import Agents
from lotus_guard.run.config import read_config
from lotus_guard.run.guard import Guard
from lotus_guard.run.live_service import LINGER_SECONDS, STOP_SECONDS, LiveService
from lotus_guard.run.loop import LATE_SECONDS, PASS_SECONDS
from tests.model_redis import Memory, ModelRedis
from tests.run.parts import Agent, clocks_on, guard_on
from tests.test_docs import GOOD


class Scene:
    """A guard's service on a clock turned by hand."""

    def __init__(self) -> None:
        self.clock = Clock()
        settings = {"LOTUS_GUARD_STATE": "redis://model"}  # which needs no thread, as a file does
        redis = ModelRedis(Memory(clock=self.clock.seconds))
        self.guard: Guard = guard_on(self.clock, redis, **settings)
        self.guard.memory.open()
        self.closed: list[str] = []
        agents = Agents(Agent(), Agent(), Agent(), self.close)
        config = read_config({**GOOD, **settings})
        self.service = LiveService(self.guard, config, clocks_on(self.clock), agents)
        self.passes = 0
        live: Any = self.guard.live
        live.service = self

    async def existing(self) -> dict[Any, int]:
        """Stand for LiveKit, which is asked for its rooms once in each pass."""
        self.passes += 1
        return {}

    def close(self) -> Deferred[Any]:
        self.closed.append("agents")
        return succeed(None)

    def run(self, seconds: float) -> None:
        self.clock.pump([0.25] * int(seconds * 4))


@pytest.fixture
def scene() -> Scene:
    return Scene()


def test_passes_come_in_the_wanted_interval_and_until_it_stops(scene: Scene) -> None:
    scene.service.startService()
    scene.run(10.0)
    assert scene.passes == 6
    scene.service.stopService()
    scene.run(10.0)
    assert scene.passes == 6


def test_the_last_hour_is_kept_whether_anybody_watches_or_not(scene: Scene) -> None:
    scene.service.startService()
    scene.run(130.0)
    assert [each["people"] for each in scene.guard.overview.hour.minutes()] == [0, 0, 0]
    scene.service.stopService()


def test_the_loop_turns_as_long_as_passes_come(scene: Scene) -> None:
    scene.service.startService()
    scene.run(300.0)
    assert scene.service.is_turning()
    for loop, _ in scene.service._loops:
        loop.stop()
    scene.run(PASS_SECONDS + LATE_SECONDS + 2.0)
    assert not scene.service.is_turning()


def test_the_line_for_systemctl_status(scene: Scene) -> None:
    assert scene.service.status() == "0 LiveKit rooms, last good pass none yet"
    scene.guard.live.last_good = scene.clock.seconds()
    scene.guard.live.counts = {"r": 1}  # type: ignore[dict-item]
    scene.clock.advance(3.0)
    assert scene.service.status() == "1 LiveKit rooms, last good pass 3 s ago"


def test_the_log_begins_with_the_rules_and_whom_they_are_asked_of(
    scene: Scene, logged: list[Any]
) -> None:
    scene.service.startService()
    assert formatEvent(logged[0]) == (
        "Rules: enforced members, limit, sources, cameras, live; off permission. "
        "Homeserver at http://127.0.0.1:8008, LiveKit at http://127.0.0.1:7880."
    )
    assert logged[0]["log_level"].name == "info"
    scene.service.stopService()


def test_an_end_waits_for_open_requests_but_not_for_ever(scene: Scene, logged: list[Any]) -> None:
    scene.service.startService()
    scene.guard.public.door.drained = Deferred  # type: ignore[method-assign]
    over: list[object] = []
    scene.service.stopService().addBoth(over.append)
    scene.clock.advance(LINGER_SECONDS)
    scene.clock.advance(STOP_SECONDS - 0.1)
    assert (over, scene.closed) == ([], [])
    scene.clock.advance(0.2)
    assert scene.closed == ["agents"]
    assert over == [None]
    assert any("still open" in str(event["log_format"]) for event in logged)


def test_an_end_with_nothing_open_lingers_only(scene: Scene) -> None:
    scene.service.startService()
    over: list[object] = []
    scene.service.stopService().addBoth(over.append)
    scene.clock.advance(LINGER_SECONDS - 0.1)
    assert over == []
    scene.clock.advance(0.1)
    scene.clock.advance(0.0)
    assert over == [None]


def test_where_several_share_the_lease_is_renewed_and_given_up(scene: Scene) -> None:
    lease = scene.guard.memory.cluster.lease
    assert lease is not None
    scene.service.startService()
    assert lease.leads()
    scene.run(60.0)
    assert lease.leads()
    scene.service.stopService()
    scene.run(1.0)
    assert not lease.leads()
