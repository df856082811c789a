"""Whether the homeserver says whose an OpenID token is, where the panel asks."""

from pytest_twisted import ensureDeferred

from lotus_guard.check.finding import Level
from lotus_guard.check.openid import check_openid
from lotus_guard.neighbours.openid import USERINFO
from tests.check.breaks import Break, W, each_is_found
from tests.check.checked_stack import CheckedStack, context_of
from tests.check.proxy import Proxy
from tests.real.processes import free_port


def no_openid_there(stack: CheckedStack) -> None:
    proxy = Proxy(stack.world.sandbox.addresses.synapse)
    proxy.only = ("/_matrix/client/versions",)
    stack.environment["LOTUS_GUARD_OPENID_URL"] = stack.serve(proxy)


def nobody_there(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_OPENID_URL"] = f"http://127.0.0.1:{free_port()}"


def a_login_before_it(stack: CheckedStack) -> None:
    proxy = Proxy(stack.world.sandbox.addresses.synapse)
    proxy.page = (401, b"<html>who are you?</html>")
    stack.environment["LOTUS_GUARD_OPENID_URL"] = stack.serve(proxy)


BREAKS: list[tuple[Break, str, Level, str]] = [
    (no_openid_there, "panel-openid", W, "LOTUS_GUARD_OPENID_URL"),
    (nobody_there, "panel-openid", W, "no answer from"),
    (a_login_before_it, "panel-openid", W, "answers 401"),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)


@ensureDeferred
async def test_without_the_panel_nobody_is_asked(stack: CheckedStack) -> None:
    no_openid_there(stack)
    stack.environment["LOTUS_GUARD_PANEL"] = "off"
    assert await check_openid(context_of(stack)) == []


@ensureDeferred
async def test_a_homeserver_that_is_away_is_another_finding(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_SYNAPSE_URL"] = f"http://127.0.0.1:{free_port()}"
    (found,) = await check_openid(context_of(stack))
    assert found.level is Level.NOTE


@ensureDeferred
async def test_another_address_may_be_named_for_it(stack: CheckedStack) -> None:
    only = stack.before("LOTUS_GUARD_SYNAPSE_URL")
    only.only = ("/_matrix/client/versions",)
    proxy = Proxy(stack.world.sandbox.addresses.synapse)
    proxy.only = (USERINFO,)
    assert (await check_openid(context_of(stack)))[0].level is Level.WARNING
    stack.environment["LOTUS_GUARD_OPENID_URL"] = stack.serve(proxy)
    assert (await check_openid(context_of(stack)))[0].level is Level.WARNING, "a query is a path"
