"""Claims that several guards share, on the model of Redis."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import ensureDeferred

from lotus_guard.core.claim import Claim, Issue
from lotus_guard.core.claim_json import read_claim
from lotus_guard.core.model import Grant, Identity, LiveKitRoom
from lotus_guard.enforce.ports import Outage
from lotus_guard.memory import redis_claims
from lotus_guard.memory.redis_claims import RedisClaims
from tests.contract.redis import ClaimsContract
from tests.memory.sharing import EPOCH, Party
from tests.model_redis import Memory, ModelRedis

CALL, OTHER = LiveKitRoom("call"), LiveKitRoom("other")
ALL, SOUND = Grant(True, ()), Grant(True, ("microphone",))
KEY = (CALL, Identity("a"))


def issue(grant: Grant = ALL, sent: Grant = SOUND, at: float = EPOCH) -> Any:
    return Issue(grant, sent, at, at + 300.0).after


def see(claim: Claim | None) -> Claim | None:
    return claim and claim.seen("S1", EPOCH, SOUND, EPOCH)


class TestModel(ClaimsContract):
    """The contract on the model."""

    def setup_method(self) -> None:
        self.memory = Memory()

    async def connect(self) -> ModelRedis:
        return ModelRedis(self.memory)


def pair(memory: Memory) -> tuple[RedisClaims, RedisClaims, ModelRedis]:
    one, two = Party(memory, "one"), Party(memory, "two")
    return RedisClaims(one.keys, one.epoch), RedisClaims(two.keys, two.epoch), one.server


@pytest_twisted.ensureDeferred
async def test_a_session_without_a_claim_is_asked_for_once() -> None:
    one, _two, server = pair(Memory())
    assert await one.find(KEY, "S1") is None
    calls = server.calls
    assert await one.find(KEY, "S1") is None
    assert server.calls == calls
    await one.find(KEY, "S2")
    assert server.calls == calls + 1


@pytest_twisted.ensureDeferred
async def test_where_redis_is_away_it_is_changed_here_alone_and_fails() -> None:
    one, two, server = pair(Memory())
    await one.change(KEY, issue())
    server.is_away = True
    with pytest.raises(Outage):
        await one.change(KEY, see)
    found = one.claims.get(KEY)
    assert found is not None
    assert found.session is not None
    with pytest.raises(Outage):
        await one.load([CALL])
    server.is_away = False
    await one.change(KEY, lambda claim: claim and claim.setting(ALL, EPOCH))
    theirs = await two.find(KEY, "S1")
    assert theirs is not None
    assert theirs.session == found.session, "it is told with the next change"


@pytest_twisted.ensureDeferred
async def test_a_claim_that_redis_has_lost_is_written_anew() -> None:
    memory = Memory()
    one, two, _server = pair(memory)
    await one.change(KEY, issue())
    memory.flush()
    await one.change(KEY, see)
    await one.change(KEY, see)
    found = await two.find(KEY, "S1")
    assert found is not None
    assert found.session is not None


@pytest_twisted.ensureDeferred
async def test_whoever_is_too_slow_each_time_gives_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis_claims, "MOST_TRIES", 2)
    memory = Memory()
    one, two, _server = pair(memory)

    def slow(claim: Claim | None) -> Claim:
        at = EPOCH + len(memory.keys.get("p:claims:call", {}).get("a", ""))
        ensureDeferred(two.change(KEY, lambda c: c.setting(SOUND, at) if c else issue()(c)))
        made: Claim = issue(ALL, ALL)(claim)
        return made

    with pytest.raises(Outage, match="other guards"):
        await one.change(KEY, slow)


@pytest_twisted.ensureDeferred
async def test_the_guard_that_leads_reads_each_room_once_and_again_if_asked() -> None:
    one, two, server = pair(Memory())
    await two.change(KEY, issue())
    await one.load([CALL, OTHER])
    assert one.claims.owes(CALL, EPOCH)
    calls = server.calls
    await one.load([CALL, OTHER])
    assert server.calls == calls
    await two.change(KEY, see)
    await one.load([CALL], again=True)
    found = one.claims.get(KEY)
    assert found is not None
    assert found.session is not None
    one.step_down()
    assert len(one.claims) == 0
    await one.load([CALL])
    assert len(one.claims) == 1
    await one.load([OTHER])
    await one.load([CALL])
    assert server.calls > calls + 3, "a room that is gone is new when it comes again"


@pytest_twisted.ensureDeferred
async def test_what_is_none_of_ours_gives_nothing_back() -> None:
    memory = Memory()
    one, _two, _server = pair(memory)
    memory.keys["p:claims:call"] = {"a": "nonsense", "b" * 1000: "{}"}
    await one.load([CALL])
    assert {key: claim.is_over for key, claim in one.claims.items()} == {KEY: True}


@pytest_twisted.ensureDeferred
async def test_finished_rooms_leave_redis_and_dropped_claims_stay_there(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    memory = Memory()
    one, _two, _server = pair(memory)
    one.claims.most = 1
    await one.change(KEY, issue())
    one.claims._drop(KEY, issue()(None))
    assert one._there == {}
    assert read_claim(memory.keys["p:claims:call"]["a"]).granted == ALL
    await one.change((OTHER, Identity("b")), issue())
    one.forget([OTHER, CALL])
    one.forget([])
    assert memory.keys == {}
    assert one._there == {}
