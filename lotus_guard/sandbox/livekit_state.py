"""What the sandbox's LiveKit knows: rooms, participants and tracks, without any media.

What a client does over its signalling connection (join, publish, leave) are methods here. They do
as livekit-server 1.13.3 does.
"""

from collections.abc import Callable
from typing import Any

import jwt
from attrs import define, field
from livekit.protocol import models as lk_models
from livekit.protocol import webhook as lk_webhook

Source = lk_models.TrackSource
LEEWAY = 60.0
"""Seconds by which clocks may differ when a token is verified."""
_MIMES: dict[Any, str] = {
    lk_models.TrackType.AUDIO: "audio/opus",
    lk_models.TrackType.VIDEO: "video/VP8",
    lk_models.TrackType.DATA: "",
}
_EMPTY_SECONDS, _DEPARTURE_SECONDS = 300, 20


class NotAllowed(Exception):
    """The SFU refuses what a client wants; says why."""


@define(eq=False, slots=False)
class LiveKitState:
    """Rooms with their participants; each change is told to the listeners as a webhook event."""

    key: str
    secret: str = field(repr=False)
    epoch: Callable[[], float]
    new_id: Callable[[], str]
    auto_create: bool = False
    """Whether a join makes the room that it names."""
    rooms: dict[str, dict[str, Any]] = field(init=False, factory=dict)
    """Room name → identity → ParticipantInfo."""
    infos: dict[str, Any] = field(init=False, factory=dict)
    """Room name → Room, as far as it was made by `create`."""
    revoked: dict[tuple[str, str], int] = field(init=False, factory=dict)
    """By room and identity, for people who were removed: their tokens from before are to let nobody
    in. Like LiveKit 1.13, `join` lets them in all the same."""
    changes: int = field(init=False, default=0)
    """How often anything changed: shows a test that nothing did."""
    listeners: list[Callable[[Any], None]] = field(init=False, factory=list)
    """Called with each WebhookEvent."""

    def open_token(self, token: str) -> dict[str, Any]:
        """Verify a token as the SFU does; raises NotAllowed."""
        try:
            claims: dict[str, Any] = jwt.decode(
                token,
                self.secret,
                algorithms=["HS256"],
                issuer=self.key,
                options={"verify_exp": False, "verify_nbf": False, "verify_iat": False},
            )
        except jwt.PyJWTError as error:
            raise NotAllowed(f"invalid token: {error}") from None
        now = self.epoch()
        if claims.get("exp", now) + LEEWAY < now or claims.get("nbf", now) - LEEWAY > now:
            raise NotAllowed("invalid token: expired")
        return claims

    def create(self, name: str, empty: int = 0, departure: int = 0) -> Any:
        """Make a room unless there is one; returns its Room message."""
        if name not in self.rooms:
            self.rooms[name] = {}
            now = self.epoch()
            self.infos[name] = lk_models.Room(
                name=name,
                sid=f"RM_{self.new_id()}",
                empty_timeout=empty or _EMPTY_SECONDS,
                departure_timeout=departure or _DEPARTURE_SECONDS,
                creation_time=int(now),
                creation_time_ms=int(now * 1000),
            )
            self._tell("room_started", name)
        return self.room(name)

    def room(self, name: str) -> Any:
        """The Room message of a room, with its people counted."""
        info = self.infos.setdefault(name, lk_models.Room(name=name, sid=f"RM_{name}"))
        people = self.rooms[name].values()
        info.num_participants = len(people)
        info.num_publishers = sum(1 for person in people if person.is_publisher)
        return info

    def delete(self, name: str) -> None:
        """End a room and put everybody out."""
        for identity in list(self.rooms[name]):
            self.leave(name, identity, lk_models.DisconnectReason.ROOM_DELETED)
        self._tell("room_finished", name)
        del self.rooms[name]
        self.infos.pop(name, None)

    def join(self, token: str) -> Any:
        """Let a client in; the same identity joining again replaces their first session."""
        claims = self.open_token(token)
        video = claims.get("video") or {}
        name, identity = str(video.get("room", "")), str(claims.get("sub", ""))
        if not video.get("roomJoin"):
            raise NotAllowed("permissions denied")
        if not identity:
            raise NotAllowed("identity cannot be empty")
        if name not in self.rooms:
            if not self.auto_create:
                raise NotAllowed("requested room does not exist")
            self.create(name)
        if identity in self.rooms[name]:
            self.leave(name, identity, lk_models.DisconnectReason.DUPLICATE_IDENTITY)
        now = self.epoch()
        info = lk_models.ParticipantInfo(
            sid=f"PA_{self.new_id()}",
            identity=identity,
            name=str(claims.get("name", "")),
            kind=_kind(claims.get("kind")),
            state=lk_models.ParticipantInfo.State.ACTIVE,
            joined_at=int(now),
            joined_at_ms=int(now * 1000),
            permission=_permission(video),
        )
        self.rooms[name][identity] = info
        self._tell("participant_joined", name, info)
        return info

    def leave(
        self, name: str, identity: str, reason: Any = lk_models.DisconnectReason.CLIENT_INITIATED
    ) -> None:
        """A client goes, or is put out for a reason."""
        info = self.rooms[name].pop(identity)
        info.state = lk_models.ParticipantInfo.State.DISCONNECTED
        info.disconnect_reason = reason
        self._tell("participant_left", name, info)

    def publish(
        self, name: str, identity: str, source: Any, kind: Any, mime: str = "", title: str = ""
    ) -> Any:
        """Publish a track; only the *declared* source is checked, as the real SFU does.

        See docs/facts.md, LiveKit: sources. `mime` is what the media are, where they are not of the
        declared `kind`.
        """
        info = self.rooms[name][identity]
        if not _allows(info.permission, source):
            raise NotAllowed("no permission to publish")
        mime = mime or _MIMES[kind]
        track = lk_models.TrackInfo(
            sid=f"TR_{self.new_id()}",
            type=kind,
            source=source,
            name=title,
            mime_type=mime,
            codecs=[lk_models.SimulcastCodecInfo(mime_type=mime)],
        )
        info.tracks.append(track)
        info.is_publisher = True
        self._tell("track_published", name, info, track)
        return track

    def unpublish(self, name: str, identity: str, sid: str) -> None:
        """Take a track back."""
        info = self.rooms[name][identity]
        track = next(track for track in info.tracks if track.sid == sid)
        info.tracks.remove(track)
        self._tell("track_unpublished", name, info, track)

    def permit(self, name: str, identity: str, permission: Any) -> None:
        """Replace a participant's whole permission and drop the tracks that it does not cover."""
        info = self.rooms[name][identity]
        if info.permission != permission:  # another order of the same sources is a change, too
            info.version += 1
            self.changes += 1
        info.permission.CopyFrom(permission)
        for track in [t for t in info.tracks if not _allows(permission, t.source)]:
            self.unpublish(name, identity, track.sid)

    def _tell(self, event: str, name: str, info: Any = None, track: Any = None) -> None:
        self.changes += 1
        message = lk_webhook.WebhookEvent(
            event=event,
            id=f"EV_{self.new_id()}",
            created_at=int(self.epoch()),
            room=self.room(name),
            participant=info,
            track=track,
        )
        for listener in self.listeners:
            listener(message)


