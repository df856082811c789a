"""Seats that nobody is to get by a trick: by a name, by a token, by a slow Synapse."""

import json
import random
import time
from collections.abc import Iterator

import pytest

from tests.real.conftest import require_real
from tests.real.hostile.detours import Detour, detour_to_synapse, own_homeserver
from tests.real.processes import free_port, http, until
from tests.real.stack import LIMIT, Stack, running_stack

SPARE = 20.0
"""Seconds for which a token that was asked for in the call keeps a seat (`core.seats.SPARE`)."""


@pytest.fixture(scope="module")
def detour() -> Iterator[Detour]:
    with detour_to_synapse() as made:
        yield made


@pytest.fixture(scope="module")
def hooked(tmp_path_factory: pytest.TempPathFactory, detour: Detour) -> Iterator[Stack]:
    """LiveKit's webhooks, and a way to Synapse that can be made to hang."""
    require_real()
    directory = tmp_path_factory.mktemp("seats")
    with running_stack(directory, hooks=True, LOTUS_GUARD_SYNAPSE_URL=detour.url) as running:
        detour.target = running.synapse.url
        yield running


def full_room(stack: Stack) -> str:
    """Make a room for one who is there, which the guard knows."""
    alice, bob = stack.users(2)
    room = stack.room(limit={"max_users": 1})
    stack.join(alice, room)
    until("the guard knows", lambda: stack.ask(bob, room).status == 403)
    return room


def test_a_name_that_begins_like_anothers_is_not_that_other(hooked: Stack) -> None:
    """A client's own homeservers, on port 8448 and on another of one address."""
    host, port = f"127.{random.randint(1, 254)}.{random.randint(1, 254)}.7", free_port()
    room = hooked.room(limit={"max_users": 1})

    def body(server: str, device: str) -> bytes:
        openid = {
            "access_token": f"@x:{server}",
            "matrix_server_name": server,
            "token_type": "Bearer",
            "expires_in": 3600,
        }
        return json.dumps({"room": room, "openid_token": openid, "device_id": device}).encode()

    def ask(server: str, device: str) -> int:
        return http("POST", f"{hooked.guard.url}/sfu/get", body(server, device)).status

    with own_homeserver(host, (8448, port), hooked.synapse.directory):
        got = http("POST", f"{hooked.guard.url}/sfu/get", body(f"{host}:{port}", "DEV"))
        assert got.status == 200, got.body
        seated = hooked.join_with(got.json()["jwt"])
        assert ask(host, "DEV") == 403, "another server, and another user"
        assert ask(host, f"{port}:DEV") == 403, "the same identity, and another user"
        assert ask(f"{host}:{port}", "NEW") == 200, "a rejoin passes"
        assert ask(host, "NEW") == 403
    seated.disconnect()


def test_a_token_that_nobody_uses_keeps_no_seat_for_long(hooked: Stack) -> None:
    alice, bob = hooked.users(2)
    room = hooked.room(limit={"max_users": 1})
    newcomer = hooked.join(alice, room)
    assert hooked.ask(bob, room).status == 403
    time.sleep(2.5)  # what they are issued now is not for the coming in that was just seen
    assert hooked.ask(alice, room, member="another").status == 200
    newcomer.disconnect()
    left = time.monotonic()
    assert hooked.ask(bob, room).status == 403, "they may be changing devices"
    until("the seat is free", lambda: hooked.ask(bob, room).status == 200, 70.0, 0.5)
    took = time.monotonic() - left
    print(f"\na spare token kept the seat for {took:.1f} s")
    assert took < SPARE + 10.0


def test_a_slow_look_up_opens_no_limit_that_is_known(hooked: Stack, detour: Detour) -> None:
    room = full_room(hooked)
    (carol,) = hooked.users(1)
    hooked.request(carol, room)  # their OpenID token comes by the same Synapse
    detour.hangs = LIMIT
    try:
        time.sleep(2.5)  # what is known is not fresh any more
        for _ in range(3):
            begun = time.monotonic()
            answer = hooked.ask(carol, room)
            took = time.monotonic() - begun
            print(f"\nlimit look-ups hang: {answer.status} after {took:.2f} s")
            assert answer.status == 403
            assert took < 1.0 + 1.5, "the deadline, on a loaded machine"
    finally:
        detour.hangs = ""


def test_who_was_put_out_and_is_back_with_the_same_token_is_gone_at_once(stack: Stack) -> None:
    """By polling alone: the first time takes a pass, the others do not wait for one."""
    carol = stack.users(1)[0]
    room = stack.room()
    drawer = stack.ask(carol, room).json()["jwt"]
    (alice, bob) = stack.users(2)
    newcomer = stack.join(alice, room)
    stack.set_policy(room, LIMIT, {"max_users": 1})
    until("the guard watches", lambda: stack.ask(bob, room).status == 403, 20.0)
    time.sleep(6.5)  # two passes: from now on a newcomer is known to be new
    lived = []
    for _ in range(4):
        client = stack.join_with(drawer)
        begun = time.monotonic()
        client.hears("disconnected", 15.0)
        until("they are out", lambda: stack.identities(room) == {newcomer.identity})
        lived.append(round(time.monotonic() - begun, 2))
    print(f"\nback with the same token: out after {lived} s")
    assert max(lived[1:]) < 2.0
    newcomer.disconnect()
