"""Participants who write so much that nobody could read who is in the call with them."""

import time
from contextlib import ExitStack
from pathlib import Path

from tests.real.hostile.signalling import SignalProxy, named
from tests.real.hostile.watching import Yard, yard_beside
from tests.real.processes import until
from tests.real.stack import LIMIT, NO_VIDEO, QUALITY, Stack, milliseconds

CURBED = 'lotus_guard_live_steps_total{outcome="done",step="curb"}'
TOO_LONG = 33_000_000


def curbed(stack: Stack) -> float:
    return stack.guard.metrics().get(CURBED, 0.0)


def opened(stack: Stack) -> float:
    found = stack.guard.metrics().items()
    return sum(value for name, value in found if name.startswith("lotus_guard_fail_open_total"))


def flood(yard: Yard, token: str, proxy: SignalProxy) -> str:
    """Join and publish a track with a name that nobody can read; gives who it was."""
    client = yard.join_with(token, proxy.url)
    yard.begin_publishing(client, "audio", "microphone")
    return client.identity


def test_a_camera_goes_from_a_room_that_cannot_be_read(stack: Stack, tmp_path: Path) -> None:
    alice, bob, carol = stack.users(3)
    room = stack.room()
    old, loud = stack.ask(carol, room).json()["jwt"], stack.ask(alice, room).json()["jwt"]
    stack.set_policy(room, QUALITY, NO_VIDEO)
    before = curbed(stack)
    with ExitStack() as ends:
        proxy = ends.enter_context(SignalProxy(stack.livekit.port, named(TOO_LONG)))
        yard = ends.enter_context(yard_beside(stack, tmp_path))
        watcher = yard.watcher(bob, room)
        hers = yard.join_with(old)
        culprit = flood(yard, loud, proxy)
        watcher.hears("track_published", 20.0, identity=culprit)
        since = yard.begin_publishing(hers, "video", "camera")
        lived = yard.lived(watcher, since)
        print(f"\ncamera in a room that cannot be read: lived {milliseconds(lived)} ms")
        until("the culprit is curbed", lambda: curbed(stack) > before, 10.0)
        permission = stack.livekit.permission(stack.alias(room), culprit)
        assert not permission.get("can_publish")
        assert permission.get("can_subscribe")
        assert lived < 4.0


def test_who_has_no_seat_goes_from_a_room_that_cannot_be_read(stack: Stack, tmp_path: Path) -> None:
    alice, bob, carol = stack.users(3)
    room = stack.room()
    drawer = stack.ask(carol, room).json()["jwt"]
    with ExitStack() as ends:
        proxy = ends.enter_context(SignalProxy(stack.livekit.port, named(TOO_LONG)))
        yard = ends.enter_context(yard_beside(stack, tmp_path))
        yard.watcher(bob, room)
        loud = stack.ask(alice, room).json()["jwt"]
        his = yard.join_with(stack.ask(alice, room, device="PHONE").json()["jwt"])
        stack.set_policy(room, LIMIT, {"max_users": 2})
        until("the guard watches", lambda: stack.ask(carol, room).status == 403, 20.0)
        time.sleep(4.5)  # two passes: from now on a newcomer is known to be new
        culprit = flood(yard, loud, proxy)
        his.hears("track_published", 20.0, identity=culprit)
        hers, begun = yard.join_with(drawer), time.time()
        gone = hers.hears("disconnected", 20.0)
        print(
            f"\nno seat, in a room that cannot be read: there {milliseconds(gone['at'] - begun)} ms"
        )
        assert gone["at"] - begun < 8.0


def test_one_seated_user_opens_no_full_room_by_volume(stack: Stack, tmp_path: Path) -> None:
    alice, outsider = stack.users(2)
    room = stack.room(limit={"max_users": 1})
    before = opened(stack)
    statuses = []
    with ExitStack() as ends:
        proxy = ends.enter_context(SignalProxy(stack.livekit.port, named(30_000_000)))
        yard = ends.enter_context(yard_beside(stack, tmp_path))
        for number in range(8):
            token = stack.ask(alice, room, slot=f"slot{number}").json()["jwt"]
            flood(yard, token, proxy)
            statuses.append(stack.ask(outsider, room).status)
        end = time.monotonic() + 6.0
        while time.monotonic() < end:
            statuses.append(stack.ask(outsider, room).status)
    print(f"\nasked {len(statuses)} times for a seat beside 8 slots of 30 MB: {set(statuses)}")
    assert set(statuses) == {403}
    assert opened(stack) == before
