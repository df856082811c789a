"""Live enforcement on the real stack: who is in the call now, whatever token they hold."""

import statistics
import time
from typing import Any

import pytest

from tests.real.delays import disguise, policy_to_track_gone
from tests.real.processes import http, until
from tests.real.stack import LIMIT, NO_VIDEO, QUALITY, Stack, milliseconds

TRIES = 20


def delays_from_policy_to_track_gone(stack: Stack) -> list[float]:
    return [policy_to_track_gone(stack) for _ in range(TRIES)]


def report(what: str, delays: list[float]) -> None:
    print(
        f"\n{what}: median {milliseconds(statistics.median(delays))} ms, "
        f"worst {milliseconds(max(delays))} ms of {len(delays)}"
    )


def test_a_policy_takes_tracks_away_by_polling_alone(stack: Stack) -> None:
    delays = delays_from_policy_to_track_gone(stack)
    report("policy to track gone, polling alone", delays)
    assert max(delays) < 3.0


def test_a_policy_takes_tracks_away_at_once_when_pushed(pushing: Stack) -> None:
    until("pushes come", lambda: "lotus_guard_push_age_seconds" in pushing.guard.metrics())
    delays = delays_from_policy_to_track_gone(pushing)
    report("policy to track gone, module and webhooks", delays)
    assert max(delays) < 3.0


def test_publishing_again_is_refused_and_sound_stays(stack: Stack) -> None:
    alice, bob = stack.users(2)
    room = stack.room()
    alice_in, bob_in = stack.join(alice, room), stack.join(bob, room)
    sound, camera = alice_in.publish("audio", "microphone"), alice_in.publish("video", "camera")
    bobs = bob_in.publish("audio", "microphone")
    bob_in.hears("track_subscribed", sid=camera["sid"])
    alice_in.hears("track_subscribed", sid=bobs["sid"])
    stack.set_policy(room, QUALITY, NO_VIDEO)
    bob_in.hears("track_unpublished", sid=camera["sid"])
    assert alice_in.publish("video", "camera").get("refused")
    assert not bob_in.heard("track_unpublished", sid=sound["sid"])
    assert not alice_in.heard("track_unpublished", sid=bobs["sid"])
    alice_in.disconnect()
    bob_in.disconnect()


def test_a_late_joiner_with_a_token_from_before_the_policy_is_narrowed(stack: Stack) -> None:
    alice, bob = stack.users(2)
    room = stack.room()
    old = stack.ask(alice, room).json()["jwt"]
    bob_in = stack.join(bob, room)
    stack.set_policy(room, QUALITY, NO_VIDEO)
    alice_in = stack.join_with(old)

    def is_narrowed() -> bool:
        there = {p["identity"]: p for p in stack.livekit.participants(stack.livekit_room(room))}
        sources = there[alice_in.identity]["permission"].get("can_publish_sources")
        return bool(sources == ["MICROPHONE"])

    until("alice is narrowed", is_narrowed, 10.0)
    assert alice_in.publish("video", "camera").get("refused")
    assert alice_in.publish("audio", "microphone")["ok"]
    alice_in.disconnect()
    bob_in.disconnect()


def test_a_track_in_disguise_is_dropped(stack: Stack, pushing: Stack) -> None:
    polled, hinted = disguise(stack), [disguise(pushing) for _ in range(5)]
    print(f"\ndisguised track, polling alone: gone after {milliseconds(polled)} ms")
    report("disguised track, with webhooks", hinted)
    assert polled < 3.0
    assert max(hinted) < 3.0
    name = 'lotus_guard_live_steps_total{outcome="done",step="silence"}'
    assert pushing.guard.metrics()[name] >= 5.0


def test_a_token_from_a_drawer_does_not_overfill_a_room(stack: Stack) -> None:
    alice, bob, carol = stack.users(3)
    room = stack.room()
    drawer = stack.ask(carol, room).json()["jwt"]
    alice_in, bob_in = stack.join(alice, room), stack.join(bob, room)
    stack.set_policy(room, LIMIT, {"max_users": 2})
    until("the guard watches", lambda: stack.ask(carol, room).status == 403, 20.0)
    time.sleep(4.5)  # two passes: from now on a newcomer is known to be new
    for _ in range(2):
        stack.join_with(drawer).hears("disconnected", 15.0)
        until("alice is out", lambda: len(stack.identities(room)) == 2)
    assert stack.identities(room) == {alice_in.identity, bob_in.identity}
    alice_in.disconnect()
    bob_in.disconnect()


def test_a_lowered_cap_puts_nobody_out(stack: Stack) -> None:
    room = stack.room(limit={"max_users": 3})
    people = [stack.join(user, room) for user in stack.users(3)]
    until("all are there", lambda: len(stack.identities(room)) == 3)
    stack.set_policy(room, LIMIT, {"max_users": 1})
    time.sleep(7.0)
    assert stack.identities(room) == {client.identity for client in people}
    for client in people:
        client.disconnect()


