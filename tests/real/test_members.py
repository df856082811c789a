"""Members only, on the real stack: who gets no token, who is put out, and how soon."""

import statistics
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.real.conftest import require_real
from tests.real.homeserver import User
from tests.real.processes import Answer, until
from tests.real.stack import Stack, milliseconds, running_stack

BOTH = ("/get_token", "/sfu/get")
TRIES = 20
SENTENCE = "You are not a member of this room."


def outside(stack: Stack, user: User, room: str, endpoint: str = "/get_token") -> Answer:
    """Ask for a token without joining the room."""
    return stack.ask(user, room, endpoint, outside=True)


def is_refused(answer: Answer) -> bool:
    if answer.status != 403:
        return False
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert answer.json()["errcode"] == "M_FORBIDDEN"
    return bool(answer.json()["error"].startswith(SENTENCE))


def private_room(stack: Stack, rule: str = "invite") -> str:
    room = stack.room()
    stack.set_policy(room, "m.room.join_rules", {"join_rule": rule})
    return room


def moderate(stack: Stack, room: str, how: str, user: User) -> None:
    stack.synapse.membership(stack.synapse.admin, room, how, user)


def end_by(how: str) -> Callable[[Stack, str, User], None]:
    if how == "leave":
        return lambda stack, room, user: stack.synapse.membership(user, room, "leave")
    if how == "deactivate":
        return lambda stack, room, user: stack.synapse.deactivate(user)
    return lambda stack, room, user: moderate(stack, room, how, user)


@pytest.mark.parametrize("endpoint", BOTH)
def test_strangers_and_those_who_are_invited_or_knock_get_no_token(
    stack: Stack, endpoint: str
) -> None:
    room = private_room(stack)
    stranger, invited = stack.users(2)
    moderate(stack, room, "invite", invited)
    assert is_refused(outside(stack, stranger, room, endpoint))
    assert is_refused(outside(stack, invited, room, endpoint))
    stack.synapse.membership(invited, room, "join")
    assert outside(stack, invited, room, endpoint).status == 200, "a join is seen at once"
    knocked_on = private_room(stack, "knock")
    stack.synapse.membership(stranger, knocked_on, "knock")
    assert is_refused(outside(stack, stranger, knocked_on, endpoint))


@pytest.mark.parametrize("how", ["kick", "ban", "leave"])
def test_who_has_left_a_room_gets_no_token_and_gets_one_when_they_are_back(
    stack: Stack, how: str
) -> None:
    room = stack.room()
    (alice,) = stack.users(1)
    assert stack.ask(alice, room).status == 200
    end_by(how)(stack, room, alice)
    time.sleep(2.1)  # a yes lives for two seconds
    assert is_refused(outside(stack, alice, room))
    if how == "ban":
        moderate(stack, room, "unban", alice)
        assert is_refused(outside(stack, alice, room))
    stack.synapse.membership(alice, room, "join")
    assert outside(stack, alice, room).status == 200


def test_a_room_that_the_homeserver_does_not_know_is_nobodys(stack: Stack) -> None:
    (alice,) = stack.users(1)
    invented = f"!invented:{stack.synapse.name}"
    assert is_refused(outside(stack, alice, invented))


def test_a_room_that_one_may_join_for_being_in_another_has_members_of_its_own(
    stack: Stack,
) -> None:
    space = stack.room()
    room = private_room(stack)
    rules = {"join_rule": "restricted", "allow": [{"type": "m.room_membership", "room_id": space}]}
    stack.set_policy(room, "m.room.join_rules", rules)
    (alice,) = stack.users(1)
    stack.synapse.membership(alice, space, "join")
    assert is_refused(outside(stack, alice, room)), "to be allowed to join is not to be in"
    stack.synapse.membership(alice, room, "join")
    assert outside(stack, alice, room).status == 200


def test_who_can_read_a_room_without_being_in_it_is_no_member(stack: Stack) -> None:
    room = stack.room()
    stack.set_policy(room, "m.room.history_visibility", {"history_visibility": "world_readable"})
    (alice,) = stack.users(1)
    assert is_refused(outside(stack, alice, room))


@pytest.mark.parametrize("how", ["kick", "ban", "leave", "deactivate"])
def test_who_leaves_the_room_leaves_its_call_and_the_others_stay(stack: Stack, how: str) -> None:
    room = stack.room()
    alice, bob = stack.users(2)
    alice_in, bob_in = stack.join(alice, room), stack.join(bob, room)
    camera = bob_in.publish("video", "camera")
    alice_in.hears("track_subscribed", sid=camera["sid"])
    end_by(how)(stack, room, bob)
    bob_in.hears("disconnected")
    alice_in.hears("track_unpublished", sid=camera["sid"])
    until("bob is gone", lambda: len(stack.identities(room)) == 1, 10.0)
    assert not alice_in.heard("disconnected")
    alice_in.disconnect()


