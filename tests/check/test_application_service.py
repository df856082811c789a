"""The application service as the check sees it: its token, whom it may act as, who answers what."""

from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.defer import ensureDeferred as begin
from twisted.internet.task import Clock

from lotus_guard.check.application_service import check_application_service
from lotus_guard.check.context import CheckContext, CheckOptions, HttpClients
from lotus_guard.check.finding import Finding, Level, worst
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.openid import USERINFO
from lotus_guard.run.config import read_config
from lotus_guard.sandbox.stack import AS_TOKEN
from tests.check.checked_stack import CheckedStack
from tests.neighbours.answering import Answer, result_of
from tests.neighbours.model_homeserver import HANGS, ModelHomeserver, said
from tests.run.parts import clocks_on
from tests.test_docs import GOOD

TOKEN, USERS = "application-service-token", "application-service-users"
ALONE = {"LOTUS_GUARD_SYNAPSE_TOKEN": "", "LIVEKIT_AS_TOKEN": "as-token"}
BESIDE = {"LIVEKIT_AS_TOKEN": "as-token"}


def context(server: ModelHomeserver, as_user: bool, settings: dict[str, str]) -> CheckContext:
    http = Http(server, Clock())
    options = CheckOptions(user_token="alices" if as_user else "")
    config = read_config({**GOOD, **settings})
    clients = HttpClients(http, http, http)
    return CheckContext(config, clients, clocks_on(Clock()), options, lambda: "x")


def found(
    server: ModelHomeserver, settings: dict[str, str], as_user: bool = True
) -> dict[str, Finding]:
    server.accounts["alices"] = "@alice:s"
    findings = result_of(check_application_service(context(server, as_user, settings)))
    return {finding.name: finding for finding in findings}


def test_without_one_there_is_nothing_to_say() -> None:
    server = ModelHomeserver()
    assert found(server, {}) == {}
    assert server.asked == []


def test_alone_it_is_green_with_a_note_of_what_nobody_answers() -> None:
    findings = found(ModelHomeserver(), ALONE)
    assert worst(findings.values()) in (Level.OK, Level.NOTE)
    assert findings[USERS].seen == "the application service may act as @alice:s"
    assert "the application service alone" in findings["asked-policies"].seen
    assert findings["asked-rooms"].level is Level.NOTE
    assert "no list of rooms" in findings["asked-rooms"].seen


def test_beside_an_admin_everything_is_answered() -> None:
    findings = found(ModelHomeserver(), BESIDE)
    assert {each.level for each in findings.values()} == {Level.OK}
    wanted = "memberships come from the application service, then Synapse's admin API"
    assert findings["asked-membership"].seen == wanted


def test_without_a_user_nobody_knows_whom_it_may_act_as() -> None:
    findings = found(ModelHomeserver(), ALONE, as_user=False)
    assert (findings[USERS].level, findings[USERS].wanted) == (Level.NOTE, "use --as-user")
    assert findings[TOKEN].level is Level.OK
    server = ModelHomeserver()
    server.accounts["alices"] = "nobody"
    (_token, users, *_) = result_of(check_application_service(context(server, True, ALONE)))
    assert users.level is Level.NOTE


@pytest.mark.parametrize(("settings", "level"), [(ALONE, Level.FAULT), (BESIDE, Level.WARNING)])
def test_what_it_may_not_is_as_bad_as_there_is_nobody_else(
    settings: dict[str, str], level: Level
) -> None:
    findings = found(ModelHomeserver(users=lambda _user: False, cannot_act=401), settings)
    assert findings[USERS].level is level
    assert "'@.*:s'" in findings[USERS].wanted
    findings = found(ModelHomeserver(token="another"), settings)
    assert set(findings) == {TOKEN}
    assert findings[TOKEN].level is level
    assert "(401 M_UNKNOWN_TOKEN)" in findings[TOKEN].seen


@pytest.mark.parametrize("answer", [said(200), Answer(404, b"<html>"), said(500)])
def test_what_is_no_homeserver_is_told_from_one_that_refuses(answer: Answer) -> None:
    server = ModelHomeserver(instead=lambda _what, _user: Answer(answer.code, answer.body))
    assert "LOTUS_GUARD_SYNAPSE_URL" in found(server, ALONE)[TOKEN].wanted


def test_where_the_homeserver_does_not_answer_nothing_is_said_of_it() -> None:
    server = ModelHomeserver(instead=lambda _what, _user: HANGS)
    asked = context(server, True, ALONE)
    outcome: list[Any] = []

    begin(check_application_service(asked)).addBoth(outcome.append)
    clock: Any = asked.http.synapse.clock
    clock.pump([5.0, 0.0, 0.0])
    assert [each.level for each in outcome[0]] == [Level.NOTE]


@ensureDeferred
async def test_a_stack_without_an_admin_is_green_with_notes(stack: CheckedStack) -> None:
    """A homeserver without an admin API, of which only the application service is asked."""
    stack.world.sandbox.homeserver.add_account("@guard:sandbox", AS_TOKEN)
    proxy = stack.before("LOTUS_GUARD_SYNAPSE_URL")
    asked = f"{USERINFO}?access_token=lotus-guard-check"
    proxy.only = ("/_matrix/client/versions", "/_matrix/client/v3/account/whoami", asked)
    stack.user_token = ""
    stack.environment |= {"LOTUS_GUARD_SYNAPSE_TOKEN": "", "LIVEKIT_AS_TOKEN": AS_TOKEN}
    found = await stack.check()
    assert worst(found.values()) is Level.NOTE, found
    assert found["synapse"].seen.startswith("the homeserver answers at")
    assert not {"synapse-token", "synapse-filter"} & set(found)
    assert {TOKEN, USERS, "asked-rooms"} <= set(found)
