"""Several guards over one Redis, or workers of one, while hostile clients have a go at them."""

import time
from collections import Counter
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.internet.defer import ensureDeferred, gatherResults

from lotus_guard.sandbox.livekit_state import Source
from lotus_guard.sandbox.stack import TWO
from tests.events import LIMIT_EVENT, SOURCES_EVENT
from tests.real.test_several import Guards, fleet, guards, leading, pause, threaded

__all__ = ["guards"]
pytestmark = pytest.mark.real

AT_LAST = ["!zz0:sandbox", "!zz1:sandbox", "!zz2:sandbox"]
"""Rooms that come after all invented ones, by name."""
BOUND = 5.0
"""Seconds in which a policy holds, with a pass each half second: 3 s, and a loaded machine."""


@define(eq=False)
class Attack:
    """Asks for tokens without end, one worker for each kind; all of it ends with the test."""

    guards: Guards
    urls: list[str]
    statuses: Counter[tuple[str, int]] = field(factory=Counter)
    is_over: bool = False

    async def _ask(self, kind: str, turn: int, room: str, **more: Any) -> None:
        url, world = self.urls[turn % len(self.urls)], self.guards.world
        endpoint = "/get_token" if more else "/sfu/get"
        answer = await world.ask("erin", room, endpoint, base=url, **more)
        self.statuses[kind, answer.status] += 1

    async def invented_rooms(self) -> None:
        turn = 0
        while not self.is_over:
            turn += 1
            odd = "\x00" if turn % 4 == 0 else ""
            await self._ask("invented rooms", turn, f"!{turn:06d}{odd}:sandbox")
            await pause(0.03)

    async def slots(self) -> None:
        turn = 0
        while not self.is_over:
            turn += 1
            await self._ask("slots", turn, AT_LAST[0], slot=f"m.call#{turn}")
            await pause(0.1)

    async def devices(self) -> None:
        turn = 0
        while not self.is_over:
            turn += 1
            await self._ask("devices", turn, TWO, device=f"D{turn}", member=f"m{turn}")
            await pause(0.1)


async def started(guards: Guards, kind: str) -> list[str]:
    """Start three guards, or one of two workers; returns the URLs to ask."""
    if kind == "workers":
        await fleet(guards)
        await pause(2.0)  # one of them has the lead by now
        return [guards.url(0)]
    for _ in range(3):
        await threaded(guards.add)
    await leading(guards, {0, 1, 2}, 15.0)
    return [guards.url(number) for number in range(3)]


@pytest.mark.parametrize("kind", ["guards", "workers"])
@pytest_twisted.ensureDeferred
async def test_rooms_as_a_weapon_delay_no_policy_and_free_no_seat(
    guards: Guards, kind: str
) -> None:
    world = guards.world
    homeserver = world.sandbox.homeserver
    homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 2})
    for room in AT_LAST:
        homeserver.add_room(room, "@admin:sandbox")
        for name in ("alice", "erin"):
            homeserver.join(room, f"@{name}:sandbox")
    homeserver.join(TWO, "@erin:sandbox")
    homeserver.is_postgresql = True
    urls = await started(guards, kind)
    there = {}
    for room in AT_LAST:
        got = await world.ask("alice", room, base=urls[0])
        there[room] = world.sandbox.sfu.join(got.json()["jwt"])
    for name in ("alice", "bob"):
        assert (await world.ask(name, TWO, base=urls[0])).status == 200
    attack = Attack(guards, urls)
    works = [attack.invented_rooms(), attack.slots(), attack.devices()]
    working = gatherResults([ensureDeferred(work) for work in works])
    try:
        took = []
        await pause(2.0)
        for room, info in there.items():
            begun = time.monotonic()
            homeserver.set_state(room, SOURCES_EVENT, {"allow_camera": False})
            while not (may := list(info.permission.can_publish_sources)) or Source.CAMERA in may:
                await pause(0.05)
                assert time.monotonic() - begun < BOUND, (room, dict(attack.statuses))
            took.append(time.monotonic() - begun)
            asked = time.monotonic()
            assert (await world.ask("carol", TWO, base=urls[-1])).status == 403
            assert (await world.ask("bob", TWO, base=urls[-1])).status == 200
            assert time.monotonic() - asked < BOUND
    finally:
        attack.is_over = True
        await working
    print(f"FIGURE {kind}: enforced after {[round(each, 1) for each in took]} s under", end=" ")
    print(dict(attack.statuses))
    assert attack.statuses["devices", 200] == 0, "no seat of another person for one device more"
