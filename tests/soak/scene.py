"""What all threads of a soak share: the town, the plan, the judge, and how a token is asked for."""

import json
import threading
import time
from collections import Counter
from collections.abc import Mapping
from random import Random
from typing import Any

from attrs import define, field, frozen

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import ROOM_SLOT, livekit_room_of
from tests.real.processes import http
from tests.soak.judge import Judge
from tests.soak.plan import Plan
from tests.soak.swarm import Swarm
from tests.soak.town import Town, room_id

NOT_MADE = "The SFU did not make a room"
"""What upstream says while LiveKit restarts; a moment later it may say something else."""


@frozen
class Asked:
    """What came of a request for a token."""

    status: int
    """0: nobody answered."""
    token: str
    said: str


@define(eq=False)
class Scene:
    """What happens, and who sees it."""

    town: Town
    plan: Plan
    judge: Judge = field(factory=Judge)
    counts: Counter[str] = field(factory=Counter)
    swarms: list[Swarm] = field(factory=list)
    begun: float = 0.0
    is_over: bool = False
    where: dict[str, tuple[int, str]] = field(factory=dict)
    """The room and user of each client that is connected."""
    livekit_rooms: dict[str, int] = field(factory=dict)
    """The LiveKit rooms that are looked at, and whose they are."""
    users: dict[str, str] = field(factory=dict)
    """Whose an identity is that does not tell it."""
    lock: threading.RLock = field(factory=threading.RLock)

    def __attrs_post_init__(self) -> None:
        for number in range(self.town.rooms):
            self.livekit_rooms[livekit_room_of(RoomId(room_id(number)), ROOM_SLOT)] = number

    def now(self) -> float:
        """Seconds since the beginning."""
        return time.monotonic() - self.begun

    def wait(self, until: float) -> bool:
        """Wait until then; tells whether the soak goes on."""
        while not self.is_over and self.now() < until:
            time.sleep(min(0.2, max(0.0, until - self.now())))
        return not self.is_over

    def ask(self, path: str, body: bytes, address: str, dice: Random) -> Asked:
        """Ask for a token as through a load balancer: of the next guard where one is not there."""
        urls = [f"http://127.0.0.1:{process.port}" for process in self.town.processes]
        dice.shuffle(urls)
        said = []
        for url in urls:
            try:
                answer = http("POST", url + path, body, {"X-Forwarded-For": address})
            except Exception as error:  # it is not there, or died with the request in its hands
                said.append(type(error).__name__)
                continue
            if answer.status == 200:
                return Asked(200, answer.json()["jwt"], "")
            said.append(f"{answer.status} {answer.body[:80]!r}")
            return Asked(answer.status, "", "; ".join(said))
        return Asked(0, "", "; ".join(said))

    def would_upstream(self, asked: Asked, path: str, body: bytes) -> bool:
        """Whether lk-jwt-service gives the token that the guards did not."""
        if NOT_MADE in asked.said:
            return False
        try:
            return http("POST", self.town.upstream + path, body).status == 200
        except Exception:
            return False


def request(name: str, room: str, device: str = "D") -> bytes:
    """Write a request to `/sfu/get`."""
    openid = {"access_token": f"openid-{name}", "matrix_server_name": "sandbox"}
    return json.dumps({"room": room, "openid_token": openid, "device_id": device}).encode()


def slot_request(name: str, room: str, slot: str, device: str = "D", member: Any = None) -> bytes:
    """Write a request to `/get_token`."""
    openid = {"access_token": f"openid-{name}", "matrix_server_name": "sandbox"}
    member = member or {
        "id": "m",
        "claimed_user_id": f"@{name}:sandbox",
        "claimed_device_id": device,
    }
    fields = {"room_id": room, "slot_id": slot, "openid_token": openid, "member": member}
    return json.dumps(fields).encode()


def media(track: Mapping[str, Any]) -> str:
    """What a track is by what its media are, whatever its owner calls it.

    A screen that is sent as a camera, and the other way round, cannot be told apart.
    """
    is_video = track.get("type") == "VIDEO" or str(track.get("mime_type", "")).startswith("video")
    if not is_video:
        return "sound"
    return "screen_share" if track.get("source") == "SCREEN_SHARE" else "camera"
