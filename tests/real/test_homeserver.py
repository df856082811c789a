"""Behind a real Synapse: it hands requests for tokens on to the guard (MSC4195, MSC4512)."""

import json
from collections.abc import Iterator

import pytest

from lotus_guard.core.homeserver_wire import CLIENT_PATHS
from lotus_guard.core.naming import ROOM_SLOT
from tests.real.by_homeserver import ask, members
from tests.real.conftest import require_real
from tests.real.homeserver import HS_TOKEN
from tests.real.processes import http, until
from tests.real.stack import NO_VIDEO, Behind, Stack, running_stack
from tests.real.test_main_job import claims

SEEN = 15.0
TRANSPORTS = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports"


@pytest.fixture(scope="module")
def behind(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    require_real()
    with running_stack(tmp_path_factory.mktemp("behind"), behind=Behind()) as running:
        yield running


def served(stack: Stack) -> list[str]:
    """The paths that lk-jwt-service has: in 0.8 the unstable one alone."""
    base = f"http://127.0.0.1:{stack.upstream.port}"
    found = [path for path in CLIENT_PATHS if http("POST", base + path, b"{").status != 404]
    print(f"lk-jwt-service has {', '.join(found)}")
    assert CLIENT_PATHS[1] in found
    return found


def test_synapse_announces_the_call_service_and_the_guard_narrows_its_tokens(
    behind: Stack,
) -> None:
    room = behind.room(quality=NO_VIDEO)
    (alice,) = members(behind, room, 1)
    announced = behind.synapse.call("GET", TRANSPORTS, alice.access_token)
    assert behind.livekit.url in announced.body.decode(), announced.body
    for path in served(behind):
        answer = ask(behind, alice, room, path)
        assert answer.status == 200, answer.body
        assert answer.json().keys() == {"jwt"}
        assert claims(answer)["video"]["canPublishSources"] == ["microphone"]
    client = behind.join_with(answer.json()["jwt"])
    assert not client.publish("video", "camera")["ok"]
    client.disconnect()


def test_a_full_room_is_full_at_each_door_and_who_is_in_it_passes_at_each(behind: Stack) -> None:
    room = behind.room(limit={"max_users": 2})
    alice, bob, carol = members(behind, room, 3)
    first = behind.join_with(ask(behind, alice, room).json()["jwt"])
    second = behind.join(bob, room)
    until("both are seen", lambda: len(behind.identities(room)) == 2)
    refused = ask(behind, carol, room)
    assert (refused.status, refused.json()["errcode"]) == (403, "M_FORBIDDEN")
    assert "This call is full" in refused.json()["error"]
    assert refused.headers["Access-Control-Allow-Origin"] == "*", "Synapse's own"
    assert behind.ask(carol, room).status == 403
    for user in (alice, bob):
        assert ask(behind, user, room, member_id="reloaded").status == 200
        assert behind.ask(user, room, device="OTHER").status == 200
        assert behind.ask(user, room, "/sfu/get", device="OTHER").status == 200
    first.disconnect()
    second.disconnect()


def test_a_camera_of_one_who_came_by_the_homeserver_is_taken_away_live(behind: Stack) -> None:
    room = behind.room()
    (alice,) = members(behind, room, 1)
    client = behind.join_with(ask(behind, alice, room).json()["jwt"])
    assert client.publish("video", "camera")["ok"]
    behind.set_policy(room, "io.lotus.room_quality", NO_VIDEO)

    def tracks() -> int:
        people = behind.livekit.participants(behind.livekit_room(room))
        return sum(len(each.get("tracks", [])) for each in people)

    until("the camera is gone", lambda: tracks() == 0, SEEN)
    client.disconnect()


@pytest.mark.parametrize("slot", ["a<b", "m.call#room", "x&\u2028"])
def test_an_odd_slot_counts_in_the_same_room(behind: Stack, slot: str) -> None:
    room = behind.room(limit={"max_users": 1})
    alice, bob = members(behind, room, 2)
    answer = ask(behind, alice, room, slot_id=slot)
    assert answer.status == 200, answer.body
    client = behind.join_with(answer.json()["jwt"])
    assert ask(behind, bob, room).status == 403
    assert ask(behind, bob, room, slot_id=slot).status == 403
    assert ask(behind, alice, room, slot_id=slot, member_id="again").status == 200
    client.disconnect()


def test_no_member_no_token_and_array_bodies_get_none(behind: Stack) -> None:
    room = behind.room(limit={"max_users": 1})
    (alice,) = members(behind, room, 1)
    (stranger,) = behind.users(1)
    assert ask(behind, stranger, room).status == 403
    fields = [behind.livekit.url, room, ROOM_SLOT, "m1"]
    answer = behind.synapse.call("POST", CLIENT_PATHS[1], alice.access_token, fields)
    assert answer.status == 400


def test_a_clients_own_headers_name_nobody(behind: Stack) -> None:
    """Synapse drops them; at the public port, and at ours without the token, they are worthless."""
    room = behind.room(limit={"max_users": 1})
    alice, bob = members(behind, room, 2)
    forged = {"X-Matrix-User-Identifier": alice.user_id, "X-Matrix-Origin": "other"}
    body = json.dumps(
        {"url": behind.livekit.url, "room_id": room, "slot_id": ROOM_SLOT, "member_id": "m"}
    ).encode()
    by_synapse = {**forged, "Authorization": f"Bearer {bob.access_token}"}
    answer = http("POST", behind.synapse.url + CLIENT_PATHS[1], body, by_synapse)
    assert answer.status == 200, "bob's own"
    assert ask(behind, bob, room, member_id="x").status == 200
    assert ask(behind, alice, room).status == 403, "bob has the seat, not alice"
    public = {**forged, "Authorization": f"Bearer {HS_TOKEN}"}
    assert http("POST", behind.guard.url + CLIENT_PATHS[1], body, public).status == 404
