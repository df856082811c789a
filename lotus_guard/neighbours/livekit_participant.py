"""One participant as LiveKit describes them: what the guard goes by, and what it gives back.

Whose word each field is, stands in docs/facts.md, LiveKit: a participant; and LiveKit: a track.
"""

from typing import Any

from livekit.protocol import models as lk_models

from lotus_guard.core.model import Grant, Identity, Participant, Track, kind_of

# Looked up once: protobuf's enums are slow, and a pass reads everybody in every call.
_EGRESS = lk_models.ParticipantInfo.Kind.EGRESS
_DISCONNECTED = lk_models.ParticipantInfo.State.DISCONNECTED
_SOURCES = {number: name.lower() for name, number in lk_models.TrackSource.items()}
_SEATLESS = frozenset(
    {lk_models.ParticipantInfo.Kind.AGENT, lk_models.ParticipantInfo.Kind.INGRESS}
)
"""Of these kinds only who has LiveKit's secret makes one: they publish, and are no people."""


def counts(info: Any) -> bool:
    """Whether a participant is of any interest: recorders only take in.

    See docs/facts.md, LiveKit: a participant.
    """
    return _counts(info.kind, info.permission, info.state)


def _counts(kind: int, permission: Any, state: int) -> bool:
    return kind != _EGRESS and not permission.recorder and state != _DISCONNECTED


def read_participant(info: Any) -> Participant | None:
    """Read what the guard goes by; None for those who do not count."""
    kind, said = info.kind, info.permission
    if not _counts(kind, said, info.state):
        return None
    # A copy: the part would keep the whole answer in memory, all that its people have written.
    permission = lk_models.ParticipantPermission()
    permission.CopyFrom(said)
    sources = tuple(map(_source_name, permission.can_publish_sources))
    return Participant(
        Identity(info.identity),
        info.sid,
        Grant(permission.can_publish, sources),
        tuple(map(_track, info.tracks)),
        permission,
        kind not in _SEATLESS,
        info.joined_at_ms / 1000 or float(info.joined_at),
    )


def permission_with(participant: Participant, grant: Grant) -> Any:
    """Change what a participant may publish, and leave all else as it was read.

    UpdateParticipant replaces the whole permission, and what is left out becomes false
    (docs/facts.md, LiveKit: permissions); a copy of the message that was read keeps fields that we
    do not know, too.
    """
    permission = lk_models.ParticipantPermission()
    permission.CopyFrom(participant.permission)
    permission.can_publish = grant.can_publish
    del permission.can_publish_sources[:]
    permission.can_publish_sources.extend(map(_source_number, grant.sources))
    return permission


def _track(track: Any) -> Track:
    return Track(kind_of(_mimes(track)), _source_name(track.source), track.muted)


def _mimes(track: Any) -> list[str]:
    """List what LiveKit has seen a track carry; `type` is what its client says."""
    return [track.mime_type, *[codec.mime_type for codec in track.codecs]]


def _source_name(number: int) -> str:
    """Name a track source as tokens do; a number that we do not know keeps its digits."""
    return _SOURCES.get(number) or str(number)


def _source_number(name: str) -> Any:
    return int(name) if name.isdigit() else lk_models.TrackSource.Value(name.upper())
