"""Power levels of rooms, remembered."""

from typing import Any

from attrs import define, field
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.core.power import PowerLevels, read_power
from lotus_guard.enforce.ports import Bug
from lotus_guard.enforce.powers import Powers
from lotus_guard.enforce.remembered import Freshness
from tests.enforce.stand_ins import AWAY, ROOM, result

LEVELS = read_power({"users": {"@mod:s": 50}}, None)


@define(eq=False)
class Asked:
    """A homeserver that has one answer."""

    answer: Any
    asked: list[RoomId] = field(factory=list)

    async def power(self, room: RoomId) -> PowerLevels:
        self.asked.append(room)
        if isinstance(self.answer, Exception):
            raise self.answer
        found: PowerLevels = self.answer
        return found


def made(answer: Any) -> tuple[Powers, Asked]:
    homeserver: Any = Asked(answer)
    fresh = Freshness(lambda: 2.0, 600.0)
    return Powers(homeserver, homeserver, fresh, Clock().seconds), homeserver


def test_they_are_asked_for_once_while_they_are_fresh() -> None:
    powers, homeserver = made(LEVELS)
    for _ in range(2):
        assert result(ensureDeferred(powers.get(ROOM))) == LEVELS
    assert homeserver.asked == [ROOM]
    assert powers.bytes_of(LEVELS) == LEVELS.bytes > 0


def test_an_outage_is_one_and_a_mistake_of_ours_too() -> None:
    powers, _ = made(AWAY)
    assert result(ensureDeferred(powers.get(ROOM))).value is AWAY
    powers, _ = made(KeyError("a bug"))
    assert result(ensureDeferred(powers.get(ROOM))).check(Bug)
    assert powers.last(ROOM) is None
