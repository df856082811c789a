"""Participants who write so much that nobody could read who is in the call with them."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from attrs import define

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import livekit_room_of
from tests.real.client import Client
from tests.real.hostile.signalling import SignalProxy, named
from tests.real.hostile.watching import Yard, is_narrowed, yard_beside
from tests.real.processes import until
from tests.real.stack import LIMIT, NO_VIDEO, QUALITY, Stack, milliseconds

CURBED = 'lotus_guard_live_steps_total{outcome="done",step="curb"}'
TOO_LONG = 34_000_000
LONG = 30_000_000
"""Each of these could be read, in its time; ten of them not."""


def curbed(stack: Stack) -> float:
    return stack.guard.metrics().get(CURBED, 0.0)


def opened(stack: Stack) -> float:
    found = stack.guard.metrics().items()
    return sum(value for name, value in found if name.startswith("lotus_guard_fail_open_total"))


@define
class Flood:
    """A yard, a proxy for those who say too much, and one for the others."""

    yard: Yard
    loud: SignalProxy
    others: SignalProxy

    def begin(self, token: str) -> str:
        """Join and publish a track with a name that nobody can read; returns who it was."""
        client = self.yard.join_with(token, self.loud.url)
        self.yard.begin_publishing(client, "audio", "microphone")
        return client.identity

    def join(self, token: str) -> Client:
        return self.yard.join_with(token, self.others.url)


@pytest.fixture
def length() -> int:
    """So many bytes of a track's name."""
    return TOO_LONG


@pytest.fixture
def flood(stack: Stack, tmp_path: Path, length: int) -> Iterator[Flood]:
    port = stack.livekit.port
    with (
        SignalProxy(port, named(length)) as loud,
        SignalProxy(port) as others,
        yard_beside(stack, tmp_path) as yard,
    ):
        yield Flood(yard, loud, others)


def is_listed(stack: Stack, livekit_room: str, identity: str) -> bool:
    """Whether LiveKit lists a track of one with a name that is too long."""
    grant = {"roomAdmin": True, "room": livekit_room}
    told = stack.livekit.call("GetParticipant", grant, {"room": livekit_room, "identity": identity})
    return any(len(track.get("name", "")) >= LONG for track in told.get("tracks", []))


def has_flooded(stack: Stack, livekit_room: str, identity: str) -> bool:
    """Whether one publishes such a track, or has done so and been curbed for it already.

    Who watches need not have heard of it then: the guard may be quicker than 34 MB are.
    """
    permission = stack.livekit.permission(livekit_room, identity)
    return not permission.get("can_publish") or is_listed(stack, livekit_room, identity)


def test_a_camera_goes_from_a_room_that_cannot_be_read(stack: Stack, flood: Flood) -> None:
    alice, bob, carol = stack.users(3)
    room = stack.room()
    old, loud = stack.ask(carol, room).json()["jwt"], stack.ask(alice, room).json()["jwt"]
    stack.set_policy(room, QUALITY, NO_VIDEO)
    before = curbed(stack)
    watcher = flood.yard.watcher(bob, room, flood.others.url)
    culprit = flood.begin(loud)
    until("the flood is on", lambda: has_flooded(stack, stack.livekit_room(room), culprit), 20.0)
    newcomer = flood.join(old)
    since = flood.yard.begin_publishing(newcomer, "video", "camera")
    livekit_room = stack.livekit_room(room)
    until(
        "they are narrowed",
        lambda: is_narrowed(stack.livekit, livekit_room, newcomer.identity),
        4.0,
    )
    lived = flood.yard.lived(watcher, since, identity=newcomer.identity)
    print(f"\ncamera in a room that cannot be read: lived {milliseconds(lived)} ms")
    until("the culprit is curbed", lambda: curbed(stack) > before, 10.0)
    permission = stack.livekit.permission(stack.livekit_room(room), culprit)
    assert not permission.get("can_publish")
    assert permission.get("can_subscribe")
    assert lived < 4.0


