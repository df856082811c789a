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
    """Alice, with what her token's grant says, and Bob, who may do everything."""
    hers = bare.join_with(make_token(room, "alice", **video))
    return hers, bare.join_with(make_token(room, "bob"))


def part(*clients: Client) -> None:
    for client in clients:
        client.disconnect()


@pytest.mark.parametrize("endpoint", ["/get_token", "/sfu/get"])
def test_an_openid_token_becomes_a_call_with_a_camera(bare: Stack, endpoint: str) -> None:
    room, via = bare.room(), f"http://127.0.0.1:{bare.upstream.port}"
    hers, his = (bare.join(user, room, endpoint, via=via) for user in bare.users(2))
    camera = hers.publish("video", "camera")
    assert camera["ok"], camera
    his.hears("track_subscribed", sid=camera["sid"], identity=hers.identity, source="camera")
    until("frames arrive", lambda: his.frames().get(camera["sid"], 0) > 3)
    assert bare.identities(room) == {hers.identity, his.identity}
    assert hers.unpublish(camera["sid"])["ok"]
    his.hears("track_unpublished", sid=camera["sid"])
    part(hers, his)


def test_the_sfu_refuses_what_the_token_does_not_name(bare: Stack, room: str) -> None:
    hers, his = two(bare, room, canPublishSources=["microphone"])
    assert hers.state()["sources"] == ["microphone"]
    refused = hers.publish("video", "camera")
    assert (refused["ok"], refused.get("refused")) == (False, True), refused
    sound = hers.publish("audio", "microphone")
    assert sound["ok"], sound
    his.hears("track_subscribed", sid=sound["sid"])
    assert not his.heard("track_published", kind="video")
    part(hers, his)


@pytest.mark.parametrize(("kind", "source"), [("video", "microphone"), ("audio", "camera")])
def test_the_sfu_takes_a_disguised_track(bare: Stack, room: str, kind: str, source: str) -> None:
    hers, his = two(bare, room, canPublishSources=[source])
    disguised = hers.publish(kind, source)
    assert disguised["ok"], disguised
    his.hears("track_subscribed", sid=disguised["sid"], kind=kind, source=source)
    if kind == "video":
        until("frames arrive", lambda: his.frames().get(disguised["sid"], 0) > 3)
    part(hers, his)


def test_update_participant_takes_a_track_away(bare: Stack, room: str) -> None:
    """Reports a figure; asserts only that the track goes and the others stay."""
    hers, his = two(bare, room)
    camera, sound = hers.publish("video", "camera"), hers.publish("audio", "microphone")
    for track in (camera, sound):
        his.hears("track_subscribed", sid=track["sid"])
    permission = bare.livekit.permission(room, "alice")
    begun = time.time()
    bare.livekit.update(room, "alice", {**permission, "can_publish_sources": ["MICROPHONE"]})
    answered = time.time()
    gone = his.hears("track_unpublished", sid=camera["sid"])
    hers.hears("permissions", identity="alice", sources=["microphone"])
    print(
        f"\nUpdateParticipant: answered after {milliseconds(answered - begun)} ms, "
        f"camera gone for the other after {milliseconds(gone['at'] - begun)} ms"
    )
    assert hers.publish("video", "camera").get("refused") is True
    assert not his.heard("track_unpublished", sid=sound["sid"])
    part(hers, his)


def test_a_removed_participant_comes_back_with_the_same_token(bare: Stack, room: str) -> None:
    token = make_token(room, "alice")
    for _ in range(2):
        hers = bare.join_with(token)
        until("she is there", lambda: bare.livekit.identities(room) == {"alice"})
        bare.livekit.remove(room, "alice")
        hers.hears("disconnected")
        until("she is out", lambda: not bare.livekit.identities(room))
    assert room in bare.livekit.rooms()


def test_one_process_holds_fourteen_clients(bare: Stack, room: str) -> None:
    begun = time.monotonic()
    people = [bare.join_with(make_token(room, f"user{n}")) for n in range(14)]
    until("all are there", lambda: len(bare.livekit.identities(room)) == 14)
    print(f"\n14 clients joined in {time.monotonic() - begun:.1f} s")
    part(*people)
