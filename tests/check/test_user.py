"""lk-jwt-service's key, by the way a client goes."""

from typing import Any

import pytest
from pytest_twisted import ensureDeferred
from twisted.internet.defer import Deferred

from lotus_guard.check.finding import Level
from lotus_guard.core.model import LiveKitRoom
from tests.check.breaks import OTHER_SECRET, Break, F, W, each_is_found
from tests.check.checked_stack import CheckedStack
from tests.check.proxy import Proxy


def upstream_has_another_secret(stack: CheckedStack) -> None:
    stack.world.sandbox.authorization.issuer.secret = OTHER_SECRET


def upstream_has_another_key(stack: CheckedStack) -> None:
    stack.world.sandbox.authorization.issuer.key = "another"


def upstream_makes_no_room(stack: CheckedStack) -> None:
    async def refuse(_name: str) -> None:
        raise RuntimeError("401")

    stack.world.sandbox.authorization.create_room = refuse


def the_user_is_unknown(stack: CheckedStack) -> None:
    stack.user_token = "nobody"


BREAKS: list[tuple[Break, str, Level, str]] = [
    (upstream_has_another_secret, "upstream-key", F, "another key or secret"),
    (upstream_has_another_key, "upstream-key", F, "another key or secret"),
    (upstream_makes_no_room, "upstream-key", F, "500 M_UNKNOWN"),
    (the_user_is_unknown, "user", W, "--as-user"),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)


@ensureDeferred
async def test_a_homeserver_of_the_users_that_hangs_is_named(
    stack: CheckedStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """lk-jwt-service asks it while the check waits."""
    monkeypatch.setattr("lotus_guard.check.user.TOKEN_SECONDS", 0.3)

    async def hang(_name: str) -> None:
        await Deferred()

    stack.world.sandbox.authorization.create_room = hang
    found = await stack.check()
    assert found["upstream-key"].level is F
    assert "within 0.3 s; it may be waiting for the user's homeserver" in found["upstream-key"].seen
    assert "by federation" in found["upstream-key"].wanted


@ensureDeferred
async def test_a_user_who_gets_no_openid_token_is_a_finding(stack: CheckedStack) -> None:
    url, refusal = stack.world.sandbox.addresses.synapse, b'{"errcode": "M_GUEST"}'

    class NoOpenId(Proxy):
        def render(self, request: Any) -> int:
            self.page = (403, refusal) if b"/openid/request_token" in request.uri else None
            return super().render(request)

    stack.environment["LOTUS_GUARD_SYNAPSE_URL"] = stack.serve(NoOpenId(url))
    found = await stack.check()
    assert {f.name: f.level for f in found.values() if f.level in (W, F)} == {"user": W}
    assert "no OpenID token (403 M_GUEST)" in found["user"].seen
    assert "not a guest" in found["user"].wanted


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>welcome</html>"),
        (200, b'{"user_id": 5}'),
        (200, b'{"user_id": "@a\\ud800:s"}'),
        (200, b'{"user_id": "' + b"x" * 100_000 + b'"}'),
        (500, b"{"),
        (200, b"[" * 100_000),
    ],
)
@ensureDeferred
async def test_garbage_about_the_user_is_a_finding(
    stack: CheckedStack, status: int, body: bytes
) -> None:
    url = stack.world.sandbox.addresses.synapse

    class Garbage(Proxy):
        def render(self, request: Any) -> int:
            self.page = (status, body) if b"whoami" in request.uri else None
            return super().render(request)

    stack.environment["LOTUS_GUARD_SYNAPSE_URL"] = stack.serve(Garbage(url))
    found = await stack.check()
    assert {f.name: f.level for f in found.values() if f.level in (W, F)} == {"user": W}
    assert "does not say whose token it is" in found["user"].seen


@ensureDeferred
async def test_a_room_that_is_not_surely_ours_is_never_removed(stack: CheckedStack) -> None:
    """Upstream names a room in which a call is going on."""
    sandbox = stack.world.sandbox
    sandbox.sfu.create("a call of others")
    sandbox.authorization.issuer.livekit_room = lambda _room, _slot: LiveKitRoom("a call of others")
    found = await stack.check()
    assert found["upstream-key"].level is Level.OK
    assert "could not be removed" in found["upstream-key"].seen
    assert "a call of others" in sandbox.sfu.rooms
