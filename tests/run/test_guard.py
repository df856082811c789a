"""The parts, put together."""

from pathlib import Path

from twisted.internet.task import Clock

from lotus_guard.core.model import RoomId
from lotus_guard.rules import RULES, STANDING
from tests.model_redis import Memory, ModelRedis
from tests.run.parts import guard_on


def test_nothing_is_started_and_no_file_is_opened(tmp_path: Path) -> None:
    clock = Clock()
    guard = guard_on(clock, LOTUS_GUARD_STATE=str(tmp_path / "state.sqlite"))
    assert clock.getDelayedCalls() == []
    assert list(tmp_path.iterdir()) == []
    guard.memory.open()
    assert (tmp_path / "state.sqlite").exists()


def test_each_rule_has_policies_of_its_own_and_is_named_to_the_operator() -> None:
    guard = guard_on(Clock(), LOTUS_GUARD_OBSERVE="sources,live")
    modes = guard.overview.guard()["rules"]
    asked = ["members", *(rule.name for rule in RULES)]
    others = dict.fromkeys(asked, "enforce")
    assert modes == {**others, "sources": "observe", "live": "observe"}
    assert set(guard.overview.guard()["titles"]) == set(asked)
    every = guard_on(Clock(), LOTUS_GUARD_CALL_PERMISSION="on").overview.guard()
    assert set(every["titles"]) == {rule.name for rule in (*STANDING, *RULES)}
    without = guard_on(Clock(), LOTUS_GUARD_MEMBERS="off").overview.guard()
    assert "members" not in {**without["rules"], **without["titles"]}


def test_a_token_that_went_out_is_looked_for_by_the_loop() -> None:
    guard = guard_on(Clock())
    room = RoomId("!r:s")
    guard.hints.issued(room)
    assert guard.live.candidates._expected.get(room) == 0.0


def test_with_a_redis_one_leads_and_alone_there_is_nobody_to_ask() -> None:
    assert guard_on(Clock()).live.rank.leads()
    redis = ModelRedis(Memory(clock=Clock().seconds))
    guard = guard_on(Clock(), redis, LOTUS_GUARD_STATE="redis://model")
    assert guard.live.rank is guard.memory.cluster.lease


def test_two_guards_of_a_process_share_nothing() -> None:
    one, other = guard_on(Clock()), guard_on(Clock())
    one.hints.issued(RoomId("!r:s"))
    assert other.live.candidates._expected.get(RoomId("!r:s")) is None
