"""The nouns of the guard as frozen values."""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any, NewType

from attrs import field, frozen

RoomId = NewType("RoomId", str)
"""A Matrix room id, `!opaque:server` or, from room version 12 on, `!opaque`."""

UserId = NewType("UserId", str)
"""A Matrix user id, `@local:server`."""

LiveKitRoom = NewType("LiveKitRoom", str)
"""The name of a LiveKit room. One Matrix room can have several (one for each slot)."""

Identity = NewType("Identity", str)
"""The identity of a LiveKit participant: one device of a user, or one page load of it."""


class Source(StrEnum):
    """What a published track is said to be; the values are the names LiveKit's tokens use."""

    CAMERA = "camera"
    MICROPHONE = "microphone"
    SCREEN_SHARE = "screen_share"
    SCREEN_SHARE_AUDIO = "screen_share_audio"


@frozen
class Grant:
    """Who may publish what, as a token and a LiveKit permission both say it."""

    can_publish: bool
    sources: tuple[str, ...]
    """Lower-case names of the allowed sources. Empty means *every* source (docs/facts.md, LiveKit:
    permissions)."""


class Kind(StrEnum):
    """What a track really carries, as LiveKit sees it from the media (docs/facts.md, LiveKit: a
    track)."""

    AUDIO = "audio"
    VIDEO = "video"
    DATA = "data"
    """Neither; in decisions of before only."""
    UNKNOWN = "unknown"
    """No media have come yet, or of a kind that has no name."""


def kind_of(mimes: Iterable[str]) -> Kind:
    """What a track carries, by the media types of its codecs; video is any with a video."""
    found = Kind.UNKNOWN
    for mime in mimes:
        kind = mime.partition("/")[0].lower()
        if kind == "video":
            return Kind.VIDEO
        if kind == "audio":
            found = Kind.AUDIO
    return found


@frozen
class Track:
    """A published track: what it is, and what its publisher says it is."""

    kind: Kind
    source: str
    """The declared source, a `Source` value or `unknown`: the publisher's word. LiveKit holds the
    right to publish against it, and only for that is it of use."""
    is_muted: bool = False
    """Whether nothing of it reaches others for now: its publisher's word, which LiveKit keeps
    (docs/facts.md, LiveKit: a track)."""

    @property
    def is_camera(self) -> bool:
        """Whether it passes for a camera: it says so, or is video and says something else.

        A screen alone is what it says to be, for nothing tells a camera that is declared as one.
        """
        is_video = self.kind is Kind.VIDEO and self.source != Source.SCREEN_SHARE
        return is_video or self.source == Source.CAMERA


@frozen
class Participant:
    """One connection to a LiveKit room, as LiveKit lists it."""

    identity: Identity
    sid: str
    """New with each connection of the same identity."""
    grant: Grant
    tracks: tuple[Track, ...] = ()
    permission: Any = field(default=None, eq=False, repr=False)
    """The whole permission as it was read, with fields we do not know; for sending back."""
    is_person: bool = True
    """Whether they take a seat. A stream (ingress) and an agent take none, and may send no more
    than anybody: the room forbids a camera, not a person's camera."""
    joined: float = field(default=0.0, eq=False)
    """When this connection came, in seconds since 1970 by LiveKit's clock."""


@frozen
class Attendance:
    """Who was in a LiveKit room when we asked at `at` (seconds, when the call was begun)."""

    at: float
    participants: tuple[Participant, ...]
    loud: tuple[Identity, ...] = ()
    """Those who are there as well, but say so much that they were not read."""
    doubtful: tuple[Identity, ...] = ()
    """Those who may be there, but could not be asked after."""
    is_whole: bool = True
    """Whether it names everybody who was there."""

    @property
    def identities(self) -> frozenset[Identity]:
        """Everybody who was there, or may still be."""
        return frozenset(
            [*(p.identity for p in self.participants if p.is_person), *self.loud, *self.doubtful]
        )
