"""What judges tokens and what enforces the rules in live calls rest on the same memory."""

from typing import Any

import pytest
from twisted.internet.task import Clock

from lotus_guard.core.model import Identity, RoomId
from lotus_guard.enforce.admission import Admission
from lotus_guard.enforce.eyes import Eyes
from lotus_guard.enforce.live import Live, Only
from lotus_guard.enforce.rate_limiter import RateLimiter
from lotus_guard.run.clients import homeserver_clients, livekit_clients, make_signer
from lotus_guard.run.clocks import Clocks
from lotus_guard.run.enforcement import CommonParts, make_admission, make_live
from lotus_guard.run.guard import (
    make_common,
    make_memory,
    make_pushes,
    make_webhooks,
)
from lotus_guard.run.hints import Hints
from tests.model_redis import Memory, ModelRedis
from tests.run.parts import Agent, basics_on


def both(redis: Any = None, **settings: str) -> tuple[Admission, Live, CommonParts]:
    """Make both, as the guard does."""
    basics = basics_on(Clock(), **settings)
    memory, signer = make_memory(basics, redis), make_signer(basics)
    livekit = livekit_clients(basics, Agent(), signer)
    homeserver = homeserver_clients(basics, Agent())
    pushes = make_pushes(basics)
    common = make_common(basics, memory, livekit, homeserver, pushes)
    limiter = RateLimiter(10.0, basics.clocks.reactor, basics.clocks.now)
    live = make_live(basics, common, livekit.background, pushes, limiter)
    webhooks = make_webhooks(basics, live, None, memory)
    hints = Hints(webhooks, pushes, common.policies, live, memory.cluster)
    return make_admission(basics, common, signer.clock, hints, homeserver.eyes), live, common


def with_redis(**settings: str) -> tuple[Admission, Live, CommonParts]:
    redis = ModelRedis(Memory(clock=Clock().seconds))
    return both(redis, LOTUS_GUARD_STATE="redis://model", **settings)


@pytest.mark.parametrize(
    ("make", "deadline", "seconds"),
    [(both, "1.0", 1.0), (with_redis, "1.0", 0.75), (with_redis, "60", 59.5)],
)
def test_a_rule_has_the_deadline_less_what_redis_may_take(
    make: Any, deadline: str, seconds: float
) -> None:
    admission, _, _ = make(LOTUS_GUARD_DEADLINE=deadline)
    assert admission.seconds == seconds


def test_who_is_put_out_is_so_with_the_token_that_was_given_last() -> None:
    admission, live, common = both()
    admission.issued.begins.put(Identity("@a:s:D"), 7)
    assert live.room_pass.effects.removals.begins.get(Identity("@a:s:D")) == 7
    assert common.begins is admission.issued.begins


def test_the_loop_looks_where_a_token_was_issued() -> None:
    admission, live, _ = both()
    admission.issued.on_issued(RoomId("!r:s"))
    assert live.candidates._expected.get(RoomId("!r:s")) == 0.0


def test_the_guards_randomness_says_when_rooms_are_looked_at_between_passes() -> None:
    _, live, _ = both()
    chance: Any = live.room_pass.stage.chance
    assert isinstance(chance.__self__, Clocks)


def test_settings_arrive_where_they_count() -> None:
    _, live, _ = both(
        LOTUS_GUARD_LIVE_LIMIT="off",
        LOTUS_GUARD_OBSERVE="live,limit",
        LOTUS_GUARD_RECONCILE_INTERVAL="5",
    )
    assert not live.room_pass.seats.is_on
    assert live.room_pass.observed == {"live", "limit"}
    assert live.interval == 5.0


def test_alone_nobody_is_asked_who_leads() -> None:
    assert isinstance(both()[1].rank, Only)
    _, live, common = with_redis()
    lease = common.memory.cluster.lease
    assert lease is not None
    assert live.rank is live.room_pass.effects.rank is live.room_pass.seats.rank is lease


def test_who_asks_for_a_token_is_told_to_the_eyes_of_the_homeserver() -> None:
    admission, _, _ = both()
    eyes = getattr(admission.judge_rules.everywhere.suggest, "__self__", None)
    assert isinstance(eyes, Eyes)