def _permission(video: dict[str, Any]) -> Any:
    """Turn a token's grant into a permission; what is absent is true.

    See docs/facts.md, LiveKit: permissions.
    """
    publish = video.get("canPublish") is not False
    data = video.get("canPublishData")
    return lk_models.ParticipantPermission(
        can_publish=publish,
        can_subscribe=video.get("canSubscribe") is not False,
        can_publish_data=publish if data is None else bool(data),
        can_publish_sources=[_source(name) for name in video.get("canPublishSources") or ()],
        can_update_metadata=bool(video.get("canUpdateOwnMetadata")),
        hidden=bool(video.get("hidden")),
        recorder=bool(video.get("recorder")),
        agent=bool(video.get("agent")),
    )


def _source(name: str) -> Any:
    # Names in a token count in lower case only; any other is UNKNOWN.
    names = {n.lower(): number for n, number in Source.items()}
    return names.get(name, Source.UNKNOWN)


def _kind(name: object) -> Any:
    # The claim is `agent`, `egress` and the like; absent or not known is an ordinary participant.
    kinds: dict[str, Any] = dict(lk_models.ParticipantInfo.Kind.items())
    return kinds.get(str(name or "standard").upper(), lk_models.ParticipantInfo.Kind.STANDARD)


def _allows(permission: Any, source: Any) -> bool:
    sources = permission.can_publish_sources
    return bool(permission.can_publish and (not sources or source in sources))
