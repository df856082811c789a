"""A homeserver that is asked who is in a room, and answers as a test wants it."""

from collections.abc import Sequence
from typing import Any

from attrs import define, field
from twisted.internet.defer import Deferred

from lotus_guard.core.membership import Membership, Standing
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.power import PowerLevels
from lotus_guard.rules.rule import P, Reading
from lotus_guard.rules.state_event import ReadsEvent

ALICE = UserId("@alice:s")
BOB = UserId("@bob:elsewhere")
INSIDE = Standing(Membership.JOIN, True, "admin")
OUTSIDE = Standing(Membership.UNHEARD, True, "admin")
UNHEARD = Standing(Membership.UNHEARD, False, "admin")


@define(eq=False)
class MemberSource:
    """Answers one question after another: a standing, a failure, or later; then the last again."""

    answers: list[Any] = field(factory=list)
    asked: list[tuple[RoomId, UserId]] = field(factory=list)

    async def membership(self, room: RoomId, user: UserId) -> Standing:
        self.asked.append((room, user))
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Deferred):
            answer = await answer
        if isinstance(answer, Exception):
            raise answer
        found: Standing = answer
        return found

    async def policy(self, room: RoomId, rule: ReadsEvent[P]) -> Reading[P]:
        raise AssertionError("memberships need no policies")

    async def power(self, room: RoomId) -> PowerLevels:
        raise AssertionError("memberships need no power levels")

    async def name(self, room: RoomId) -> str | None:
        raise AssertionError("memberships need no names")

    async def rooms(self, start: int) -> tuple[Sequence[RoomId], int | None]:
        raise AssertionError("memberships need no lists of rooms")

    async def ping(self) -> None:
        raise AssertionError("memberships ping nobody")
