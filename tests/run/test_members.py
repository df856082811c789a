"""What keeps calls for members is put together as the settings say."""

from typing import Any

import pytest
from twisted.internet.task import Clock

from lotus_guard.run.clients import homeserver_clients, livekit_clients, make_signer
from lotus_guard.run.enforcement import make_live
from lotus_guard.run.guard import make_common, make_memory, make_pushes
from lotus_guard.run.members import SHARE, make_limiter, make_member_watch
from tests.run.parts import Agent, basics_on


def watch_of(**settings: str) -> Any:
    basics = basics_on(Clock(), **settings)
    livekit = livekit_clients(basics, Agent(), make_signer(basics))
    pushes = make_pushes(basics)
    common = make_common(
        basics, make_memory(basics, None), livekit, homeserver_clients(basics, Agent()), pushes
    )
    limiter = make_limiter(basics.config, basics.clocks)
    live = make_live(basics, common, livekit.background, pushes, limiter)
    return make_member_watch(basics, common, live)


def test_look_ups_are_divided_between_policies_and_memberships() -> None:
    basics = basics_on(Clock(), LOTUS_GUARD_POLICY_RATE="40")
    assert make_limiter(basics.config, basics.clocks).rate == (1.0 - SHARE) * 40.0
    pace = watch_of(LOTUS_GUARD_POLICY_RATE="40").pace
    assert pace.rounds is not pace.arrivals
    assert pace.rounds.rate + pace.arrivals.rate == SHARE * 40.0
    basics = basics_on(Clock(), LOTUS_GUARD_POLICY_RATE="40", LOTUS_GUARD_MEMBERS="off")
    assert make_limiter(basics.config, basics.clocks).rate == 40.0


@pytest.mark.parametrize(
    ("settings", "observes"),
    [
        ({}, False),
        ({"LOTUS_GUARD_MEMBERS": "observe"}, True),
        ({"LOTUS_GUARD_OBSERVE": "live"}, True),
        ({"LOTUS_GUARD_OBSERVE": "limit"}, False),
    ],
)
def test_the_watch_observes_where_members_or_the_live_loop_do(
    settings: dict[str, str], observes: bool
) -> None:
    watch = watch_of(**settings)
    assert watch.expulsion.is_observed is observes
    assert watch.longest_rest == 60.0