def test_nobody_hides_behind_a_token_for_another_slot(stack: Stack, flood: Flood) -> None:
    """The same identity may be issued for two LiveKit rooms; it is asked after in both.

    Beside people who say as much as they may, the beginning of the list does not name the loud one.
    """
    mallory, bob = stack.users(2)
    room = stack.room()
    names = [f"m{number}" for number in range(9)]
    fillers = [stack.ask(mallory, room, member=name).json()["jwt"] for name in names[:7]]
    loud, old = (stack.ask(mallory, room, member=name).json()["jwt"] for name in names[7:])
    for name in names:
        assert stack.ask(mallory, room, member=name, slot="another").status == 200
    stack.set_policy(room, QUALITY, NO_VIDEO)
    watcher = flood.yard.watcher(bob, room, flood.others.url)
    with SignalProxy(stack.livekit.port, named(30_000)) as wordy:
        for token in fillers:
            filler = flood.yard.join_with(token, wordy.url)
            flood.yard.begin_publishing(filler, "audio", "microphone")
            watcher.hears("track_published", 20.0, identity=filler.identity)
        culprit = flood.begin(loud)
        until(
            "the flood is on", lambda: has_flooded(stack, stack.livekit_room(room), culprit), 20.0
        )
        newcomer = flood.join(old)
        since = flood.yard.begin_publishing(newcomer, "video", "camera")
        livekit_room = stack.livekit_room(room)
        until(
            "it is narrowed",
            lambda: is_narrowed(stack.livekit, livekit_room, newcomer.identity),
            4.0,
        )
        lived = flood.yard.lived(watcher, since, identity=newcomer.identity)
    print(f"\ncamera of one with a token for another slot: lived {milliseconds(lived)} ms")
    assert lived < 4.0


def test_who_has_no_seat_goes_from_a_room_that_cannot_be_read(stack: Stack, flood: Flood) -> None:
    alice, bob, carol = stack.users(3)
    room = stack.room()
    drawer = stack.ask(carol, room).json()["jwt"]
    loud = stack.ask(alice, room).json()["jwt"]
    flood.yard.watcher(bob, room, flood.others.url)
    flood.join(stack.ask(alice, room, device="PHONE").json()["jwt"])
    stack.set_policy(room, LIMIT, {"max_users": 2})
    until("the guard watches", lambda: stack.ask(carol, room).status == 403, 20.0)
    time.sleep(4.5)  # two passes: from now on a newcomer is known to be new
    before = curbed(stack)
    culprit = flood.begin(loud)
    until("the flood is on", lambda: has_flooded(stack, stack.livekit_room(room), culprit), 20.0)
    newcomer, begun = flood.join(drawer), time.time()
    gone = newcomer.hears("disconnected", 20.0)
    print(f"\nno seat, in a room that cannot be read: {milliseconds(gone['at'] - begun)} ms")
    assert curbed(stack) > before
    assert gone["at"] - begun < 8.0


@pytest.mark.parametrize("length", [LONG])
def test_one_seated_user_opens_no_full_room_by_volume(stack: Stack, flood: Flood) -> None:
    alice, outsider = stack.users(2)
    room = stack.room(limit={"max_users": 1})
    before = opened(stack)
    statuses = []
    watched = 0
    for number in range(10):
        slot = f"slot{number}"
        token = stack.ask(alice, room, slot=slot).json()["jwt"]
        culprit = flood.begin(token)
        livekit_room = livekit_room_of(RoomId(room), slot)
        end = time.monotonic() + 5.0
        while time.monotonic() < end:
            statuses.append(stack.ask(outsider, room).status)
            if is_listed(stack, livekit_room, culprit):
                watched += 1
                break
    for _ in range(50):
        statuses.append(stack.ask(outsider, room).status)
    print(f"\nasked {len(statuses)} times beside {watched} slots of 30 MB: {set(statuses)}")
    assert watched >= 4, "the flood was there"
    assert set(statuses) == {403}
    assert opened(stack) == before
