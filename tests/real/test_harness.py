"""The real parts without the guard: what its tests stand on, and why the guard is needed.

The guard is not started here, so where these fail the fault is the harness's or a real part's.
"""

import time
from collections.abc import Iterator
from itertools import count
from typing import Any

import pytest

from tests.real.client import Client
from tests.real.conftest import require_real
from tests.real.processes import until
from tests.real.sfu import make_token
from tests.real.stack import Stack, milliseconds, running_stack

_rooms = count(1)


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    require_real()
    begun = time.monotonic()
    with running_stack(tmp_path_factory.mktemp("bare"), guarded=False) as running:
        print(f"\nreal parts up after {time.monotonic() - begun:.1f} s")
        yield running


@pytest.fixture
def room(bare: Stack) -> str:
    """A LiveKit room that no Matrix room stands behind."""
    name = f"bare{next(_rooms)}"
    bare.livekit.create_room(name)
    return name


def two(bare: Stack, room: str, **video: Any) -> tuple[Client, Client]:
    """Alice, with what the grant of their token says, and Bob, who may do everything."""
    alice_in = bare.join_with(make_token(room, "alice", **video))
    return alice_in, bare.join_with(make_token(room, "bob"))


def part(*clients: Client) -> None:
    for client in clients:
        client.disconnect()


@pytest.mark.parametrize("endpoint", ["/get_token", "/sfu/get"])
def test_an_openid_token_becomes_a_call_with_a_camera(bare: Stack, endpoint: str) -> None:
    room, via = bare.room(), f"http://127.0.0.1:{bare.upstream.port}"
    alice_in, bob_in = (bare.join(user, room, endpoint, via=via) for user in bare.users(2))
    camera = alice_in.publish("video", "camera")
    assert camera["ok"], camera
    bob_in.hears("track_subscribed", sid=camera["sid"], identity=alice_in.identity, source="camera")
    until("frames arrive", lambda: bob_in.frames().get(camera["sid"], 0) > 3)
    assert bare.identities(room) == {alice_in.identity, bob_in.identity}
    assert alice_in.unpublish(camera["sid"])["ok"]
    bob_in.hears("track_unpublished", sid=camera["sid"])
    part(alice_in, bob_in)


def test_the_sfu_refuses_what_the_token_does_not_name(bare: Stack, room: str) -> None:
    alice_in, bob_in = two(bare, room, canPublishSources=["microphone"])
    assert alice_in.state()["sources"] == ["microphone"]
    refused = alice_in.publish("video", "camera")
    assert (refused["ok"], refused.get("refused")) == (False, True), refused
    sound = alice_in.publish("audio", "microphone")
    assert sound["ok"], sound
    bob_in.hears("track_subscribed", sid=sound["sid"])
    assert not bob_in.heard("track_published", kind="video")
    part(alice_in, bob_in)


@pytest.mark.parametrize(("kind", "source"), [("video", "microphone"), ("audio", "camera")])
def test_the_sfu_takes_a_disguised_track(bare: Stack, room: str, kind: str, source: str) -> None:
    alice_in, bob_in = two(bare, room, canPublishSources=[source])
    disguised = alice_in.publish(kind, source)
    assert disguised["ok"], disguised
    bob_in.hears("track_subscribed", sid=disguised["sid"], kind=kind, source=source)
    if kind == "video":
        until("frames arrive", lambda: bob_in.frames().get(disguised["sid"], 0) > 3)
    part(alice_in, bob_in)


def test_update_participant_takes_a_track_away(bare: Stack, room: str) -> None:
    """Reports a figure; asserts only that the track goes and the others stay."""
    alice_in, bob_in = two(bare, room)
    camera, sound = alice_in.publish("video", "camera"), alice_in.publish("audio", "microphone")
    for track in (camera, sound):
        bob_in.hears("track_subscribed", sid=track["sid"])
    permission = bare.livekit.permission(room, "alice")
    begun = time.time()
    bare.livekit.update(room, "alice", {**permission, "can_publish_sources": ["MICROPHONE"]})
    answered = time.time()
    gone = bob_in.hears("track_unpublished", sid=camera["sid"])
    alice_in.hears("permissions", identity="alice", sources=["microphone"])
    print(
        f"\nUpdateParticipant: answered after {milliseconds(answered - begun)} ms, "
        f"camera gone for the other after {milliseconds(gone['at'] - begun)} ms"
    )
    assert alice_in.publish("video", "camera").get("refused") is True
    assert not bob_in.heard("track_unpublished", sid=sound["sid"])
    part(alice_in, bob_in)


def test_a_removed_participant_comes_back_with_the_same_token(bare: Stack, room: str) -> None:
    token = make_token(room, "alice")
    for _ in range(2):
        alice_in = bare.join_with(token)
        until("alice is there", lambda: bare.livekit.identities(room) == {"alice"})
        bare.livekit.remove(room, "alice")
        alice_in.hears("disconnected")
        until("alice is out", lambda: not bare.livekit.identities(room))
    assert room in bare.livekit.rooms()


def test_one_process_holds_fourteen_clients(bare: Stack, room: str) -> None:
    begun = time.monotonic()
    people = [bare.join_with(make_token(room, f"user{n}")) for n in range(14)]
    until("all are there", lambda: len(bare.livekit.identities(room)) == 14)
    print(f"\n14 clients joined in {time.monotonic() - begun:.1f} s")
    part(*people)
