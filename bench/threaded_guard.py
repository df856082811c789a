"""The guard that one would write in an afternoon: a thread a connection, blocking HTTP.

Only for comparison in `bench/token_path.py`. It does the main job honestly (source policy and
limit, a policy cache of ten seconds, ListParticipants for each request to a capped room,
connections kept alive on both sides) and none of what the guard does besides: no strict reading,
no deadlines, no seats held, no records, no live loop.

    python bench/threaded_guard.py PORT UPSTREAM_PORT SYNAPSE_PORT LIVEKIT_PORT KEY SECRET
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

PORT, UPSTREAM, SYNAPSE, LIVEKIT = (int(text) for text in sys.argv[1:5])
KEY, SECRET = sys.argv[5:7]
CACHE_SECONDS = 10.0
LIMIT, QUALITY = "io.lotus.voice_limit", "io.lotus.room_quality"
FORBIDS = {
    "allow_camera": ["camera"],
    "allow_screenshare": ["screen_share", "screen_share_audio"],
}
EVERY = ["camera", "microphone", "screen_share", "screen_share_audio"]

cache: dict[str, tuple[float, dict[str, Any]]] = {}
mine = threading.local()


def ask(port: int, method: str, path: str, body: bytes, headers: dict[str, str]) -> bytes:
    """Make a request over this thread's own connection."""
    connections = mine.__dict__.setdefault("connections", {})
    connection = connections.setdefault(port, HTTPConnection("127.0.0.1", port))
    connection.request(method, path, body, headers)
    answer: bytes = connection.getresponse().read()
    return answer


def policy(room: str) -> dict[str, Any]:
    kept = cache.get(room)
    if kept and time.monotonic() - kept[0] < CACHE_SECONDS:
        return kept[1]
    found: dict[str, Any] = {}
    for kind in (LIMIT, QUALITY):
        path = f"/_synapse/admin/v1/rooms/{quote(room, safe='')}/state?type={kind}"
        answer = json.loads(ask(SYNAPSE, "GET", path, b"", {"Authorization": "Bearer t"}))
        for event in answer["state"]:
            if event["type"] == kind and event["state_key"] == "":
                found |= event["content"]
    cache[room] = (time.monotonic(), found)
    return found


def people(alias: str) -> set[str]:
    now = int(time.time())
    grant = {"roomAdmin": True, "room": alias}
    claims = {"iss": KEY, "nbf": now - 10, "exp": now + 60, "video": grant}
    headers = {
        "Content-Type": "application/protobuf",
        "Authorization": f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}",
    }
    body = lk_room.ListParticipantsRequest(room=alias).SerializeToString()
    path = "/twirp/livekit.RoomService/ListParticipants"
    answer = lk_room.ListParticipantsResponse.FromString(ask(LIVEKIT, "POST", path, body, headers))
    return {each.identity.rpartition(":")[0] for each in answer.participants}


def judged(body: bytes, answer: bytes) -> tuple[int, bytes]:
    room = json.loads(body)["room"]
    fields = json.loads(answer)
    rules = policy(room)
    claims = jwt.decode(fields["jwt"], SECRET, algorithms=["HS256"])
    limit = rules.get("max_users")
    if limit:
        there = people(claims["video"]["room"])
        if claims["sub"].rpartition(":")[0] not in there and len(there) >= limit:
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
        headers = {"Content-Type": "application/json"}
        status, answer = judged(body, ask(UPSTREAM, "POST", self.path, body, headers))
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Access-Control-Allow-Origin", "*")
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    Server(("127.0.0.1", PORT), Handler).serve_forever()
