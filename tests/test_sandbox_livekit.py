"""The sandbox's SFU: what needs a client, so that the contract suite cannot ask for it."""

import base64
import hashlib
import itertools
import json
from typing import Any

import jwt
import pytest
from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room

from lotus_guard.core.token import KeyPair, mint
from lotus_guard.sandbox.livekit import LiveKitApp, LiveKitState, NotAllowed, sign_webhook
from tests.contract.subject import InMemory, Response

KEY, SECRET = "key", "a-secret-for-tests-of-32-bytes-or-more"
NOW = 1_700_000_000.25
Source, Type, Kind = lk_models.TrackSource, lk_models.TrackType, lk_models.ParticipantInfo.Kind
Reason = lk_models.DisconnectReason


class Sfu:
    """A state with one room, and what it told its listeners."""

    def __init__(self) -> None:
        self.now = NOW
        numbers = itertools.count(1)
        self.state = LiveKitState(KEY, SECRET, lambda: self.now, lambda: str(next(numbers)))
        self.state.create("room")
        self.events: list[Any] = []
        self.state.listeners.append(self.events.append)
        self.server = InMemory(LiveKitApp(self.state).app.resource())

    def token(self, identity: str = "alice", claims: Any = None, **video: Any) -> str:
        grant = {"roomJoin": True, "room": "room", **video}
        base = {"sub": identity, "exp": int(self.now) + 60, "video": grant}
        return mint(KeyPair(KEY, SECRET), **{**base, **(claims or {})})

    def join(self, identity: str = "alice", claims: Any = None, **video: Any) -> Any:
        return self.state.join(self.token(identity, claims, **video))

    def call(self, method: str, request: Any) -> Response:
        token = self.token(roomAdmin=True)
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/protobuf"}
        path = f"/twirp/livekit.RoomService/{method}"
        return self.server.request("POST", path, headers, request.SerializeToString())

    @property
    def told(self) -> list[str]:
        return [event.event for event in self.events]


@pytest.fixture
def sfu() -> Sfu:
    return Sfu()


def test_who_joins_is_listed(sfu: Sfu) -> None:
    info = sfu.join()
    answer = sfu.call("ListParticipants", lk_room.ListParticipantsRequest(room="room"))
    (listed,) = lk_room.ListParticipantsResponse.FromString(answer.body).participants
    assert listed == info
    assert (listed.identity, listed.joined_at) == ("alice", 1_700_000_000)
    assert listed.joined_at_ms == 1_700_000_000_250
    assert listed.state == lk_models.ParticipantInfo.State.ACTIVE


@pytest.mark.parametrize(
    ("video", "expected"),
    [
        ({}, (True, True, True, [])),
        ({"canPublish": False}, (False, True, False, [])),
        ({"canPublish": False, "canPublishData": True}, (False, True, True, [])),
        ({"canPublishData": False, "canSubscribe": False}, (True, False, False, [])),
        ({"canPublishSources": ["microphone"]}, (True, True, True, [Source.MICROPHONE])),
        ({"canPublishSources": ["MICROPHONE", "no"]}, (True, True, True, [Source.UNKNOWN] * 2)),
        ({"canPublishSources": []}, (True, True, True, [])),
    ],
)
def test_the_permission_of_a_token(sfu: Sfu, video: Any, expected: Any) -> None:
    permission = sfu.join(**video).permission
    found = (permission.can_publish, permission.can_subscribe, permission.can_publish_data)
    assert (*found, list(permission.can_publish_sources)) == expected


@pytest.mark.parametrize(("name", "kind"), [("agent", Kind.AGENT), ("egress", Kind.EGRESS)])
def test_the_kind_of_a_token(sfu: Sfu, name: str, kind: Any) -> None:
    assert sfu.join("robot", {"kind": name}).kind == kind
    assert sfu.join("alice").kind == Kind.STANDARD


def test_a_token_is_good_for_a_minute_after_its_end(sfu: Sfu) -> None:
    token = sfu.token()
    sfu.now += 119.0
    assert sfu.state.join(token).identity == "alice"
    sfu.now += 3.0
    with pytest.raises(NotAllowed, match="expired"):
        sfu.state.join(token)


def test_tokens_that_do_not_let_in(sfu: Sfu) -> None:
    wrong = {
        "permissions denied": sfu.token(roomJoin=False),
        "does not exist": sfu.token(room="elsewhere"),
        "identity": sfu.token(""),
        "signature": sfu.token()[:-8] + "AAAAAAAA",
        "issuer": sfu.token(claims={"iss": "other"}),
    }
    for why, token in wrong.items():
        with pytest.raises(NotAllowed, match=f"(?i){why}"):
            sfu.state.join(token)
    assert sfu.told == []


def test_a_room_can_be_made_by_joining(sfu: Sfu) -> None:
    sfu.state.auto_create = True
    sfu.join(room="new")
    assert sfu.told == ["room_started", "participant_joined"]
    assert list(sfu.state.rooms["new"]) == ["alice"]


def test_the_same_identity_replaces_the_first_session(sfu: Sfu) -> None:
    first, second = sfu.join(), sfu.join()
    assert first.sid != second.sid
    assert list(sfu.state.rooms["room"].values()) == [second]
    assert sfu.told == ["participant_joined", "participant_left", "participant_joined"]
    left = sfu.events[1].participant
    assert (left.sid, left.disconnect_reason) == (first.sid, Reason.DUPLICATE_IDENTITY)


