"""The guard that one would write in an afternoon: a thread a connection, blocking HTTP.

Only for comparison in `bench/token_path.py`. It does the main job honestly (source policy and
limit, a policy cache of ten seconds, ListParticipants for each request to a capped room) and none
of what the guard does besides: no strict reading, no deadlines, no seats held, no records, no live
loop. In two styles:

- `plain`: the standard library as it comes. `urllib.request` makes a connection for each request
  to a neighbour, and `http.server` speaks HTTP/1.0 and closes each client's.
- `kept`: what somebody makes of it who has looked where the time goes. Connections are kept alive
  on both sides, without Nagle's delay.

    threaded_guard.py plain|kept PORT UPSTREAM_PORT SYNAPSE_PORT LIVEKIT_PORT KEY SECRET
"""

import json
import sys
import threading
import time
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import quote
from urllib.request import Request, urlopen

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


def ask_plain(port: int, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
    """Make a request over a connection of its own."""
    with urlopen(Request(f"http://127.0.0.1:{port}{path}", body, headers)) as answer:
        found: bytes = answer.read()
        return found


def ask_kept(port: int, path: str, body: bytes | None, headers: dict[str, str]) -> bytes:
    """Make a request over this thread's own connection."""
    connections = mine.__dict__.setdefault("connections", {})
    connection = connections.setdefault(port, HTTPConnection("127.0.0.1", port))
    connection.request("GET" if body is None else "POST", path, body, headers)
    answer: bytes = connection.getresponse().read()
    return answer


ask = {"plain": ask_plain, "kept": ask_kept}[STYLE]


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
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        headers = {"Content-Type": "application/json"}
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


class KeptHandler(Handler):
    protocol_version = "HTTP/1.1"
    wbufsize = -1
    disable_nagle_algorithm = True


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 256


if __name__ == "__main__":
    Server(("127.0.0.1", PORT), KeptHandler if STYLE == "kept" else Handler).serve_forever()
