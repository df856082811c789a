"""All checks together, on a stack that works."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock

from lotus_guard.check.all import Check, check_offline, run_checks
from lotus_guard.check.context import CheckContext
from lotus_guard.check.finding import Finding, Level, ok
from lotus_guard.run.clocks import Clocks
from lotus_guard.sandbox.stack import SECRET
from tests.check.breaks import Break, F, each_is_found
from tests.check.checked_stack import CheckedStack


def upstream_is_the_guard(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_UPSTREAM"] = stack.world.url


def no_admin_token(stack: CheckedStack) -> None:
    del stack.environment["LOTUS_GUARD_SYNAPSE_TOKEN"]


BREAKS: list[tuple[Break, str, Level, str]] = [
    (upstream_is_the_guard, "settings", F, "itself"),
    (no_admin_token, "settings", F, "LOTUS_GUARD_SYNAPSE_TOKEN: not set"),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)


@ensureDeferred
async def test_all_is_well_where_it_is_and_nothing_is_left_behind(stack: CheckedStack) -> None:
    state = Path(stack.environment["LOTUS_GUARD_STATE"])
    before = sorted(path.name for path in state.parent.iterdir())
    found = await stack.check()
    assert {name: f for name, f in found.items() if f.level is not Level.OK} == {}
    assert set(found) == {
        "settings",
        "operators-port-exposed",
        "secret-files",
        "state-file",
        "one-guard",
        "upstream",
        "upstream-exposed",
        "upstream-version",
        "livekit",
        "livekit-key",
        "auto-create",
        "synapse",
        "synapse-token",
        "synapse-filter",
        "clocks",
        "guard",
        "operators-port",
        "pushes",
        "webhooks",
        "public-route",
        "public-prefix",
        "public-endpoints",
        "public-slashes",
        "public-cors",
        "public-panel",
        "panel-openid",
        "public-client",
        "user",
        "upstream-key",
        "homeserver-route",
    }
    assert len(stack.names) == 3, "a room to ask for, one to hear of, one to get a token for"
    assert stack.world.sandbox.sfu.rooms == {}
    assert sorted(path.name for path in state.parent.iterdir()) == before


@ensureDeferred
async def test_without_options_less_is_looked_at_and_nothing_is_wrong(stack: CheckedStack) -> None:
    stack.public_url = stack.user_token = ""
    stack.environment["LOTUS_GUARD_ADMIN_LISTEN"] = ""
    stack.addresses = ()
    del stack.environment["LOTUS_GUARD_PUSH_SECRET"]
    found = await stack.check()
    assert {f.level for f in found.values()} == {Level.OK, Level.NOTE}
    assert found["webhooks"].level is Level.NOTE
    assert found["public-route"].level is Level.NOTE
    assert "user" not in found


@ensureDeferred
async def test_a_check_that_breaks_or_hangs_is_a_finding() -> None:
    clock = Clock()
    context: Any = SimpleNamespace(clocks=Clocks(clock, clock.seconds, clock.seconds))

    async def break_(_context: CheckContext) -> list[Finding]:
        raise KeyError(SECRET)

    async def hang(_context: CheckContext) -> list[Finding]:
        await Deferred()
        return []

    async def see(_context: CheckContext) -> list[Finding]:
        return [ok("c", "fine")]

    checks = [Check("a", break_), Check("b", hang), Check("c", see)]
    done = Deferred.fromCoroutine(run_checks(checks, context))
    clock.advance(60.0)
    first, second, third = await done
    assert (first.name, first.level, "KeyError" in first.seen) == ("a", Level.WARNING, True)
    assert (second.name, second.level) == ("b", Level.WARNING)
    assert third == ok("c", "fine")
    assert SECRET not in first.seen


def test_a_wrong_setting_is_told_as_the_guard_does_and_what_to_do_with_it() -> None:
    found = check_offline({"LOTUS_GUARD_LOG_LEVEL": "loud"}, None, 0.0).findings
    told = {(each.seen, each.wanted) for each in found}
    key = "LIVEKIT_KEY: not set; expected LIVEKIT_KEY or LIVEKIT_KEY_FROM_FILE"
    level = "LOTUS_GUARD_LOG_LEVEL: found 'loud'; expected debug, info, warn or error"
    assert {(key, "set LIVEKIT_KEY"), (level, "correct LOTUS_GUARD_LOG_LEVEL")} <= told
