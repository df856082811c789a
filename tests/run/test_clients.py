"""How LiveKit and Synapse are asked: in two lines, behind one breaker, which a probe goes past."""

from typing import Any

import pytest
from attrs import evolve
from twisted.internet.defer import ensureDeferred
from twisted.internet.task import Clock

from lotus_guard.core.membership import Membership
from lotus_guard.core.model import LiveKitRoom, RoomId, UserId
from lotus_guard.enforce.ports import MayNotLook, NotAsked, Outage
from lotus_guard.enforce.roll_call import AT_ONCE
from lotus_guard.neighbours.application_service import ApplicationService
from lotus_guard.neighbours.bulkhead import for_tokens
from lotus_guard.rules import RULES, by_event
from lotus_guard.rules.limit import Limit
from lotus_guard.run.basics import Basics
from lotus_guard.run.clients import homeserver_clients, livekit_clients, make_signer
from tests.neighbours.answering import result_of
from tests.neighbours.model_homeserver import ModelHomeserver
from tests.quiet_hours import QuietHours
from tests.run.parts import Agent, basics_on, shown


def end_of(coroutine: Any) -> BaseException | None:
    """How a call ended that ends at once."""
    ends: list[Any] = []
    ensureDeferred(coroutine).addBoth(ends.append)
    (end,) = ends
    return getattr(end, "value", None)


def break_synapse(basics: Basics, agent: Agent) -> Any:
    clients = homeserver_clients(basics, agent)
    for _ in range(20):
        if clients.backend.remark():
            return clients
        assert isinstance(end_of(clients.tokens.policy(RoomId("!r:s"), Limit())), Outage)
    raise AssertionError("the breaker does not open")


def test_both_lines_stand_behind_one_breaker() -> None:
    basics, agent = basics_on(Clock()), Agent()
    clients = break_synapse(basics, agent)
    agent.asked.clear()
    for client in (clients.tokens, clients.background):
        assert isinstance(end_of(client.policy(RoomId("!r:s"), Limit())), NotAsked)
    assert agent.asked == []
    assert shown(basics, "lotus_guard_breaker_open", neighbour="synapse") == 1.0


def test_a_probe_is_made_while_nobody_else_may_ask() -> None:
    clock, agent = Clock(), Agent()
    clients = break_synapse(basics_on(clock), agent)
    agent.asked.clear()
    clock.advance(120.0)
    clients.backend.probe_if_due()
    assert len(agent.asked) == 1
    assert "!r" not in agent.asked[0], "it asks what no client has a hand in"


def test_health_knows_who_is_not_asked_and_the_other_is_not_blamed() -> None:
    basics = basics_on(Clock())
    livekit = livekit_clients(basics, Agent(), make_signer(basics))
    break_synapse(basics, Agent())
    states = {each["name"]: each for each in basics.health.dependencies()}
    assert states["synapse"]["state"] == "trouble"
    assert "not asked until it answers again" in states["synapse"]["detail"]
    assert states["livekit"]["state"] == "unknown"
    assert livekit.backend.remark() == ""


@pytest.mark.parametrize("line", ["tokens", "background"])
def test_livekit_is_asked_where_its_api_is(line: str) -> None:
    basics, agent = basics_on(Clock()), Agent()
    clients = livekit_clients(basics, agent, make_signer(basics))
    end_of(getattr(clients, line).attendance(LiveKitRoom("r")))
    assert agent.asked[0].startswith("http://127.0.0.1:7880/twirp/")


def test_the_signers_clock_is_shown() -> None:
    basics = basics_on(Clock())
    signer = make_signer(basics)
    assert shown(basics, "lotus_guard_clock_offset_seconds") is None
    signer.clock.ahead = -2.5
    assert shown(basics, "lotus_guard_clock_offset_seconds") == -2.5
    assert "clock" in [each["name"] for each in basics.health.dependencies()]


def test_there_are_places_for_the_look_ups_of_each_rule() -> None:
    """With more rules than places are for, one address could make all who ask after it wait."""
    basics = basics_on(Clock())
    more = evolve(basics, rules=(*basics.rules, QuietHours()))

    def most(clients: Any) -> int:
        (client, *_) = getattr(clients.tokens, "each", [clients.tokens])
        found: int = client.http.bulkhead.most
        return found

    assert most(homeserver_clients(basics, Agent())) == for_tokens(len(by_event(RULES)) + 3)[0]
    assert most(homeserver_clients(more, Agent())) == for_tokens(len(by_event(RULES)) + 4)[0]
    livekit = livekit_clients(basics, Agent(), make_signer(basics))
    assert most(livekit) == for_tokens(AT_ONCE)[0]


def ways(**settings: str) -> list[str]:
    clients = homeserver_clients(basics_on(Clock(), **settings), Agent())
    found, others = (
        [type(each).__name__ for each in line.each] for line in (clients.tokens, clients.background)
    )
    assert found == others
    return found


def test_the_homeserver_is_asked_in_the_ways_that_there_are_tokens_for() -> None:
    assert ways() == ["Synapse"]
    both = {"LIVEKIT_AS_TOKEN": "as-token"}
    assert ways(**both) == ["ApplicationService", "Synapse"]
    assert ways(**both, LOTUS_GUARD_SYNAPSE_TOKEN="") == ["ApplicationService"]


def test_where_an_admin_can_be_asked_no_policy_from_before_takes_their_place() -> None:
    def keeps_last(**settings: str) -> bool:
        basics = basics_on(Clock(), LIVEKIT_AS_TOKEN="as-token", **settings)
        (first, *_) = homeserver_clients(basics, Agent()).tokens.each
        assert isinstance(first, ApplicationService)
        return first.memory.keeps_last

    assert not keeps_last()
    assert keeps_last(LOTUS_GUARD_SYNAPSE_TOKEN="")


def test_what_both_lines_learn_they_share_and_readers_are_users_of_ours() -> None:
    server = ModelHomeserver()
    server.member("!r:s", "@alice:s")
    basics = basics_on(Clock(), LIVEKIT_AS_TOKEN="as-token", LOTUS_GUARD_SYNAPSE_TOKEN="")
    clients = homeserver_clients(basics, server)
    room, alice = RoomId("!r:s"), UserId("@alice:s")
    assert result_of(clients.tokens.membership(room, alice)).membership is Membership.JOIN
    clients.eyes.suggest(room, UserId("@eve:elsewhere"))
    assert clients.eyes.of(room) == [alice]
    assert not result_of(clients.background.policy(room, Limit())).policy.restricts
    assert [what for what, _user in server.asked].count("whoami") == 1
    calls = shown(basics, "lotus_guard_synapse_calls_total", method="m.room.member")
    assert calls == 3.0


def test_that_we_may_not_look_somewhere_opens_no_breaker() -> None:
    server = ModelHomeserver(users=lambda _user: False)
    basics = basics_on(Clock(), LIVEKIT_AS_TOKEN="as-token", LOTUS_GUARD_SYNAPSE_TOKEN="")
    clients = homeserver_clients(basics, server)
    for number in range(20):
        user = UserId(f"@u{number}:s")
        assert isinstance(end_of(clients.tokens.membership(RoomId("!r:s"), user)), MayNotLook)
    assert clients.backend.remark() == ""
    (state,) = [each for each in basics.health.dependencies() if each["name"] == "synapse"]
    assert state["state"] == "ok"
