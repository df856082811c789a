"""The name of our homeserver is learnt once, by one question for all who want to know."""

from typing import Any

import pytest
from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from lotus_guard.core.model import UserId
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.our_server import OurServer
from tests.neighbours.answering import outcome_of

ALICE, EVE = UserId("@alice:s:8448"), UserId("@eve:s")


@define
class Asker:
    clock: Clock = field(factory=Clock)
    server: OurServer = field(factory=OurServer)
    waiting: list[Deferred[UserId]] = field(factory=list)

    async def whoami(self) -> UserId:
        self.waiting.append(Deferred())
        return await self.waiting[-1]

    def learn(self) -> list[Any]:
        return outcome_of(self.server.learn(self.whoami, self.clock, 1.0))


def test_all_wait_for_one_answer_and_it_is_kept_for_good() -> None:
    asker = Asker()
    outcomes = [asker.learn(), asker.learn()]
    (waiting,) = asker.waiting
    waiting.callback(UserId("@guard:s:8448"))
    assert outcomes == [[None], [None]]
    assert asker.learn() == [None]
    assert len(asker.waiting) == 1
    assert asker.server.name == "s:8448"
    assert asker.server.may_have(ALICE)
    assert not asker.server.may_have(EVE)


def test_before_it_is_known_everybody_may_be_ours_who_is_anybody() -> None:
    server = OurServer()
    assert server.may_have(ALICE)
    assert server.may_have(EVE)
    assert not server.may_have(UserId("alice"))


def test_a_failure_is_everybodys_who_waits_and_it_is_asked_again() -> None:
    asker = Asker()
    outcomes = [asker.learn(), asker.learn()]
    asker.waiting[0].errback(Outage(Reason.RESET, "made up"))
    assert [each[0].value.reason for each in outcomes] == [Reason.RESET] * 2
    asker.learn()
    assert len(asker.waiting) == 2


@pytest.mark.parametrize("is_late", [True, False])
def test_nobody_waits_longer_than_they_have_time(is_late: bool) -> None:
    asker = Asker()
    outcome = asker.learn()
    asker.clock.pump([1.0 if is_late else 0.5, 0.0])
    assert bool(outcome) is is_late
    if is_late:
        assert outcome[0].value.reason is Reason.TIMEOUT
