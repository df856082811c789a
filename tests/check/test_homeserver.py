"""The way behind the homeserver: that it leads through the guard, and what is wrong where not."""

from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from lotus_guard.check.finding import Level
from lotus_guard.sandbox.stack import HS_TOKEN
from tests.check.breaks import F, W
from tests.check.checked_stack import CheckedStack, port_of
from tests.check.proxy import Proxy
from tests.world import World

LISTEN = "tcp:0:interface=127.0.0.1"


def stand_behind(stack: CheckedStack) -> World:
    """Have the homeserver hand requests on to the guard."""
    world = stack.world
    world.start_guard(LOTUS_GUARD_HOMESERVER_LISTEN=LISTEN, LIVEKIT_HS_TOKEN=HS_TOKEN)
    return world


def synapse(stack: CheckedStack, does: Any) -> None:
    """Put something between the check and Synapse; `does` says what it answers to a request."""

    class Between(Proxy):
        def render(self, request: Any) -> int:
            self.page = does(request)
            return super().render(request)

    url = stack.world.sandbox.addresses.synapse
    stack.environment["LOTUS_GUARD_SYNAPSE_URL"] = stack.serve(Between(url))


@ensureDeferred
async def test_where_all_is_well(stack: CheckedStack) -> None:
    stand_behind(stack)
    found = await stack.check()
    names = [name for name in found if name.startswith("homeserver-")]
    assert {name: found[name].level for name in names} == dict.fromkeys(names, Level.OK)
    assert names == [f"homeserver-{name}" for name in ("route", "scope", "url", "burst")]
    assert stack.world.guard.metrics.rules.refusals._metrics == {}, "nothing is on record"


@ensureDeferred
async def test_where_clients_do_not_go_that_way_there_is_nothing_to_find(
    stack: CheckedStack,
) -> None:
    found = await stack.check()
    assert [name for name in found if name.startswith("homeserver-")] == ["homeserver-route"]
    assert found["homeserver-route"].level is Level.OK


@ensureDeferred
async def test_calls_that_go_past_the_guard_are_a_fault(stack: CheckedStack) -> None:
    world = stand_behind(stack)
    world.sandbox.behind(world.sandbox.addresses.authorization)
    found = await stack.check()
    assert found["homeserver-route"].level is F
    assert "bypass the guard" in found["homeserver-route"].seen
    assert "proxy_url" in found["homeserver-route"].wanted


@ensureDeferred
async def test_they_are_one_without_a_user_too_whom_only_a_token_needs(stack: CheckedStack) -> None:
    world = stand_behind(stack)
    stack.user_token = ""
    found = await stack.check()
    assert found["homeserver-route"].level is Level.OK
    names = ("homeserver-scope", "homeserver-url", "homeserver-burst")
    assert {found[name].level for name in names} == {Level.NOTE}
    world.sandbox.behind(world.sandbox.addresses.authorization)
    assert (await stack.check())["homeserver-route"].level is F
    assert world.guard.metrics.rules.refusals._metrics == {}, "no token was asked for"


@ensureDeferred
async def test_a_homeserver_that_does_not_say_where_calls_are(stack: CheckedStack) -> None:
    stand_behind(stack)
    synapse(stack, lambda request: (403, b"{}") if b"transports" in request.uri else None)
    found = await stack.check()
    assert (found["homeserver-route"].level, "homeserver-scope" in found) == (Level.NOTE, False)
    assert "--as-user" in found["homeserver-route"].wanted


@ensureDeferred
async def test_what_goes_past_the_guard_does_so_announced_or_not(stack: CheckedStack) -> None:
    world = stand_behind(stack)
    stack.environment["LOTUS_GUARD_HOMESERVER_LISTEN"] = f"tcp:{port_of(world.homeserver)}"
    world.sandbox.homeserver.transports = []
    found = await stack.check()
    assert found["homeserver-route"].level is Level.OK
    assert "msc4143_enabled" in found["homeserver-announced"].wanted
    world.sandbox.behind(world.sandbox.addresses.authorization)
    world.sandbox.homeserver.transports = []
    assert (await stack.check())["homeserver-route"].level is F


def homeservers(status: int, body: bytes) -> Any:
    """Answer requests for tokens in the homeserver's place."""
    return lambda request: (status, body) if b"get_token" in request.uri else None


