"""A room's failure is no outage: only a neutral question of our own tells."""

from typing import Any

import pytest_twisted
from attrs import define, field

from lotus_guard.enforce.outage_check import AGAIN_SECONDS, OutageCheck
from lotus_guard.enforce.ports import Outage, Reason
from tests.world import FAST, World


@define
class Backend:
    is_out: bool = False
    asked: int = 0
    at: float = 100.0
    doubt: OutageCheck = field(init=False)

    def __attrs_post_init__(self) -> None:
        self.doubt = OutageCheck(self.ask, lambda: self.at)

    async def ask(self) -> None:
        self.asked += 1
        if self.is_out:
            raise Outage(Reason.TIMEOUT, "made up")


@pytest_twisted.ensureDeferred
async def test_a_neighbour_that_answers_a_neutral_question_is_not_out() -> None:
    there = Backend()
    for _ in range(20):
        assert not await there.doubt.is_out()
        assert there.doubt.outage is None
    assert there.asked == 1, "asked once for all who doubt at the time"


@pytest_twisted.ensureDeferred
async def test_a_neighbour_that_does_not_is_left_alone_for_a_while() -> None:
    there = Backend(is_out=True)
    assert there.doubt.outage is None, "nothing is believed of it before it was asked"
    assert await there.doubt.is_out()
    assert there.doubt.outage is not None
    there.at += AGAIN_SECONDS + 0.1
    assert there.doubt.outage is None
    there.is_out = False
    assert not await there.doubt.is_out()


@pytest_twisted.ensureDeferred
async def test_a_pass_begins_without_prejudice() -> None:
    there = Backend(is_out=True)
    await there.doubt.is_out()
    there.doubt.begin()
    assert there.doubt.outage is None


@pytest_twisted.ensureDeferred
async def test_a_guard_asks_what_no_client_has_a_hand_in(world: World) -> None:
    world.start_guard(**FAST)
    asked: Any = []
    world.sandbox.homeserver.asked = asked
    doubt = world.guard.live.room_pass.reader.checks["io.lotus.voice_limit"]
    assert not await doubt.is_out()
    assert asked == [], "about no room"
    world.sandbox.homeserver.whoami_hangs = True
    doubt.begin()
    assert await doubt.is_out()
    assert not await world.guard.live.livekit.is_out()
