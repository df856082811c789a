"""The sandbox's SFU: what needs a client, so that the contract suite cannot ask for it."""

from typing import Any

import pytest
from livekit.protocol import models as lk_models

from lotus_guard.sandbox.livekit_state import NotAllowed
from tests.sandbox.sfu import Sfu

Source, Type, Kind = lk_models.TrackSource, lk_models.TrackType, lk_models.ParticipantInfo.Kind
Reason = lk_models.DisconnectReason


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


def test_a_room_that_ends_puts_everybody_out(sfu: Sfu) -> None:
    sfu.join("alice")
    sfu.join("bob")
    sfu.events.clear()
    sfu.state.delete("room")
    assert sfu.told == ["participant_left", "participant_left", "room_finished"]
    assert {e.participant.disconnect_reason for e in sfu.events[:2]} == {Reason.ROOM_DELETED}
    assert sfu.state.rooms == {}
