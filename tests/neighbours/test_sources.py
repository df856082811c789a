"""Several ways to ask one homeserver: the first that can say it does, within one deadline."""

from collections.abc import Mapping, Sequence
from typing import Any

import pytest
from attrs import define, evolve, field
from twisted.internet.task import Clock

from lotus_guard.core.membership import Membership, Standing
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.power import PowerLevels
from lotus_guard.enforce.ports import MayNotLook, NotAsked, Outage, Reason
from lotus_guard.neighbours.sources import Sources
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.rules.rule import P, Reading
from lotus_guard.rules.state_event import ReadsEvent
from tests.neighbours.answering import result_of

ROOM, USER, LIMIT = RoomId("!r:s"), UserId("@u:s"), Limit()
AWAY = Outage(Reason.RESET, "made up")
LATE = Outage(Reason.TIMEOUT, "made up")
BLIND = MayNotLook("made up")
JOINED = Standing(Membership.JOIN, True, "x")
UNHEARD = Standing(Membership.UNHEARD, False, "x")
LEFT = Standing(Membership.LEAVE, False, "x")
OUT = Standing(Membership.UNHEARD, True, "x")


@define
class Way:
    """Says one thing to every question, after so many seconds."""

    says: Any
    clock: Clock = field(factory=Clock)
    takes: float = 0.0
    seconds: float = 1.0
    given: list[float] = field(factory=list)
    """The deadline of each question."""

    def within(self, seconds: float) -> "Way":
        return evolve(self, seconds=seconds)

    async def _say(self) -> Any:
        self.given.append(self.seconds)
        self.clock.advance(self.takes)
        if isinstance(self.says, Exception):
            raise self.says
        return self.says

    async def policy(self, room: RoomId, rule: ReadsEvent[P]) -> Reading[P]:
        said: Reading[P] = await self._say()
        return said

    async def membership(self, room: RoomId, user: UserId) -> Standing:
        said: Standing = await self._say()
        return said

    async def power(self, room: RoomId) -> PowerLevels:
        said: PowerLevels = await self._say()
        return said

    async def name(self, room: RoomId) -> str | None:
        said: str | None = await self._say()
        return said

    async def predecessor(self, room: RoomId) -> RoomId | None:
        said: RoomId | None = await self._say()
        return said

    async def rooms(self, start: int) -> tuple[Sequence[RoomId], int | None]:
        said: tuple[Sequence[RoomId], int | None] = await self._say()
        return said

    async def tallies(self, start: int) -> tuple[Mapping[RoomId, int], int | None]:
        said: tuple[Mapping[RoomId, int], int | None] = await self._say()
        return said

    async def ping(self) -> None:
        await self._say()


def sources(*says: Any) -> Sources:
    clock = Clock()
    return Sources([Way(each, clock) for each in says], clock, 1.0)


def test_the_first_that_can_say_it_does() -> None:
    first, second = Reading(LimitPolicy(1)), Reading(LimitPolicy(2))
    asked = sources(first, second)
    assert result_of(asked.policy(ROOM, LIMIT)) is first
    assert asked.each[1].given == []  # type: ignore[attr-defined]
    for failure in (AWAY, BLIND):
        assert result_of(sources(failure, second).policy(ROOM, LIMIT)) is second
    assert result_of(sources(BLIND, ([ROOM], None)).rooms(0)) == ([ROOM], None)
    assert result_of(sources(BLIND, ({ROOM: 3}, None)).tallies(0)) == ({ROOM: 3}, None)
    result_of(sources(AWAY, None).ping())


@pytest.mark.parametrize(
    ("says", "raised"),
    [
        ([BLIND, BLIND], BLIND),
        ([BLIND, AWAY], AWAY),
        ([AWAY, BLIND], AWAY),
        ([AWAY, LATE], AWAY),
        ([BLIND], BLIND),
    ],
)
def test_where_all_fail_the_most_telling_failure_is_told(
    says: list[Outage], raised: Outage
) -> None:
    with pytest.raises(Outage) as caught:
        result_of(sources(*says).policy(ROOM, LIMIT))
    assert caught.value is raised


@pytest.mark.parametrize(
    ("says", "found"),
    [
        ([JOINED, AWAY], JOINED),
        ([OUT, JOINED], OUT),
        ([UNHEARD, LEFT], LEFT),
        ([UNHEARD, UNHEARD], UNHEARD),
        ([UNHEARD, BLIND], UNHEARD),
        ([BLIND, UNHEARD], UNHEARD),
    ],
)
def test_who_says_nothing_of_somebody_has_the_next_asked(says: list[Any], found: Any) -> None:
    assert result_of(sources(*says).membership(ROOM, USER)) == found


def test_power_levels_are_asked_for_until_one_way_can_tell() -> None:
    levels = PowerLevels(7)
    for says in ([levels, AWAY], [BLIND, levels], [AWAY, levels]):
        assert result_of(sources(*says).power(ROOM)) is levels
    with pytest.raises(Outage) as caught:
        result_of(sources(BLIND, AWAY).power(ROOM))
    assert caught.value is AWAY


def test_that_one_failed_and_the_other_says_nothing_is_a_failure() -> None:
    for says in ([AWAY, UNHEARD], [UNHEARD, AWAY]):
        with pytest.raises(Outage) as caught:
            result_of(sources(*says).membership(ROOM, USER))
        assert caught.value is AWAY


def test_a_room_without_a_name_for_one_may_have_one_for_the_other() -> None:
    assert result_of(sources(None, "Lounge").name(ROOM)) == "Lounge"
    assert result_of(sources(None, None).name(ROOM)) is None


def test_all_share_one_deadline() -> None:
    clock = Clock()
    slow, next_one, never = Way(BLIND, clock, 0.75), Way(AWAY, clock, 0.25), Way(None, clock)
    with pytest.raises(Outage):
        result_of(Sources([slow, next_one, never], clock, 1.0).ping())
    assert (slow.given, next_one.given, never.given) == ([1.0], [0.25], [])


def test_whom_we_do_not_ask_at_all_we_ask_in_no_other_way() -> None:
    asked = sources(NotAsked(Reason.BUSY, "made up"), None)
    with pytest.raises(NotAsked):
        result_of(asked.ping())


def test_which_room_was_replaced_the_first_way_that_knows_says() -> None:
    assert result_of(sources(None, "!old:s").predecessor(ROOM)) == "!old:s"
    assert result_of(sources(BLIND, None).predecessor(ROOM)) is None
