"""So many cameras at once on the real stack: who loses theirs, how soon, and what muted means."""

import statistics
import time
from functools import partial
from typing import Any

import pytest

from tests.real.client import Client
from tests.real.hostile.signalling import SignalProxy
from tests.real.processes import until
from tests.real.stack import Stack, milliseconds

FOUR = {"max_cameras": 4}
TRIES = 3
WITHOUT_CAMERA = {"MICROPHONE", "SCREEN_SHARE", "SCREEN_SHARE_AUDIO"}


def may(stack: Stack, room: str, client: Client) -> Any:
    """What LiveKit lets a client publish; empty for everything."""
    there = {p["identity"]: p for p in stack.livekit.participants(stack.livekit_room(room))}
    return set(there[client.identity]["permission"].get("can_publish_sources", ()))


def cameras(stack: Stack, room: str) -> int:
    there = stack.livekit.participants(stack.livekit_room(room))
    return sum(track["source"] == "CAMERA" for each in there for track in each.get("tracks", ()))


def are_on(stack: Stack, room: str, wanted: int) -> bool:
    return bool(cameras(stack, room) == wanted)


def hang_up(clients: list[Client]) -> None:
    for client in clients:
        client.disconnect()


def from_the_fifth_to_gone(stack: Stack) -> float:
    """Have five show a camera where four may; returns for how long others had the fifth."""
    room = stack.room(quality=FOUR)
    clients = [stack.join(user, room) for user in stack.users(5)]
    for number, client in enumerate(clients[:4], 1):
        assert client.publish("video", "camera")["ok"]
        until("it is listed", partial(are_on, stack, room, number))
    time.sleep(4.5)  # two passes: the four are known to have been first
    watching = clients[0]
    fifth = clients[4].publish("video", "camera")
    assert fifth["ok"], "the token has the right"
    shown = watching.hears("track_published", sid=fifth["sid"])
    gone = watching.hears("track_unpublished", 10.0, sid=fifth["sid"])
    assert clients[4].publish("video", "camera").get("refused")
    assert clients[4].publish("audio", "microphone")["ok"]
    assert may(stack, room, clients[4]) == WITHOUT_CAMERA
    time.sleep(4.5)
    assert cameras(stack, room) == 4
    assert all(may(stack, room, client) == set() for client in clients[:4])
    hang_up(clients)
    return float(gone["at"] - shown["at"])


def test_the_fifth_loses_it_and_the_first_four_keep_theirs(stack: Stack, pushing: Stack) -> None:
    for what, running in (("polling alone", stack), ("with webhooks", pushing)):
        delays = [from_the_fifth_to_gone(running) for _ in range(TRIES)]
        print(
            f"\nfifth camera, {what}: gone after median "
            f"{milliseconds(statistics.median(delays))} ms, worst {milliseconds(max(delays))} ms"
        )
        assert max(delays) < 3.0


def test_a_moderator_is_not_counted(stack: Stack) -> None:
    room = stack.room(quality={"max_cameras": 1, "bypass": True})
    moderator, alice, bob = stack.users(3)
    stack.set_policy(room, "m.room.power_levels", {"users": {moderator.user_id: 50}})
    clients = [stack.join(user, room) for user in (moderator, alice, bob)]
    for client in clients:
        assert client.publish("video", "camera")["ok"]
        time.sleep(2.5)
    until("bob's is gone", lambda: may(stack, room, clients[2]) == WITHOUT_CAMERA, 10.0)
    time.sleep(4.5)
    assert [may(stack, room, client) for client in clients[:2]] == [set(), set()]
    assert cameras(stack, room) == 2
    hang_up(clients)


@pytest.fixture
def muting() -> Any:
    """What is to be said in place of new metadata: that a track is muted, or is no more.

    Where a track is to be published muted, that is said of it as well.
    """
    said: dict[str, Any] = {"published": False}

    def edit(request: Any) -> None:
        kind = request.WhichOneof("message")
        if kind == "update_metadata":
            request.mute.sid, request.mute.muted = said["sid"], said["muted"]
        elif kind == "add_track":
            request.add_track.muted = said["published"]

    return said, edit


def test_the_fifth_loses_it_though_it_is_published_muted(stack: Stack, muting: Any) -> None:
    """And one of the four that is muted then stays, as long as there are no more than four."""
    said, edit = muting
    room = stack.room(quality=FOUR)
    *users, flapper = stack.users(5)
    with SignalProxy(stack.livekit.port, edit) as proxy:

        def come(user: Any) -> Client:
            client = stack.clients.new()
            joined = client.connect(proxy.url, stack.ask(user, room).json()["jwt"])
            assert joined["ok"], joined
            return client

        clients = [come(user) for user in users]
        for number, client in enumerate(clients, 1):
            sid = client.publish("video", "camera")["sid"]
            until("it is listed", partial(are_on, stack, room, number))
        said.update(sid=sid, muted=True)
        clients[-1].process.send(clients[-1].name, "metadata", length=1)
        time.sleep(4.5)
        assert cameras(stack, room) == 4
        said["published"] = True
        fifth = come(flapper)
        begun = time.monotonic()
        sid = fifth.publish("video", "camera")["sid"]
        until("it is taken", lambda: may(stack, room, fifth) == WITHOUT_CAMERA, 10.0)
        took = milliseconds(time.monotonic() - begun)
        print(f"\nfifth camera, published muted: gone after {took} ms")
        assert clients[0].frames().get(sid, 0) == 0
        time.sleep(4.5)
        assert cameras(stack, room) == 4
        assert all(may(stack, room, client) == set() for client in clients)
        hang_up([*clients, fifth])


def test_nothing_of_a_muted_camera_reaches_others(stack: Stack, muting: Any) -> None:
    """The client says that its camera is muted, and sends on: LiveKit goes by what it says."""
    said, edit = muting
    alice, bob, carol = stack.users(3)
    room = stack.room()
    bob_in = stack.join(bob, room)
    with SignalProxy(stack.livekit.port, edit) as proxy:
        alice_in = stack.clients.new()
        joined = alice_in.connect(proxy.url, stack.ask(alice, room).json()["jwt"])
        assert joined["ok"], joined
        sid = alice_in.publish("video", "camera")["sid"]

        def frames(client: Client) -> int:
            return client.frames().get(sid, 0)

        def mute(muted: bool) -> None:
            said.update(sid=sid, muted=muted)
            alice_in.process.send(alice_in.name, "metadata", length=1)
            until("LiveKit believes it", lambda: is_muted() is muted, 10.0)

        def is_muted() -> bool:
            there = stack.livekit.participants(stack.livekit_room(room))
            (track,) = [t for each in there for t in each.get("tracks", ()) if t["sid"] == sid]
            return bool(track.get("muted"))

        until("bob sees it", lambda: frames(bob_in) > 10, 20.0)
        mute(True)
        time.sleep(1.0)  # what was on its way
        before = frames(bob_in)
        carol_in = stack.join(carol, room)
        time.sleep(4.0)
        assert frames(bob_in) == before
        assert frames(carol_in) == 0, "nor of who comes now"
        mute(False)
        until("bob sees it again", lambda: frames(bob_in) > before + 10, 20.0)
        until("so does carol", lambda: frames(carol_in) > 10, 20.0)
        hang_up([alice_in, bob_in, carol_in])