def test_a_second_device_and_a_page_reload_of_a_seated_user(stack: Stack) -> None:
    room = stack.room(limit={"max_users": 1})
    (alice,) = stack.users(1)
    page = stack.join(alice, room, device="LAPTOP", member="page1")
    phone = stack.join(alice, room, device="PHONE", member="phone")
    reloaded = stack.join(alice, room, device="LAPTOP", member="page2")
    page.disconnect()
    time.sleep(5.0)
    assert stack.identities(room) == {phone.identity, reloaded.identity}
    phone.disconnect()
    reloaded.disconnect()


def test_kill_9_in_mid_call_forgets_nobody(stack: Stack) -> None:
    alice, bob, carol = stack.users(3)
    room = stack.room(limit={"max_users": 2})
    alice_in, bob_in = stack.join(alice, room), stack.join(bob, room)
    camera = alice_in.publish("video", "camera")
    bob_in.hears("track_subscribed", sid=camera["sid"])
    assert stack.ask(carol, room).status == 403
    stack.guard.process.kill()
    stack.guard.process.start()
    assert stack.ask(carol, room).status == 403
    assert stack.ask(alice, room, member="reloaded").json().get("jwt")
    assert stack.ask(carol, room).json()["io.lotus.limit"] == {"max_users": 2, "users": 2}
    stack.set_policy(room, QUALITY, NO_VIDEO)
    bob_in.hears("track_unpublished", 10.0, sid=camera["sid"])
    assert stack.identities(room) == {alice_in.identity, bob_in.identity}
    alice_in.disconnect()
    bob_in.disconnect()


def test_livekit_restarted_in_mid_call(stack: Stack) -> None:
    people = stack.users(3)
    room = stack.room(limit={"max_users": 3})
    before = [stack.join(user, room) for user in people]
    until("all are there", lambda: len(stack.identities(room)) == 3)
    stack.set_policy(room, LIMIT, {"max_users": 1})
    time.sleep(4.5)
    stack.livekit.process.kill()
    stack.livekit.process.start()
    back = [stack.join(user, room, member="back") for user in people[:1]]
    until("alice is back", lambda: back[0].identity in stack.identities(room))
    time.sleep(5.0)
    assert back[0].identity in stack.identities(room)
    passes = stack.guard.metrics()["lotus_guard_live_last_good_pass_age_seconds"]
    assert passes < 5.0, "the loop goes on"
    for client in [*before, *back]:
        client.disconnect()


def test_hanging_up_frees_the_seat_at_once_where_webhooks_come(pushing: Stack) -> None:
    alice, bob = pushing.users(2)
    room = pushing.room(limit={"max_users": 1})
    alice_in = pushing.join(alice, room)
    until("alice is seen", lambda: pushing.identities(room))
    assert pushing.ask(bob, room).status == 403
    begun = time.time()
    alice_in.disconnect()
    until("the seat is free", lambda: pushing.ask(bob, room).status == 200, 8.0)
    print(f"\nhung up to seat free, with webhooks: {milliseconds(time.time() - begun)} ms")


def test_forged_webhooks_change_nothing(pushing: Stack) -> None:
    (alice,) = pushing.users(1)
    room = pushing.room(limit={"max_users": 1})
    alice_in = pushing.join(alice, room)
    name = "lotus_guard_webhooks_forged_total"
    before = pushing.guard.metrics()[name]
    body = b'{"event": "participant_left", "room": {"name": "x"}, "id": "EV_1"}'
    for token in ("", "Bearer x", "eyJhbGciOiJub25lIn0.e30."):
        headers = {"Authorization": token, "Content-Type": "application/webhook+json"}
        assert http("POST", f"{pushing.guard.url}/sfu_webhook", body, headers).status == 200
    assert pushing.guard.metrics()[name] == before + 3
    assert "lotus_guard_webhook_age_seconds" in pushing.guard.metrics()
    assert pushing.identities(room) == {alice_in.identity}
    alice_in.disconnect()


@pytest.mark.parametrize("content", [{"max_users": "five"}, {"max_users": 0}, {"max_users": True}])
def test_the_module_tells_who_sets_a_senseless_policy(pushing: Stack, content: Any) -> None:
    room = pushing.room()
    answer = pushing.synapse.set_state(pushing.synapse.admin, room, LIMIT, content)
    assert answer.status == 400
    assert "an integer of at least 1" in answer.json()["error"]


def test_the_guard_away_never_delays_an_event(pushing: Stack) -> None:
    room = pushing.room()
    pushing.guard.process.pause()
    took = []
    try:
        for number in (1, 2, 3):
            begun = time.monotonic()
            pushing.set_policy(room, LIMIT, {"max_users": number})
            took.append(time.monotonic() - begun)
    finally:
        pushing.guard.process.go_on()
    assert max(took) < 5.0
