"""Hostile clients of a test, and somebody who watches what others get of them."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from attrs import define

from tests.real.client import Client, Clients, Event
from tests.real.homeserver import User
from tests.real.sfu import LiveKit
from tests.real.stack import Stack


@define(eq=False)
class Yard:
    """Clients in a process of their own: an SDK may well end over what a hostile one says."""

    stack: Stack
    clients: Clients
    last: int = 0
    """The number of the last publication that was begun."""

    def watcher(self, user: User, room: str, url: str = "") -> Client:
        """Join as one who sees what is published and subscribes to nothing.

        The SDK of the tests ends its process over a video track that is declared as audio.
        """
        token = self.stack.ask(user, room).json()["jwt"]
        return self.join_with(token, url, subscribe=False)

    def join_with(self, token: str, url: str = "", subscribe: bool = True) -> Client:
        """Join with a token, through a proxy where `url` names one."""
        client = self.clients.new()
        where = {"url": url or self.stack.livekit.url, "token": token, "subscribe": subscribe}
        joined = self.clients.answer(self.clients.send(client.name, "connect", **where))
        assert joined["ok"], joined
        client.identity = joined["identity"]
        return client

    def begin_publishing(self, client: Client, kind: str, source: str) -> int:
        """Publish, and do not wait for what the SDK makes of it; returns the events so far."""
        since = len(self.clients.events)
        self.last = self.clients.send(client.name, "publish", kind=kind, source=source)
        return since

    def lived(self, watcher: Client, since: int, seconds: float = 15.0, **fields: str) -> float:
        """Wait for the first track after these events to go; returns the seconds it was there.

        0.0 where the last publication was refused, or nobody saw it: the guard was quicker, or the
        SDK is busy with what a hostile client has said. So ask LiveKit as well (`is_narrowed`).
        """
        wanted = {"client": watcher.name, "event": "track_published", **fields}

        def is_told(event: Event) -> bool:
            is_refused = event.get("id") == self.last and bool(event.get("refused"))
            return is_refused or wanted.items() <= event.items()

        try:
            shown = self.clients.wait(is_told, seconds, since)
        except AssertionError:
            return 0.0
        if shown.get("refused"):
            return 0.0
        gone = watcher.hears("track_unpublished", seconds, since, sid=shown["sid"])
        return float(gone["at"] - shown["at"])


def is_narrowed(livekit: LiveKit, livekit_room: str, identity: str) -> bool:
    """Whether LiveKit lets a participant publish no camera and no screen any more."""
    grant = {"roomAdmin": True, "room": livekit_room}
    told = livekit.call("GetParticipant", grant, {"room": livekit_room, "identity": identity})
    permission = told.get("permission", {})
    return not permission.get("can_publish") or permission["can_publish_sources"] == ["MICROPHONE"]


@contextmanager
def yard_beside(stack: Stack, directory: Path) -> Iterator[Yard]:
    """Start a process for hostile clients, and end it."""
    clients = Clients(directory)
    try:
        yield Yard(stack, clients)
    finally:
        clients.close()


def mimes(livekit: LiveKit, livekit_room: str) -> list[tuple[str, str, str]]:
    """List what LiveKit says of the tracks in a room: type, source and what the media are."""
    return [
        (track.get("type", "AUDIO"), track.get("source", "UNKNOWN"), track.get("mime_type", ""))
        for person in livekit.participants(livekit_room)
        for track in person.get("tracks", [])
    ]
