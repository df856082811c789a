"""What was taken in a call is given back, on the real stack: nobody has to join anew."""

import statistics
import time
from collections.abc import Iterator
from typing import Any

import pytest

from tests.real.client import Client
from tests.real.conftest import require_real
from tests.real.processes import until
from tests.real.stack import NO_VIDEO, QUALITY, Stack, milliseconds, running_stack

TRIES = 5
NO_CAMERA = {"allow_camera": False}
WITHOUT_CAMERA = ["microphone", "screen_share", "screen_share_audio"]


@pytest.fixture(scope="module")
def giving(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """By polling alone."""
    require_real()
    with running_stack(tmp_path_factory.mktemp("giving"), LOTUS_GUARD_GIVE_BACK="on") as running:
        yield running


@pytest.fixture(scope="module")
def pushed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    """With the module in Synapse, and LiveKit's webhooks."""
    require_real()
    with running_stack(
        tmp_path_factory.mktemp("giving-pushed"), modules=True, LOTUS_GUARD_GIVE_BACK="on"
    ) as running:
        yield running


def permission(stack: Stack, room: str, identity: str) -> Any:
    return stack.livekit.permission(stack.livekit_room(room), identity)


def may_publish_all(stack: Stack, room: str, identity: str) -> bool:
    found = permission(stack, room, identity)
    return bool(found.get("can_publish") and not found.get("can_publish_sources"))


def narrowed(stack: Stack) -> tuple[str, Client]:
    """A call in which somebody has lost their camera."""
    alice, room = stack.users(1)[0], stack.room()
    alice_in = stack.join(alice, room)
    assert alice_in.publish("video", "camera")["ok"]
    stack.set_policy(room, QUALITY, NO_CAMERA)
    alice_in.hears("permissions", 15.0, sources=WITHOUT_CAMERA)
    return room, alice_in


def lifted_to_given(stack: Stack) -> float:
    """Lift a policy; returns the seconds until the client hears that it may publish again."""
    room, alice_in = narrowed(stack)
    begun = time.time()
    stack.set_policy(room, QUALITY, {})
    given = alice_in.hears(
        "permissions", 15.0, can_publish=True, sources=[], identity=alice_in.identity
    )
    assert alice_in.publish("video", "camera")["ok"], "without joining anew"
    alice_in.disconnect()
    return float(given["at"] - begun)


def report(what: str, delays: list[float]) -> None:
    print(
        f"\n{what}: median {milliseconds(statistics.median(delays))} ms, "
        f"worst {milliseconds(max(delays))} ms of {len(delays)}"
    )


def test_a_lifted_policy_gives_the_camera_back_by_polling_alone(giving: Stack) -> None:
    delays = [lifted_to_given(giving) for _ in range(TRIES)]
    report("policy lifted to camera allowed, polling alone", delays)
    assert max(delays) < 4.0
    assert giving.guard.metrics()['lotus_guard_live_steps_total{outcome="done",step="give_back"}']


def test_a_lifted_policy_gives_the_camera_back_at_once_when_pushed(pushed: Stack) -> None:
    until("pushes come", lambda: "lotus_guard_push_age_seconds" in pushed.guard.metrics())
    delays = [lifted_to_given(pushed) for _ in range(TRIES)]
    report("policy lifted to camera allowed, pushed", delays)
    assert max(delays) < 3.0


def test_what_the_token_withheld_comes_too(pushed: Stack) -> None:
    (alice,), room = pushed.users(1), pushed.room(quality=NO_VIDEO)
    alice_in = pushed.join(alice, room)
    assert alice_in.publish("video", "camera").get("refused")
    pushed.set_policy(room, QUALITY, {})
    until("it is given", lambda: may_publish_all(pushed, room, alice_in.identity), 10.0)
    assert alice_in.publish("video", "camera")["ok"]
    alice_in.disconnect()


def test_what_somebody_else_took_stays_taken(giving: Stack) -> None:
    room, alice_in = narrowed(giving)
    allowed = permission(giving, room, alice_in.identity)
    assert [each.lower() for each in allowed["can_publish_sources"]] == WITHOUT_CAMERA
    theirs = {**allowed, "can_publish_sources": ["MICROPHONE"]}
    giving.livekit.update(giving.livekit_room(room), alice_in.identity, theirs)
    time.sleep(4.5)  # two passes
    giving.set_policy(room, QUALITY, {})
    time.sleep(6.5)
    assert permission(giving, room, alice_in.identity) == theirs
    alice_in.disconnect()


def test_a_restart_in_between_forgets_nobody(giving: Stack) -> None:
    room, alice_in = narrowed(giving)
    time.sleep(2.5)  # the look that shows it
    giving.guard.process.kill()
    giving.set_policy(room, QUALITY, {})
    giving.guard.process.start()
    until("it is given", lambda: may_publish_all(giving, room, alice_in.identity), 10.0)
    alice_in.disconnect()


def test_who_was_silenced_for_a_disguise_stays_silent(pushed: Stack) -> None:
    (alice,), room = pushed.users(1), pushed.room(quality=NO_VIDEO)
    alice_in = pushed.join(alice, room)
    assert alice_in.publish("video", "microphone")["ok"], "LiveKit checks only what is declared"
    alice_in.hears("permissions", 15.0, can_publish=False)
    pushed.set_policy(room, QUALITY, {})
    time.sleep(5.0)
    assert not permission(pushed, room, alice_in.identity).get("can_publish")
    alice_in.disconnect()
