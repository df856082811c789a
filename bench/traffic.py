"""The token requests of the benchmark: many users in many rooms, and the token for each.

Every request has a number in its query string. Both endpoints ignore a query, every candidate hands
it on, and an nginx that cannot sign tokens can pick by it the one that was signed beforehand.
Half of the users ask `/get_token`, half `/sfu/get`, as Element Call does.
"""

import json
import random
import time
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.naming import ROOM_SLOT, identity_of, legacy_identity_of, livekit_room_of
from lotus_guard.core.token import KeyPair, mint

KEY, SECRET = "bench", "a-secret-for-the-benchmark-of-32-bytes"
LIMIT, QUALITY = "io.lotus.voice_limit", "io.lotus.room_quality"
KINDS: dict[str, dict[str, Any]] = {
    "open": {},
    "sources": {QUALITY: {"allow_camera": False}},
    "limit + sources": {QUALITY: {"allow_camera": False}, LIMIT: {"max_users": 200}},
}
"""The kinds of room, each with its policies. Nobody is refused: whoever asks gets a token."""
ALLOWED = ["microphone", "screen_share", "screen_share_audio"]
"""What a token of a restricted room may say."""


@frozen
class Ask:
    """One user's request for a token, and the answer of lk-jwt-service to it."""

    number: int
    address: str
    """The user's, as the reverse proxy says."""
    kind: str
    room: str
    path: str
    body: str
    answer: str
    user: str


@frozen
class Table:
    """All requests of a run."""

    rooms: int
    """Rooms of each kind."""
    users: int
    """Users in each room."""
    asks: list[Ask] = field(init=False)

    def __attrs_post_init__(self) -> None:
        object.__setattr__(self, "asks", self._made())

    def of(self, kind: str) -> list[Ask]:
        """List the requests for rooms of a kind."""
        return [ask for ask in self.asks if ask.kind == kind]

    def policies(self) -> dict[str, dict[str, Any]]:
        """The policies of every room."""
        return {
            room_of(kind, n): events for kind, events in KINDS.items() for n in range(self.rooms)
        }

    def _made(self) -> list[Ask]:
        made: list[Ask] = []
        for kind in KINDS:
            for user in range(self.users):
                for room in range(self.rooms):
                    made.append(make_ask(len(made), kind, room_of(kind, room), user))
        return made


def room_of(kind: str, number: int) -> str:
    return f"!{kind.replace(' ', '')}{number}:bench"


def make_ask(number: int, kind: str, room: str, user: int) -> Ask:
    """Make a user's request and its answer."""
    name, device = user_of(number, user), "NKQYWXRPLZ"
    fields: dict[str, Any]
    openid = {
        "access_token": f"syt_{number:032d}",
        "token_type": "Bearer",
        "matrix_server_name": "bench",
        "expires_in": 3600,
    }
    if user % 2:
        path, identity = "/sfu/get", legacy_identity_of(UserId(name), device)
        fields = {"room": room, "openid_token": openid, "device_id": device}
    else:
        path, identity = "/get_token", identity_of(UserId(name), device, f"m{number}")
        who = {"id": f"m{number}", "claimed_user_id": name, "claimed_device_id": device}
        fields = {"room_id": room, "slot_id": ROOM_SLOT, "openid_token": openid, "member": who}
    answer = {"url": "wss://sfu.bench", "jwt": token(room, identity)}
    # Not of a private network: those may be proxies.
    address = f"11.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    query = f"{path}?n={number}"
    return Ask(number, address, kind, room, query, json.dumps(fields), json.dumps(answer), name)


def user_of(number: int, user: int) -> str:
    """The user who makes a request."""
    return f"@user{user}-of-{number}:bench"


def token(room: str, identity: str) -> str:
    """Sign a token as lk-jwt-service does."""
    now = int(time.time())
    video = {
        "roomJoin": True,
        "room": livekit_room_of(RoomId(room), ROOM_SLOT),
        "canPublish": True,
        "canSubscribe": True,
        "canUpdateOwnMetadata": True,
    }
    return mint(KeyPair(KEY, SECRET), sub=identity, nbf=now, exp=now + 3600, video=video)


def claims_of(answer: str | bytes) -> Mapping[str, Any]:
    """Read the token in an answer."""
    payload = json.loads(answer)["jwt"].split(".")[1]
    claims: Mapping[str, Any] = json.loads(urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


SCRIPT = """-- Sends the requests of a file one after the other; prints what came of it as JSON.
local requests, at = {}, 0
-- What a browser and Nginx Proxy Manager add: every header takes time to read.
local headers = {
  ["Content-Type"] = "application/json",
  ["Accept"] = "*/*",
  ["Accept-Language"] = "en-GB,en;q=0.7,de;q=0.3",
  ["Origin"] = "https://call.example.org",
  ["Referer"] = "https://call.example.org/",
  ["Sec-Fetch-Dest"] = "empty",
  ["Sec-Fetch-Mode"] = "cors",
  ["Sec-Fetch-Site"] = "same-site",
  ["User-Agent"] = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0",
  ["X-Forwarded-Proto"] = "https",
  ["X-Forwarded-Scheme"] = "https",
}
function init(args)
  for name, value in pairs(headers) do wrk.headers[name] = value end
  if args[2] == "close" then wrk.headers["Connection"] = "close" end
  for line in io.lines(args[1]) do
    local path, address, body = line:match("^(%S+) (%S+) (.*)$")
    wrk.headers["X-Forwarded-For"] = address
    wrk.headers["X-Real-IP"] = address
    requests[#requests + 1] = wrk.format("POST", path, wrk.headers, body)
  end
end
function request()
  at = at % #requests + 1
  return requests[at]
end
function done(summary, latency, _)
  local e = summary.errors
  local fields = '{"requests": %d, "seconds": %f, "p50": %f, "p99": %f, "refused": %d, ' ..
    '"broken": %d}'
  print(string.format(fields, summary.requests, summary.duration / 1e6,
    latency:percentile(50) / 1e3, latency:percentile(99) / 1e3,
    e.status, e.connect + e.read + e.write + e.timeout))
end
"""


def write_script(directory: Path, table: Table, kinds: list[str]) -> dict[str, Path]:
    """Write wrk's script, and the requests of each kind in an order of no pattern."""
    (directory / "load.lua").write_text(SCRIPT)
    files = {}
    for kind in kinds:
        asks = table.of(kind)
        random.Random(7).shuffle(asks)
        files[kind] = directory / f"{kind.replace(' ', '')}.asks"
        files[kind].write_text("".join(f"{ask.path} {ask.address} {ask.body}\n" for ask in asks))
    return files
