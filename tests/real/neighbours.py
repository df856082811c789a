"""lk-jwt-service, Synapse and LiveKit as one quick process, for tests of the guard under load.

They answer from memory and are no more than the guard needs: any OpenID token is one, each room
whose id begins with `!quiet` forbids cameras, and nobody is in a call. Whoever asks about a room is
a member of it. The homeserver of a user whose name begins with `@slow` takes its time.

    python -m tests.real.neighbours UPSTREAM_PORT SYNAPSE_PORT LIVEKIT_PORT
"""

import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Callable
from functools import lru_cache
from urllib.parse import unquote

from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import ROOM_SLOT, livekit_room_of
from lotus_guard.core.token import KeyPair, mint

KEY, SECRET = "flood", "a-secret-for-tests-of-overload-0000000"
SLOW_SECONDS = 6.0
MOST_JOINED = 200
Answer = Callable[[str, bytes], tuple[str, bytes]]
_joined: dict[str, deque[str]] = {}
"""The rooms that each user has asked about lately: they are in those."""


@lru_cache(4096)
def _token(room: str, user: str, device: str, second: int) -> str:
    video = {"roomJoin": True, "room": livekit_room_of(RoomId(room), ROOM_SLOT), "canPublish": True}
    sub = f"{user}:{device}"
    return mint(KeyPair(KEY, SECRET), sub=sub, nbf=second, exp=second + 3600, video=video)


def upstream(path: str, body: bytes) -> tuple[str, bytes]:
    if path != "/sfu/get" or not body:
        return "200 OK", b""
    asked = json.loads(body)
    user = asked["openid_token"]["access_token"]
    _joined.setdefault(user, deque(maxlen=MOST_JOINED)).append(asked["room"])
    token = _token(asked["room"], user, asked["device_id"], int(time.time()))
    return "200 OK", json.dumps({"url": "ws://sfu", "jwt": token}).encode()


def synapse(path: str, _body: bytes) -> tuple[str, bytes]:
    if path == "/_matrix/client/v3/account/whoami":
        return "200 OK", b'{"user_id": "@admin:s"}'
    if path.endswith("/joined_rooms"):
        user = unquote(path.split("/")[-2])
        return "200 OK", json.dumps({"joined_rooms": list(_joined.get(user, ()))}).encode()
    room, _, kind = path.removeprefix("/_synapse/admin/v1/rooms/").partition("/state?type=")
    if not unquote(room).startswith("!quiet") or kind != "io.lotus.room_quality":
        return "200 OK", b'{"state": []}'
    event = {"type": kind, "state_key": "", "content": {"allow_camera": False}}
    return "200 OK", json.dumps({"state": [event]}).encode()


def livekit(_path: str, _body: bytes) -> tuple[str, bytes]:
    return "200 OK", b""  # in protobuf: nobody, nothing


async def serve(port: int, answer: Answer) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
                length = head.lower().partition("content-length: ")[2].partition("\r\n")[0]
                body = await reader.readexactly(int(length or 0))
                if b'"@slow' in body:
                    await asyncio.sleep(SLOW_SECONDS)
                status, said = answer(head.split(" ", 2)[1], body)
                writer.write(
                    f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n"
                    f"Content-Length: {len(said)}\r\n\r\n".encode()
                    + said
                )
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    await asyncio.start_server(talk, "127.0.0.1", port, backlog=1024)


async def main() -> None:
    ports = map(int, sys.argv[1:])
    for port, answer in zip(ports, (upstream, synapse, livekit), strict=True):
        await serve(port, answer)
    await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main())
