"""What moderators may that others may not, on the real stack: by a real Synapse's levels."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.real.client import Client
from tests.real.conftest import require_real
from tests.real.homeserver import User
from tests.real.processes import until
from tests.real.stack import Stack, milliseconds, running_stack

TRIES = 5
NO_CAMERA_BUT_THEIRS = {"allow_camera": False, "bypass": True}
CALL_MEMBER = "org.matrix.msc3401.call.member"


@pytest.fixture(scope="module")
def permitting(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """With the room's own permission for calls, and with giving back."""
    require_real()
    switched_on = {"LOTUS_GUARD_CALL_PERMISSION": "on", "LOTUS_GUARD_GIVE_BACK": "on"}
    directory = tmp_path_factory.mktemp("permitting")
    with running_stack(directory, **switched_on) as running:  # type: ignore[arg-type]
        yield running


def power(stack: Stack, room: str, user: User, level: int, **more: Any) -> None:
    stack.set_policy(room, "m.room.power_levels", {"users": {user.user_id: level}, **more})


def is_there(stack: Stack, room: str, *clients: Client) -> bool:
    return stack.identities(room) == {client.identity for client in clients}


def hang_up(*clients: Client) -> None:
    for client in clients:
        client.disconnect()


@pytest.mark.parametrize("endpoint", ["/get_token", "/sfu/get"])
def test_a_moderator_walks_into_a_full_room_and_everybody_stays(
    stack: Stack, endpoint: str
) -> None:
    room = stack.room(limit={"max_users": 2, "bypass": True})
    alice, bob, carol, moderator = stack.users(4)
    power(stack, room, moderator, 50)
    there = [stack.join(user, room, endpoint) for user in (alice, bob)]
    assert stack.ask(carol, room, endpoint).status == 403
    there.append(stack.join(moderator, room, endpoint))
    time.sleep(5.0)  # two passes of the live loop
    assert is_there(stack, room, *there)
    full = stack.ask(carol, room, endpoint)
    assert full.json()["io.lotus.limit"] == {"max_users": 2, "users": 3}
    hang_up(there[0])
    until("one less", lambda: is_there(stack, room, *there[1:]))
    assert stack.ask(carol, room, endpoint).status == 403, "two are in it, and two may be"
    hang_up(*there[1:])


def from_demoted_to_gone(stack: Stack) -> float:
    """Have a moderator show a camera and demote them; returns how long others had it still."""
    room = stack.room(quality=NO_CAMERA_BUT_THEIRS)
    moderator, other = stack.users(2)
    power(stack, room, moderator, 50)
    watching, client = stack.join(other, room), stack.join(moderator, room)
    assert watching.publish("video", "camera").get("refused")
    camera = client.publish("video", "camera")
    assert camera["ok"]
    watching.hears("track_published", sid=camera["sid"])
    time.sleep(2.5)  # a pass of the live loop leaves it
    begun = time.time()
    power(stack, room, moderator, 49)
    gone = watching.hears("track_unpublished", 10.0, sid=camera["sid"])
    assert client.publish("video", "camera").get("refused")
    hang_up(watching, client)
    return float(gone["at"] - begun)


def test_a_moderator_keeps_the_camera_until_they_are_one_no_more(
    stack: Stack, pushing: Stack
) -> None:
    for what, running in (("polling", stack), ("pushed", pushing)):
        delays = [from_demoted_to_gone(running) for _ in range(TRIES)]
        print(
            f"\ndemoted, {what}: camera gone after median "
            f"{milliseconds(statistics.median(delays))} ms, worst {milliseconds(max(delays))} ms"
        )
        assert max(delays) < 3.0


def test_who_is_promoted_has_the_camera_back_without_joining_again(permitting: Stack) -> None:
    stack = permitting
    room = stack.room(quality=NO_CAMERA_BUT_THEIRS)
    (alice,) = stack.users(1)
    everybody = {CALL_MEMBER: 0}
    power(stack, room, alice, 0, events=everybody)
    client = stack.join(alice, room)
    assert client.publish("video", "camera").get("refused")
    time.sleep(2.5)
    begun = time.time()
    power(stack, room, alice, 50, events=everybody)

    def may_publish_all() -> bool:
        (there,) = stack.livekit.participants(stack.livekit_room(room))
        return not there["permission"].get("can_publish_sources")

    until("it is given back", may_publish_all, 10.0)
    print(f"\npromoted, polling: given back after {milliseconds(time.time() - begun)} ms")
    assert client.publish("video", "camera")["ok"]
    hang_up(client)


def test_only_a_moderator_starts_a_call(stack: Stack) -> None:
    room = stack.room(limit={"start_level": 50})
    alice, moderator = stack.users(2)
    power(stack, room, moderator, 50)
    refused = stack.ask(alice, room)
    assert refused.status == 403
    assert refused.json()["error"].startswith("Only moderators can start a call in this room.")
    first, second = stack.join(moderator, room), stack.join(alice, room)
    hang_up(first)
    time.sleep(4.5)
    assert is_there(stack, room, second), "who is in stays in"
    hang_up(second)


def test_the_rooms_own_permission_for_calls_holds(permitting: Stack) -> None:
    stack = permitting
    room = stack.room()
    alice, moderator = stack.users(2)
    power(stack, room, moderator, 50, events={CALL_MEMBER: 50})
    refused = stack.ask(alice, room)
    assert refused.status == 403
    assert refused.json()["error"].startswith("You do not have permission to join calls")
    assert stack.ask(moderator, room).status == 200
    power(stack, room, moderator, 50, events={CALL_MEMBER: 0})
    time.sleep(2.1)  # levels are remembered for two seconds where nobody pushes
    assert stack.ask(alice, room).status == 200
