"""Participants that are no ordinary clients: SIP callers, ingress (WHIP, RTMP), agents.

Their kind stands in a token, so only who has LiveKit's secret makes one: the SIP, ingress and
egress services, and agents. These tests sign such tokens as the services do.
"""

import json
import time

import jwt
import pytest

from lotus_guard.core.token import KeyPair, mint
from tests.real.processes import http, until
from tests.real.sfu import KEY, SECRET
from tests.real.stack import NO_VIDEO, Stack

KINDS = ("sip", "ingress", "agent", "connector", "bridge")


def token_of(livekit_room: str, identity: str, kind: str) -> str:
    now = int(time.time())
    video = {"roomJoin": True, "room": livekit_room, "canPublish": True, "canSubscribe": True}
    return mint(KeyPair(KEY, SECRET), sub=identity, nbf=now, exp=now + 600, video=video, kind=kind)


@pytest.mark.parametrize("kind", KINDS)
def test_a_room_without_cameras_has_none_whoever_sends_it(stack: Stack, kind: str) -> None:
    room = stack.room(quality=NO_VIDEO)
    (user,) = stack.users(1)
    person = stack.join(user, room)
    livekit_room = stack.livekit_room(room)
    service = stack.join_with(token_of(livekit_room, f"svc-{kind}", kind))
    identity = f"svc-{kind}"
    there = {p["identity"]: p for p in stack.livekit.participants(livekit_room)}
    assert there[identity]["kind"] == kind.upper()
    service.publish("video", "camera")

    def is_narrowed() -> bool:
        may = stack.livekit.permission(livekit_room, identity)["can_publish_sources"]
        return bool(may == ["MICROPHONE"])

    until("it may send no camera", is_narrowed, 10.0)
    assert not any(p.get("tracks") for p in stack.livekit.participants(livekit_room))
    service.disconnect()
    person.disconnect()


@pytest.mark.parametrize(("kind", "status"), [("sip", 403), ("ingress", 200), ("agent", 200)])
def test_who_calls_by_telephone_takes_a_seat_and_a_stream_takes_none(
    stack: Stack, kind: str, status: int
) -> None:
    room = stack.room(limit={"max_users": 1})
    (user,) = stack.users(1)
    stack.livekit.create_room(stack.livekit_room(room))
    service = stack.join_with(token_of(stack.livekit_room(room), f"svc-{kind}", kind))
    until("it is there", lambda: f"svc-{kind}" in stack.identities(room))
    assert stack.ask(user, room).status == status
    service.disconnect()


def test_no_client_makes_itself_what_it_is_not(pushing: Stack) -> None:
    """A token of ours names no kind, and nothing that a client may say of itself changes it."""
    stack, room = pushing, pushing.room(limit={"max_users": 1})
    (user,) = stack.users(1)
    body = json.loads(stack.request(user, room))
    odd = http(
        "POST", f"{stack.guard.url}/get_token", json.dumps({**body, "kind": "agent"}).encode()
    )
    assert odd.status == 400
    answer = stack.ask(user, room)
    claims = jwt.decode(answer.json()["jwt"], SECRET, algorithms=["HS256"])
    assert not claims.get("kind")
    assert not claims["video"].get("agent")
    assert not claims["video"].get("recorder")
    client = stack.join_with(answer.json()["jwt"])
    client.process.answer(client.process.send(client.name, "metadata", length=10))
    (found,) = stack.livekit.participants(stack.livekit_room(room))
    assert found.get("kind", "STANDARD") == "STANDARD"
    (late,) = stack.users(1)
    assert stack.ask(late, room).status == 403
    client.disconnect()
