"""What the guard's questions cost a real Synapse and a real livekit-server, in their CPU seconds.

lk-jwt-service is not measured: what it does for a token is the same with and without a guard.
"""

import tempfile
import time
from collections.abc import Callable
from functools import partial
from http.client import HTTPConnection
from pathlib import Path
from urllib.parse import quote

from livekit.protocol import room as lk_room

from bench.tools import cpu_of_threads, say
from lotus_guard.core.token import KeyPair, mint
from tests.real.homeserver import Synapse, User
from tests.real.sfu import KEY, SECRET, LiveKit

PARTS = 4
"""The cheapest of so many parts counts."""


def each_of(pid: int, count: int, ask: Callable[[], object]) -> float:
    """The CPU seconds that a process takes for each of so many questions."""
    found = []
    for _ in range(PARTS):
        before = cpu_of_threads(pid)
        for _ in range(count):
            ask()
        time.sleep(0.05)
        found.append((cpu_of_threads(pid) - before) / count)
    return min(found)


class Kept:
    """A client that keeps its connection, as the guard does."""

    def __init__(self, port: int, token: str, kind: str = "application/json") -> None:
        self._there = HTTPConnection("127.0.0.1", port, timeout=30.0)
        self._headers = {"Authorization": f"Bearer {token}", "Content-Type": kind}

    def ask(self, method: str, path: str, body: bytes | None = None) -> int:
        """Ask; returns the length of the answer."""
        self._there.request(method, path, body, self._headers)
        answer = self._there.getresponse()
        text = answer.read()
        assert answer.status == 200, (path, answer.status, text)
        return len(text)


def synapse(directory: Path) -> dict[str, float]:
    """Ask a Synapse for a policy and for a membership, as an admin does."""
    there = Synapse(directory)
    there.start()
    try:
        user: User = there.register()
        room = there.create_room(user)
        there.set_state(user, room, "io.lotus.voice_limit", {"max_users": 5})
        client = Kept(there.port, there.admin.access_token)
        state = f"/_synapse/admin/v1/rooms/{quote(room)}/state?type=io.lotus.voice_limit"
        joined = f"/_synapse/admin/v1/users/{quote(user.user_id)}/joined_rooms"
        pid = there.process.pid
        return {
            "Synapse, a policy": each_of(pid, 60, lambda: client.ask("GET", state)),
            "Synapse, a membership": each_of(pid, 60, lambda: client.ask("GET", joined)),
        }
    finally:
        there.process.stop()


def livekit(directory: Path, rooms: int = 1000) -> dict[str, float]:
    """Ask a livekit-server for its rooms, and for who is in one."""
    there = LiveKit(directory)
    there.start()
    try:
        for number in range(rooms):
            there.create_room(f"room{number}")
        kind = "application/protobuf"
        lists = Kept(there.port, _token({"roomList": True}), kind)
        admin = Kept(there.port, _token({"roomAdmin": True, "room": "room0"}), kind)
        path, pid = "/twirp/livekit.RoomService/", there.process.pid
        rooms_there = partial(lists.ask, "POST", f"{path}ListRooms", b"")
        body = lk_room.ListParticipantsRequest(room="room0").SerializeToString()
        people_there = partial(admin.ask, "POST", f"{path}ListParticipants", body)
        all_rooms, people = each_of(pid, 10, rooms_there), each_of(pid, 60, people_there)
        return {"LiveKit, a room listed": all_rooms / rooms, "LiveKit, a look at a room": people}
    finally:
        there.process.stop()


def _token(grant: dict[str, object]) -> str:
    return mint(KeyPair(KEY, SECRET), exp=int(time.time()) + 600, video=grant)


def measure() -> dict[str, float]:
    """Measure both."""
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        say("unit costs: Synapse")
        found = synapse(Path(name) / "synapse")
        say("unit costs: LiveKit")
        return found | livekit(Path(name) / "livekit")
