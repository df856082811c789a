"""The guard that one would write in an afternoon: a thread a connection, blocking HTTP.

Only for comparison in `bench/token_path.py`. It does the main job honestly (source policy and
limit, a policy cache of ten seconds, ListParticipants for each request to a capped room) and none
of what the guard does besides: no question whether somebody is a member, no strict reading, no
deadlines, no seats held, no records, no live loop. Clients' connections are kept alive, without
Nagle's delay; `http.client` has none towards neighbours either. In two styles:

- `own`: a connection of its own for each request to a neighbour. No state between requests, nothing
  to go stale. This is the rival of the targets.
- `kept`: each thread keeps its connections to neighbours, which is quicker, and leaves it to luck
  that none of them is closed at the other end.

    threaded_guard.py own|kept PORT UPSTREAM_PORT SYNAPSE_PORT LIVEKIT_PORT KEY SECRET
"""

import json
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote

import jwt
from livekit.protocol import room as lk_room

STYLE = sys.argv[1]
PORT, UPSTREAM, SYNAPSE, LIVEKIT = (int(text) for text in sys.argv[2:6])
KEY, SECRET = sys.argv[6:8]
CACHE_SECONDS = 10.0
LIMIT, QUALITY = "io.lotus.voice_limit", "io.lotus.room_quality"
FORBIDS = {
    "allow_camera": ["camera"],
    "allow_screenshare": ["screen_share", "screen_share_audio"],
}
EVERY = ["camera", "microphone", "screen_share", "screen_share_audio"]

cache: dict[str, tuple[float, dict[str, Any]]] = {}
mine = threading.local()
HANDED_ON = ("Content-Type", "Authorization", "X-Matrix-User-Identifier")
"""What upstream must know of a request: at the homeserver's door, who asks."""


def ask_own(port: int, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
    """Make a request over a connection of its own."""
    connection = HTTPConnection("127.0.0.1", port)
    try:
        connection.request("GET" if body is None else "POST", path, body, headers)
        answer: bytes = connection.getresponse().read()
        return answer
    finally:
        connection.close()


def ask_kept(port: int, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
    """Make a request over this thread's own connection."""
    connections = mine.__dict__.setdefault("connections", {})
    connection = connections.setdefault(port, HTTPConnection("127.0.0.1", port))
    connection.request("GET" if body is None else "POST", path, body, headers)
    answer: bytes = connection.getresponse().read()
    return answer


ask = {"own": ask_own, "kept": ask_kept}[STYLE]


def policy(room: str) -> dict[str, Any]:
    kept = cache.get(room)
    if kept and time.monotonic() - kept[0] < CACHE_SECONDS:
        return kept[1]
    found: dict[str, Any] = {}
    for kind in (LIMIT, QUALITY):
        path = f"/_synapse/admin/v1/rooms/{quote(room, safe='')}/state?type={kind}"
        answer = json.loads(ask(SYNAPSE, path, None, {"Authorization": "Bearer t"}))
        for event in answer["state"]:
            if event["type"] == kind and event["state_key"] == "":
                found |= event["content"]
    cache[room] = (time.monotonic(), found)
    return found


def people(livekit_room: str) -> set[str]:
    now = int(time.time())
    grant = {"roomAdmin": True, "room": livekit_room}
    claims = {"iss": KEY, "nbf": now - 10, "exp": now + 60, "video": grant}
    headers = {
        "Content-Type": "application/protobuf",
        "Authorization": f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}",
    }
    body = lk_room.ListParticipantsRequest(room=livekit_room).SerializeToString()
    path = "/twirp/livekit.RoomService/ListParticipants"
    answer = lk_room.ListParticipantsResponse.FromString(ask(LIVEKIT, path, body, headers))
    return {each.identity for each in answer.participants}


def judged(body: bytes, answer: bytes) -> tuple[int, bytes]:
    asked, fields = json.loads(body), json.loads(answer)
    rules = policy(asked.get("room") or asked["room_id"])
    claims = jwt.decode(fields["jwt"], SECRET, algorithms=["HS256"])
    limit = rules.get("max_users")
    if limit:
        there = people(claims["video"]["room"])
        if claims["sub"] not in there and len(there) >= limit:
            return 403, b'{"errcode": "M_FORBIDDEN", "error": "full"}'
    forbidden = {
        source for name, found in FORBIDS.items() if rules.get(name) is False for source in found
    }
    if not forbidden:
        return 200, answer
    claims["video"]["canPublishSources"] = [each for each in EVERY if each not in forbidden]
    fields["jwt"] = jwt.encode(claims, SECRET, algorithm="HS256")
    return 200, json.dumps(fields).encode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {name: said for name in HANDED_ON if (said := self.headers[name])}
        status, answer = judged(body, ask(UPSTREAM, self.path, body, headers))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Length", str(len(answer)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    Server(("127.0.0.1", PORT), Handler).serve_forever()