def test_an_old_token_after_a_kick_opens_nothing_for_long(stack: Stack) -> None:
    room = stack.room()
    alice, bob = stack.users(2)
    alice_in = stack.join(alice, room)
    old = stack.ask(bob, room).json()["jwt"]
    moderate(stack, room, "kick", bob)
    time.sleep(2.1)
    bob_in = stack.join_with(old)
    bob_in.hears("disconnected")
    until("bob is gone", lambda: len(stack.identities(room)) == 1, 10.0)
    again = stack.clients.new()
    if again.connect(stack.livekit.url, old)["ok"]:
        again.hears("disconnected")
    alice_in.disconnect()


def test_the_seat_of_who_is_kicked_is_free_at_once(pushing: Stack) -> None:
    room = pushing.room(limit={"max_users": 1})
    alice, bob = pushing.users(2)
    alice_in = pushing.join(alice, room)
    until("alice is seen", lambda: len(pushing.identities(room)) == 1)
    assert pushing.ask(bob, room).status == 403
    moderate(pushing, room, "kick", alice)
    alice_in.hears("disconnected")
    until("the seat is free", lambda: pushing.ask(bob, room).status == 200, 3.0, 0.1)


def test_a_member_who_is_kicked_and_back_before_anybody_looked_stays(stack: Stack) -> None:
    room = stack.room()
    (alice,) = stack.users(1)
    alice_in = stack.join(alice, room)
    moderate(stack, room, "kick", alice)
    stack.synapse.membership(alice, room, "join")
    time.sleep(5.0)
    assert not alice_in.heard("disconnected")
    alice_in.disconnect()


def test_outsiders_cannot_keep_the_members_out_of_their_call(stack: Stack) -> None:
    room = private_room(stack)
    stack.set_policy(room, "io.lotus.voice_limit", {"max_users": 3})
    members, strangers = stack.users(3), stack.users(3)
    for each in members:
        moderate(stack, room, "invite", each)
    for _ in range(3):
        assert all(is_refused(outside(stack, each, room)) for each in strangers)
    tokens = [stack.ask(each, room) for each in members]
    print(f"\nsquatting: {[each.status for each in tokens]} for the members of a room for three")
    assert [each.status for each in tokens] == [200] * 3


def kick_to_media_gone(stack: Stack) -> float:
    """Kick somebody who shows a camera; returns the seconds until the others have lost it."""
    room = stack.room()
    alice, bob = stack.users(2)
    alice_in, bob_in = stack.join(alice, room), stack.join(bob, room)
    camera = bob_in.publish("video", "camera")
    alice_in.hears("track_subscribed", sid=camera["sid"])
    begun = time.time()
    moderate(stack, room, "kick", bob)
    gone = alice_in.hears("track_unpublished", sid=camera["sid"])
    alice_in.disconnect()
    took: float = gone["at"] - begun
    return took


def report(what: str, delays: list[float]) -> None:
    print(
        f"\n{what}: median {milliseconds(statistics.median(delays))} ms, "
        f"worst {milliseconds(max(delays))} ms of {len(delays)}"
    )


def test_a_kick_ends_somebodys_media_by_polling_alone(stack: Stack) -> None:
    delays = [kick_to_media_gone(stack) for _ in range(TRIES)]
    report("kick to media gone, polling alone", delays)
    assert max(delays) < 6.0


def test_a_kick_ends_somebodys_media_at_once_when_it_is_pushed(pushing: Stack) -> None:
    until("pushes come", lambda: "lotus_guard_push_age_seconds" in pushing.guard.metrics())
    delays = [kick_to_media_gone(pushing) for _ in range(TRIES)]
    report("kick to media gone, module and webhooks", delays)
    assert max(delays) < 2.0


def test_troubles_put_nobody_out_and_who_is_outside_goes_once_they_are_over(
    tmp_path: Path,
) -> None:
    require_real()
    with running_stack(tmp_path) as stack:
        room = stack.room()
        alice, bob = stack.users(2)
        alice_in, bob_in = stack.join(alice, room), stack.join(bob, room)
        stack.synapse.process.pause()
        time.sleep(6.0)
        stack.synapse.process.go_on()
        assert not alice_in.heard("disconnected")
        assert not bob_in.heard("disconnected")
        moderate(stack, room, "kick", bob)
        bob_in.hears("disconnected")
        assert not alice_in.heard("disconnected")
        stack.livekit.process.kill()
        stack.livekit.process.start()
        until("alice may come back", lambda: stack.ask(alice, room).status == 200)
        assert is_refused(outside(stack, bob, room))
        # Their first device comes back by itself.
        laptop_in = stack.join(alice, room, device="LAPTOP")
        time.sleep(5.0)
        assert not laptop_in.heard("disconnected")
        laptop_in.disconnect()
