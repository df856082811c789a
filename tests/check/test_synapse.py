"""Synapse: not there, not an admin's token, too old to filter state."""

import json
import time
from typing import Any

from pytest_twisted import ensureDeferred

from lotus_guard.check.finding import Level
from lotus_guard.neighbours.openid import USERINFO
from tests.check.breaks import Break, F, W, each_is_found
from tests.check.checked_stack import CheckedStack
from tests.check.proxy import Proxy
from tests.real.processes import free_port


def synapse_is_refused(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_SYNAPSE_URL"] = f"http://127.0.0.1:{free_port()}"


def synapse_has_no_admin_api(stack: CheckedStack) -> None:
    proxy = stack.before("LOTUS_GUARD_SYNAPSE_URL")
    whoami = "/_matrix/client/v3/account/whoami"
    asked = f"{USERINFO}?access_token=lotus-guard-check"
    proxy.only = ("/_matrix/client/versions", whoami, asked)
    stack.user_token = ""


def token_is_unknown(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_SYNAPSE_TOKEN"] = "expired"


def token_is_no_admins(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_SYNAPSE_TOKEN"] = "bob"


def synapse_is_old(stack: CheckedStack) -> None:
    stack.world.sandbox.homeserver.ignores_type = True
    stack.world.sandbox.homeserver.version = "1.122.0"


def synapse_is_old_and_empty(stack: CheckedStack) -> None:
    stack.world.sandbox.homeserver.rooms.clear()
    stack.world.sandbox.homeserver.version = "1.99.0 (b=x,1234)"


BREAKS: list[tuple[Break, str, Level, str]] = [
    (synapse_is_refused, "synapse", F, "LOTUS_GUARD_SYNAPSE_URL=http://127.0.0.1:8008"),
    (synapse_has_no_admin_api, "synapse", F, "not the admin API"),
    (token_is_unknown, "synapse-token", F, "M_UNKNOWN_TOKEN"),
    (token_is_no_admins, "synapse-token", F, "M_FORBIDDEN"),
    (synapse_is_old, "synapse-filter", W, "1.122.0"),
    (synapse_is_old_and_empty, "synapse-filter", W, "1.99.0"),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)


@ensureDeferred
async def test_a_neighbour_that_hangs_keeps_nothing_from_the_others(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_SYNAPSE_URL"] = stack.world.serve()
    begun = time.monotonic()
    found = await stack.check()
    bad = {f.name: f.level for f in found.values() if f.level in (W, F)}
    assert bad == {"synapse": F}
    assert "no answer in time" in found["synapse"].seen
    assert time.monotonic() - begun < 15.0


@ensureDeferred
async def test_what_others_send_cannot_command_the_terminal(stack: CheckedStack) -> None:
    evil = "M_\x1b]0;owned\x07\u202e\n[red]" + "x" * 5000
    body = json.dumps({"errcode": evil}).encode()
    proxy = stack.before("LOTUS_GUARD_SYNAPSE_URL")
    proxy.page = (401, body)
    stack.user_token = ""
    found = await stack.check()
    assert found["synapse"].level is F, "versions are no versions"
    proxy.page = None
    stack.world.sandbox.homeserver.accounts.clear()
    stack.environment["LOTUS_GUARD_SYNAPSE_URL"] = stack.serve(_Evil(stack, body))
    found = await stack.check()
    seen = found["synapse-token"].seen
    assert found["synapse-token"].level is F
    assert seen.isprintable()
    assert "M_\\x1b]0;owned\\x07\\u202e\\n[red]" in seen
    assert len(seen) < 500


class _Evil(Proxy):
    """Answers the admin API with a body of its own."""

    def __init__(self, stack: CheckedStack, body: bytes) -> None:
        super().__init__(stack.world.sandbox.addresses.synapse)
        self._body = body

    def render(self, request: Any) -> int:
        self.page = (401, self._body) if b"/_synapse/admin" in request.uri else None
        return super().render(request)
