"""One participant: who counts, what is read of them, and what is given back."""

from typing import Any

import pytest
from livekit.protocol import models as lk_models

from lotus_guard.core.model import Grant, Kind
from lotus_guard.neighbours.livekit_participant import (
    counts,
    permission_with,
    read_participant,
)

Info = lk_models.ParticipantInfo
Source = lk_models.TrackSource


def info(**more: Any) -> Any:
    permission = lk_models.ParticipantPermission(can_publish=True, can_subscribe=True)
    return Info(**{"sid": "PA_1", "identity": "i", "permission": permission, **more})


@pytest.mark.parametrize(
    ("who", "wanted"),
    [
        (info(), True),
        (info(kind=Info.Kind.AGENT), True),
        (info(kind=Info.Kind.INGRESS), True),
        (info(kind=Info.Kind.SIP), True),
        (info(kind=Info.Kind.EGRESS), False),
        (info(permission=lk_models.ParticipantPermission(recorder=True)), False),
        (info(state=Info.State.DISCONNECTED), False),
        (info(state=Info.State.JOINED), True),
    ],
)
def test_who_only_takes_in_or_has_left_does_not_count(who: Any, wanted: bool) -> None:
    assert counts(who) is wanted
    assert (read_participant(who) is not None) is wanted


@pytest.mark.parametrize(
    ("kind", "is_seated"),
    [("STANDARD", True), ("SIP", True), ("AGENT", False), ("INGRESS", False)],
)
def test_agents_and_ingresses_publish_and_take_no_seat(kind: str, is_seated: bool) -> None:
    read = read_participant(info(kind=Info.Kind.Value(kind)))
    assert read is not None
    assert read.is_person is is_seated


def test_a_track_is_what_livekit_has_seen_and_not_what_its_client_says() -> None:
    said = lk_models.TrackType.AUDIO
    tracks = [
        lk_models.TrackInfo(type=said, source=Source.MICROPHONE, mime_type="video/VP8"),
        lk_models.TrackInfo(
            type=said,
            source=Source.CAMERA,
            codecs=[lk_models.SimulcastCodecInfo(mime_type="video/AV1")],
        ),
        lk_models.TrackInfo(source=Source.SCREEN_SHARE_AUDIO, mime_type="audio/opus"),
    ]
    read = read_participant(info(tracks=tracks))
    assert read is not None
    assert [(track.kind, track.source) for track in read.tracks] == [
        (Kind.VIDEO, "microphone"),
        (Kind.VIDEO, "camera"),
        (Kind.AUDIO, "screen_share_audio"),
    ]


def test_what_is_given_back_is_what_was_read_but_for_what_may_be_published() -> None:
    before = lk_models.ParticipantPermission(
        can_publish=True, can_subscribe=True, can_publish_data=True, hidden=True
    )
    before.MergeFromString(b"\xc8\x3e\x07")  # a field that we know nothing of
    read = read_participant(info(permission=before))
    assert read is not None
    after = permission_with(read, Grant(True, ("microphone", "77")))
    assert list(after.can_publish_sources) == [Source.MICROPHONE, 77]
    del after.can_publish_sources[:]
    assert after.SerializeToString() == before.SerializeToString()


def test_a_source_that_we_do_not_know_keeps_its_number() -> None:
    permission = lk_models.ParticipantPermission(can_publish=True)
    numbers: list[Any] = [Source.CAMERA, 77]
    permission.can_publish_sources.extend(numbers)
    read = read_participant(info(permission=permission))
    assert read is not None
    assert read.grant == Grant(True, ("camera", "77"))


def test_what_is_kept_of_a_participant_is_small_whatever_they_have_written() -> None:
    whole = info(metadata="m" * 100_000)
    read = read_participant(whole)
    assert read is not None
    whole.permission.can_publish = False
    assert read.permission.can_publish, "a copy, not a part of the whole"


def test_what_is_muted_is_read_and_when_somebody_came() -> None:
    track = lk_models.TrackInfo(source=Source.CAMERA, mime_type="video/VP8")
    muted = lk_models.TrackInfo(source=Source.CAMERA, mime_type="video/VP8", muted=True)
    read = read_participant(info(tracks=[track, muted], joined_at=17, joined_at_ms=17_250))
    assert read is not None
    assert [each.is_muted for each in read.tracks] == [False, True]
    assert read.joined == 17.25
    old = read_participant(info(joined_at=17))
    assert old is not None
    assert old.joined == 17.0, "an older server tells seconds alone"
