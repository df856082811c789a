"""Asks for tokens on the trial stack, from within its network: `visitor.py PASSWORD_FILE`.

Prints, as JSON, what alice and bob got in a room for one, and the focus that clients are told.
"""

import json
import sys
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import quote

SYNAPSE, GUARD = 8008, 8070


def call(port: int, method: str, path: str, fields: Any = None, token: str = "") -> tuple[int, Any]:
    connection = HTTPConnection("127.0.0.1", port, timeout=30.0)
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    connection.request(method, path, None if fields is None else json.dumps(fields), headers)
    response = connection.getresponse()
    return response.status, json.loads(response.read())


def client(method: str, path: str, fields: Any = None, token: str = "") -> Any:
    status, answer = call(SYNAPSE, method, f"/_matrix/client/v3{path}", fields, token)
    if status != 200:
        raise SystemExit(f"{method} {path}: {status} {answer}")
    return answer


def log_in(name: str, password: str) -> Any:
    who = {"type": "m.id.user", "user": name}
    fields = {"type": "m.login.password", "identifier": who, "password": password}
    return client("POST", "/login", fields)


def ask(user: Any, room: str) -> tuple[int, Any]:
    path = f"/user/{quote(user['user_id'])}/openid/request_token"
    openid = client("POST", path, {}, user["access_token"])
    fields = {"room": room, "openid_token": openid, "device_id": user["device_id"]}
    return call(GUARD, "POST", "/sfu/get", fields)


def main(password: str) -> None:
    alice, bob = log_in("alice", password), log_in("bob", password)
    preset = {"preset": "public_chat"}
    room = client("POST", "/createRoom", preset, alice["access_token"])["room_id"]
    limit = f"/rooms/{quote(room)}/state/io.lotus.voice_limit/"
    client("PUT", limit, {"max_users": 1}, alice["access_token"])
    known = call(SYNAPSE, "GET", "/.well-known/matrix/client")[1]
    focus = known["org.matrix.msc4143.rtc_foci"][0]["livekit_service_url"]
    print(json.dumps({"alice": ask(alice, room), "bob": ask(bob, room), "focus": focus}))


if __name__ == "__main__":
    main(Path(sys.argv[1]).read_text())