@pytest.mark.parametrize(
    ("answer", "level", "says"),
    [
        ((404, b'{"errcode":"M_UNRECOGNIZED","io.lotus.decision":"d"}'), F, "public port"),
        ((404, b""), F, "bypass the guard"),
        ((401, b'{"error":"Unrecognised homeserver access token"}'), F, "its hs_token"),
        ((401, b'{"error":"Invalid access token"}'), Level.NOTE, "not checked"),
        ((429, b"{}"), Level.NOTE, "not checked"),
        ((200, b'{"jwt":"t"}'), F, "bypass the guard"),
    ],
)
@ensureDeferred
async def test_who_answers_a_probe_instead_of_the_guard(
    stack: CheckedStack, answer: tuple[int, bytes], level: Level, says: str
) -> None:
    stand_behind(stack)
    synapse(stack, homeservers(*answer))
    found = await stack.check()
    assert (found["homeserver-route"].level, found["homeserver-burst"].level) == (
        level,
        W if answer[0] == 429 else Level.NOTE,
    )
    assert says in found["homeserver-route"].seen


@ensureDeferred
async def test_the_guards_public_port_is_no_way_behind_the_homeserver(stack: CheckedStack) -> None:
    world = stand_behind(stack)
    world.sandbox.behind(world.url)
    found = await stack.check()
    assert found["homeserver-route"].level is F
    assert "public port" in found["homeserver-route"].seen
    assert "proxy_url" in found["homeserver-route"].wanted


@ensureDeferred
async def test_a_guard_with_another_secret_is_none_of_ours(stack: CheckedStack) -> None:
    stand_behind(stack)
    stack.environment["LIVEKIT_SECRET_FROM_FILE"] = ""
    stack.environment["LIVEKIT_SECRET"] = "another-secret-of-32-characters-or-more"
    assert (await stack.check())["homeserver-route"].level is F


@ensureDeferred
async def test_a_registration_without_prefixes_is_named(stack: CheckedStack) -> None:
    world = stand_behind(stack)
    world.sandbox.homeserver.proxy = None
    found = await stack.check()
    assert found["homeserver-route"].level is F
    assert "proxy_prefix" in found["homeserver-route"].wanted


@ensureDeferred
async def test_a_proxy_url_where_nobody_listens_is_named(stack: CheckedStack) -> None:
    world = stand_behind(stack)
    world.sandbox.behind("http://127.0.0.1:9")
    found = await stack.check()
    assert found["homeserver-route"].level is F
    assert "nothing answers" in found["homeserver-route"].seen


@pytest.mark.parametrize(
    ("status", "errcode", "name", "wanted"),
    [
        (404, b"", "homeserver-service", "0.8 or later"),
        (401, b"M_UNKNOWN_TOKEN", "homeserver-service", "one registration"),
        (502, b"M_UNKNOWN", "homeserver-scope", "rooms:is_joined"),
        (400, b"M_INVALID_PARAM", "homeserver-url", "LIVEKIT_URL"),
    ],
)
@ensureDeferred
async def test_what_lk_jwt_service_says_of_a_room_of_no_meaning_names_the_line(
    stack: CheckedStack, status: int, errcode: bytes, name: str, wanted: str
) -> None:
    stand_behind(stack)

    def does(request: Any) -> Any:
        is_token = b"get_token" in request.uri and b"lotus_guard_probe" not in request.uri
        return (status, b'{"errcode":"%s"}' % errcode) if is_token else None

    synapse(stack, does)
    found = await stack.check()
    assert found[name].level is F
    assert wanted in found[name].wanted
    assert found["homeserver-route"].level is Level.OK


@ensureDeferred
async def test_a_homeserver_that_refuses_a_burst_is_a_warning(stack: CheckedStack) -> None:
    stand_behind(stack)
    asked = [0]

    def does(request: Any) -> Any:
        asked[0] += b"get_token" in request.uri
        return (429, b'{"errcode":"M_LIMIT_EXCEEDED"}') if asked[0] > 10 else None

    synapse(stack, does)
    found = await stack.check()
    assert found["homeserver-burst"].level is W
    assert "rc_message" in found["homeserver-burst"].wanted
    assert found["homeserver-route"].level is Level.OK
