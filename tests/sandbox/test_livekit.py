"""The RoomService of the sandbox, with clients in the room."""

import json

from livekit.protocol import models as lk_models
from livekit.protocol import room as lk_room

from tests.sandbox.sfu import Sfu

Source, Type, Kind = lk_models.TrackSource, lk_models.TrackType, lk_models.ParticipantInfo.Kind
Reason = lk_models.DisconnectReason


def test_who_joins_is_listed(sfu: Sfu) -> None:
    info = sfu.join()
    answer = sfu.call("ListParticipants", lk_room.ListParticipantsRequest(room="room"))
    (listed,) = lk_room.ListParticipantsResponse.FromString(answer.body).participants
    assert listed == info
    assert (listed.identity, listed.joined_at) == ("alice", 1_700_000_000)
    assert listed.joined_at_ms == 1_700_000_000_250
    assert listed.state == lk_models.ParticipantInfo.State.ACTIVE


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


def test_who_is_removed_comes_back_with_the_same_token(sfu: Sfu) -> None:
    token = sfu.token()
    sfu.state.join(token)
    request = lk_room.RoomParticipantIdentity(room="room", identity="alice")
    assert sfu.call("RemoveParticipant", request).status == 200
    assert sfu.events[-1].participant.disconnect_reason == Reason.PARTICIPANT_REMOVED
    assert sfu.call("RemoveParticipant", request).status == 404
    sfu.state.join(token)
    assert sfu.call("GetParticipant", request).status == 200


def test_curl_can_join_and_leave(sfu: Sfu) -> None:
    answer = json.dumps({"url": "ws://sfu", "jwt": sfu.token()}).encode()
    for body in (sfu.token().encode(), answer):
        assert sfu.server.request("POST", "/sandbox/join", body=body).status == 200
        assert list(sfu.state.rooms["room"]) == ["alice"]
        assert sfu.server.request("POST", "/sandbox/leave", body=body).status == 200
        assert sfu.state.rooms["room"] == {}
    assert sfu.server.request("POST", "/sandbox/leave", body=answer).status == 404
    assert sfu.server.request("POST", "/sandbox/join", body=b"{}").status == 401