def test_only_the_declared_source_is_checked(sfu: Sfu) -> None:
    sfu.join(canPublishSources=["microphone"])
    for source in (Source.CAMERA, Source.SCREEN_SHARE, Source.UNKNOWN):
        with pytest.raises(NotAllowed):
            sfu.state.publish("room", "alice", source, Type.VIDEO)
    disguised = sfu.state.publish("room", "alice", Source.MICROPHONE, Type.VIDEO)
    assert (disguised.source, disguised.type) == (Source.MICROPHONE, Type.VIDEO)
    assert sfu.told == ["participant_joined", "track_published"]
    assert sfu.events[-1].track == disguised


def test_an_empty_list_of_sources_is_every_source(sfu: Sfu) -> None:
    sfu.join(canPublishSources=[])
    for source in (Source.CAMERA, Source.SCREEN_SHARE, Source.UNKNOWN):
        sfu.state.publish("room", "alice", source, Type.VIDEO)
    sfu.join("bob", canPublish=False)
    with pytest.raises(NotAllowed):
        sfu.state.publish("room", "bob", Source.MICROPHONE, Type.AUDIO)


def test_an_update_replaces_the_whole_permission_and_drops_tracks(sfu: Sfu) -> None:
    sfu.join()
    camera = sfu.state.publish("room", "alice", Source.CAMERA, Type.VIDEO)
    voice = sfu.state.publish("room", "alice", Source.MICROPHONE, Type.AUDIO)
    wanted = lk_room.UpdateParticipantRequest(
        room="room",
        identity="alice",
        permission=lk_models.ParticipantPermission(
            can_publish=True, can_publish_sources=[Source.MICROPHONE]
        ),
    )
    changed = lk_models.ParticipantInfo.FromString(sfu.call("UpdateParticipant", wanted).body)
    assert changed.permission == wanted.permission
    assert not changed.permission.can_subscribe  # left out, so false
    assert list(changed.tracks) == [voice]
    assert sfu.told[-1] == "track_unpublished"
    assert sfu.events[-1].track == camera
    assert changed.version == 1

    before = sfu.state.changes
    again = lk_models.ParticipantInfo.FromString(sfu.call("UpdateParticipant", wanted).body)
    assert (again.version, sfu.state.changes) == (1, before)


def test_an_update_without_a_permission_leaves_it(sfu: Sfu) -> None:
    sfu.join()
    sfu.state.publish("room", "alice", Source.CAMERA, Type.VIDEO)
    wanted = lk_room.UpdateParticipantRequest(room="room", identity="alice", name="Alice")
    changed = lk_models.ParticipantInfo.FromString(sfu.call("UpdateParticipant", wanted).body)
    assert changed.name == "Alice"
    assert changed.permission.can_publish
    assert len(changed.tracks) == 1


def test_the_same_sources_in_another_order_are_a_change(sfu: Sfu) -> None:
    info = sfu.join(canPublishSources=["microphone", "camera"])
    same, turned = (lk_models.ParticipantPermission() for _ in range(2))
    same.CopyFrom(info.permission)
    turned.CopyFrom(info.permission)
    turned.ClearField("can_publish_sources")
    turned.can_publish_sources.extend([Source.CAMERA, Source.MICROPHONE])
    sfu.state.permit("room", "alice", same)
    assert info.version == 0
    sfu.state.permit("room", "alice", turned)
    assert info.version == 1


def test_who_is_removed_comes_back_with_the_same_token(sfu: Sfu) -> None:
    token = sfu.token()
    sfu.state.join(token)
    request = lk_room.RoomParticipantIdentity(room="room", identity="alice")
    assert sfu.call("RemoveParticipant", request).status == 200
    assert sfu.events[-1].participant.disconnect_reason == Reason.PARTICIPANT_REMOVED
    assert sfu.call("RemoveParticipant", request).status == 404
    sfu.state.join(token)
    assert sfu.call("GetParticipant", request).status == 200


def test_a_room_that_ends_puts_everybody_out(sfu: Sfu) -> None:
    sfu.join("alice")
    sfu.join("bob")
    sfu.events.clear()
    sfu.state.delete("room")
    assert sfu.told == ["participant_left", "participant_left", "room_finished"]
    assert {e.participant.disconnect_reason for e in sfu.events[:2]} == {Reason.ROOM_DELETED}
    assert sfu.state.rooms == {}


def test_webhooks_are_signed_over_their_bytes(sfu: Sfu) -> None:
    sfu.join()
    body, token = sign_webhook(sfu.events[0], KEY, SECRET, NOW)
    claims = jwt.decode(
        token, SECRET, algorithms=["HS256"], issuer=KEY, options={"verify_exp": False}
    )
    assert claims["sha256"] == base64.b64encode(hashlib.sha256(body).digest()).decode()
    fields = json.loads(body)
    assert fields["event"] == "participant_joined"
    assert fields["participant"]["identity"] == "alice"
    assert fields["room"]["name"] == "room"
    assert fields["createdAt"] == str(int(NOW))


def test_curl_can_join_and_leave(sfu: Sfu) -> None:
    answer = json.dumps({"url": "ws://sfu", "jwt": sfu.token()}).encode()
    for body in (sfu.token().encode(), answer):
        assert sfu.server.request("POST", "/sandbox/join", body=body).status == 200
        assert list(sfu.state.rooms["room"]) == ["alice"]
        assert sfu.server.request("POST", "/sandbox/leave", body=body).status == 200
        assert sfu.state.rooms["room"] == {}
    assert sfu.server.request("POST", "/sandbox/leave", body=answer).status == 404
    assert sfu.server.request("POST", "/sandbox/join", body=b"{}").status == 401
