"""The sandbox's SFU in memory, for what only a client can do."""

import itertools
from typing import Any

from lotus_guard.core.token import KeyPair, mint
from lotus_guard.sandbox.livekit import LiveKitApp
from lotus_guard.sandbox.livekit_state import LiveKitState
from tests.contract.subject import InMemory, Response

KEY, SECRET = "key", "a-secret-for-tests-of-32-bytes-or-more"
NOW = 1_700_000_000.25


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
