"""A stand-in for lk-jwt-service that starts in a blink: signs a token for whoever names a room.

Its refusals, `/healthz` and tokens are as the real one's; it asks no homeserver and no SFU.
"""

import base64
import hmac
import json
import os
import time
from hashlib import sha256
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY, SECRET = os.environ["LIVEKIT_KEY"], os.environ["LIVEKIT_SECRET"].encode()


def _encoded(value: object) -> bytes:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).rstrip(b"=")


def token(room: str) -> str:
    now = int(time.time())
    video = {"roomJoin": True, "room": room, "canPublish": True, "canSubscribe": True}
    claims = {"iss": KEY, "sub": "@a:b:D", "nbf": now, "exp": now + 3600, "video": video}
    signed = _encoded({"alg": "HS256", "typ": "JWT"}) + b"." + _encoded(claims)
    digest = hmac.new(SECRET, signed, sha256).digest()
    return (signed + b"." + base64.urlsafe_b64encode(digest).rstrip(b"=")).decode()


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self._reply(200 if self.path == "/healthz" else 404, b"")

    def do_OPTIONS(self) -> None:
        self._reply(200, b"")

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path == "/sfu_webhook":
            self._reply(200, b"")
            return
        fields = json.loads(body)
        room = fields.get("room") or fields.get("room_id")
        if self.path not in ("/sfu/get", "/get_token") or not room:
            answer = {"errcode": "M_BAD_JSON", "error": f"{self.path}: Missing room parameter"}
            self._reply(400, json.dumps(answer).encode())
            return
        answer = {"url": os.environ["LIVEKIT_URL"], "jwt": token(room)}
        self._reply(200, json.dumps(answer).encode())

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    allow_reuse_address = True


if __name__ == "__main__":
    host, _, port = os.environ["LIVEKIT_JWT_BIND"].rpartition(":")
    Server((host or "127.0.0.1", int(port)), Handler).serve_forever()
