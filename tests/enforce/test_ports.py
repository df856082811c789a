"""What the guard needs from outside, and that those who are to give it do."""

from collections.abc import Coroutine
from typing import Any, Protocol

import pytest
from attrs import define

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import ROOM_SLOT, livekit_room_of
from lotus_guard.enforce.effects import StepJournal
from lotus_guard.enforce.live import Only, PassJournal
from lotus_guard.enforce.policies import PolicyJournal
from lotus_guard.enforce.ports import (
    NO_LIVEKIT_ROOM,
    Allowance,
    Bug,
    Homeserver,
    NotAsked,
    Outage,
    Oversized,
    Rank,
    Reason,
    Records,
    RoomService,
)
from lotus_guard.enforce.records import Counters, Recorder
from lotus_guard.enforce.room_pass import RoomJournal
from lotus_guard.enforce.turn import Turn
from lotus_guard.memory.redis_lease import Lease
from lotus_guard.neighbours.application_service import ApplicationService
from lotus_guard.neighbours.livekit import LiveKit
from lotus_guard.neighbours.sources import Source, Sources
from lotus_guard.neighbours.synapse import Synapse
from lotus_guard.observe.loop_metrics import LoopMetrics
from lotus_guard.observe.rule_metrics import RuleMetrics
from tests.enforce import stand_ins
from tests.fulfilled import lacking


@pytest.mark.parametrize(
    ("made", "protocol"),
    [
        (LiveKit, RoomService),
        (Synapse, Homeserver),
        (Synapse, Source),
        (ApplicationService, Homeserver),
        (ApplicationService, Source),
        (Sources, Homeserver),
        (Lease, Rank),
        (Only, Rank),
        (Recorder, Records),
        (LoopMetrics, StepJournal),
        (LoopMetrics, RoomJournal),
        (LoopMetrics, PassJournal),
        (RuleMetrics, PolicyJournal),
        (RuleMetrics, Counters),
        (stand_ins.Journal, PolicyJournal),
        (stand_ins.Turn, Turn),
        (stand_ins.Rank, Rank),
        (stand_ins.Homeserver, Homeserver),
        (stand_ins.Records, Records),
    ],
)
def test_they_do_all_that_is_asked_of_them(made: type, protocol: type) -> None:
    assert lacking(made, protocol) == []


class Wanted(Protocol):
    @property
    def is_there(self) -> bool: ...

    def plain(self, one: int, two: int = 0) -> None: ...

    async def later(self) -> None: ...


@define
class Good:
    is_there: bool

    def plain(self, one: int, _two: int = 1) -> None: ...

    async def later(self) -> None: ...


class HandsOn(Good):
    def later(self) -> Coroutine[Any, Any, None]:
        return Good(True).later()


class Without:
    is_there = True


class Otherwise(Good):
    def plain(self, one: int) -> None: ...  # type: ignore[override]

    def later(self) -> Any: ...


def test_what_lacks_something_is_told_from_what_does_not() -> None:
    assert lacking(Good, Wanted) == lacking(HandsOn, Wanted) == []
    assert lacking(Without, Wanted) == ["plain: not there", "later: not there"]
    found = lacking(Otherwise, Wanted)
    assert found[0].startswith("plain: takes [('self',")
    assert found[1:] == ["later: awaited by one of them alone"]
    assert lacking(int, Wanted)[0] == "is_there: not there"


def test_an_outage_says_why() -> None:
    assert str(Outage(Reason.DNS, "no such name")) == "no such name (dns)"
    assert Bug().reason is Reason.BUG
    oversized = Oversized(b"begins")
    assert (oversized.reason, oversized.begins) == (Reason.OVERSIZED, b"begins")
    assert isinstance(NotAsked(Reason.BUSY, "x"), Outage)


def test_an_allowance_is_used_up() -> None:
    allowance = Allowance(10)
    assert [allowance.take(6), allowance.take(4), allowance.take(1)] == [True, True, False]
    assert not allowance.take(0), "what was taken too much is not given back"


def test_no_client_has_a_hand_in_the_rooms_of_neutral_questions() -> None:
    assert len(NO_LIVEKIT_ROOM) != len(livekit_room_of(RoomId("!r:s"), ROOM_SLOT))
