"""A real livekit-server on loopback."""

import json
import time
from pathlib import Path
from typing import Any

from attrs import define, field

from lotus_guard.core.token import KeyPair, mint
from tests.real.processes import REAL, Process, free_port, http

KEY = "testkey"
SECRET = "a-secret-for-tests-of-32-bytes-or-more"


@define(eq=False)
class LiveKit:
    """The SFU."""

    directory: Path
    webhooks: list[str] = field(factory=list)
    port: int = field(factory=free_port)
    secret: str = SECRET
    process: Process = field(init=False)

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    @property
    def api(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def start(self) -> None:
        self.directory.mkdir(parents=True, exist_ok=True)
        config = self.directory / "livekit.yaml"
        config.write_text(json.dumps(self._config()))
        command = [str(REAL / "bin" / "livekit-server"), "--config", str(config)]
        self.process = Process("livekit", command, self.directory, self.port)
        self.process.start()

    def call(self, method: str, grant: dict[str, Any], request: dict[str, Any]) -> Any:
        token = mint(KeyPair(KEY, self.secret), exp=int(time.time()) + 60, video=grant)
        answer = http(
            "POST",
            f"{self.api}/twirp/livekit.RoomService/{method}",
            json.dumps(request).encode(),
            {"Authorization": f"Bearer {token}", "Content-Type": "application/json"},
        )
        assert answer.status == 200, (method, answer.body)
        return answer.json()

    def participants(self, room: str) -> list[dict[str, Any]]:
        grant = {"roomAdmin": True, "room": room}
        answer = self.call("ListParticipants", grant, {"room": room})
        found: list[dict[str, Any]] = answer.get("participants", [])
        return found

    def identities(self, room: str) -> set[str]:
        return {p["identity"] for p in self.participants(room) if p.get("state") == "ACTIVE"}

    def create_room(self, room: str) -> None:
        self.call("CreateRoom", {"roomCreate": True}, {"name": room, "empty_timeout": 300})

    def update(self, room: str, identity: str, permission: dict[str, Any]) -> None:
        grant = {"roomAdmin": True, "room": room}
        request = {"room": room, "identity": identity, "permission": permission}
        self.call("UpdateParticipant", grant, request)

    def permission(self, room: str, identity: str) -> dict[str, Any]:
        """The whole permission that a participant has."""
        there = {p["identity"]: p for p in self.participants(room)}
        found: dict[str, Any] = there[identity]["permission"]
        return found

    def remove(self, room: str, identity: str) -> None:
        grant = {"roomAdmin": True, "room": room}
        self.call("RemoveParticipant", grant, {"room": room, "identity": identity})

    def rooms(self) -> set[str]:
        """List the rooms there are."""
        answer = self.call("ListRooms", {"roomList": True}, {})
        return {room["name"] for room in answer.get("rooms", [])}

    def _config(self) -> dict[str, Any]:
        return {
            "port": self.port,
            "bind_addresses": ["127.0.0.1"],
            "keys": {KEY: self.secret},
            "logging": {"level": "info"},
            "room": {"auto_create": False},
            "webhook": {"api_key": KEY, "urls": self.webhooks},
            "rtc": {
                "udp_port": free_port(),
                "tcp_port": 0,
                "node_ip": "127.0.0.1",
                "use_external_ip": False,
                "enable_loopback_candidate": True,
                "interfaces": {"includes": ["lo"]},
            },
        }


def make_token(room: str, identity: str, life: int = 600, **video: Any) -> str:
    """Sign a token as lk-jwt-service would, for tests without the guard."""
    now = int(time.time())
    grant = {"roomJoin": True, "room": room, "canPublish": True, "canSubscribe": True, **video}
    return mint(KeyPair(KEY, SECRET), sub=identity, nbf=now, exp=now + life, video=grant)
