"""The token requests of the benchmark: many users in many rooms, and the token for each.

Every request has a number in its query string. All endpoints ignore a query, every candidate hands
it on, and an nginx that cannot sign tokens can pick by it the one that was signed beforehand.
Half of the users ask `/get_token`, half `/sfu/get`, as Element Call does. Those whose homeserver
hands their request on come to its door.
"""

import json
import random
import time
from base64 import urlsafe_b64decode
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from attrs import field, frozen

from lotus_guard.core.homeserver_wire import CLIENT_PATHS, USER_HEADER
from lotus_guard.core.model import Identity, RoomId, UserId
from lotus_guard.core.naming import (
    ROOM_SLOT,
    identity_of,
    legacy_identity_of,
    livekit_room_of,
    plain_identity_of,
)
from lotus_guard.core.token import KeyPair, mint

KEY, SECRET = "bench", "a-secret-for-the-benchmark-of-32-bytes"
HS_TOKEN = "a-homeserver-token-for-the-benchmark"
PUBLIC, HOMESERVER = "public", "homeserver"
LIMIT, QUALITY = "io.lotus.voice_limit", "io.lotus.room_quality"
KINDS: dict[str, dict[str, Any]] = {
    "open": {},
    "sources": {QUALITY: {"allow_camera": False}},
    "limit + sources": {QUALITY: {"allow_camera": False}, LIMIT: {"max_users": 200}},
}
"""The kinds of room, each with its policies. Nobody is refused: whoever asks gets a token."""
DOORS = {PUBLIC: tuple(KINDS), HOMESERVER: ("sources", "limit + sources")}
"""At which door rooms of which kinds are asked for."""
PRESENT = 4
"""How many people are in each room, all of them within every policy."""
FULL = "full"
"""The kind of a room of its own, whose cap is reached: a guard must refuse whoever asks for it."""
FULL_POLICY: dict[str, Any] = {LIMIT: {"max_users": PRESENT}}
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
    door: str = PUBLIC

    def headers(self) -> dict[str, str]:
        """Who asks, as headers say it."""
        if self.door == HOMESERVER:
            named = USER_HEADER.decode("ascii")
            return {"Authorization": f"Bearer {HS_TOKEN}", named: self.user}
        return {"X-Forwarded-For": self.address, "X-Real-IP": self.address}


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

    def of(self, kind: str, door: str = PUBLIC) -> list[Ask]:
        """List the requests for rooms of a kind at a door."""
        return [ask for ask in self.asks if (ask.kind, ask.door) == (kind, door)]

    def policies(self) -> dict[str, dict[str, Any]]:
        """The policies of every room."""
        found = {
            room_of(kind, n): events for kind, events in KINDS.items() for n in range(self.rooms)
        }
        return {**found, room_of(FULL, 0): FULL_POLICY}

    def _made(self) -> list[Ask]:
        made: list[Ask] = []
        for door, kinds in DOORS.items():
            for user in range(2):  # one for each of the public endpoints
                made.append(make_ask(len(made), FULL, room_of(FULL, 0), user, door))
            for kind in kinds:
                for user in range(self.users):
                    for room in range(self.rooms):
                        made.append(make_ask(len(made), kind, room_of(kind, room), user, door))
        return made


def room_of(kind: str, number: int) -> str:
    return f"!{kind.replace(' ', '')}{number}:bench"


def make_ask(number: int, kind: str, room: str, user: int, door: str = PUBLIC) -> Ask:
    """Make a user's request and its answer."""
    name = user_of(number, user)
    endpoint = "/sfu/get" if user % 2 else "/get_token"
    path = CLIENT_PATHS[0] if door == HOMESERVER else endpoint
    fields, identity = _WRITERS[path](name, room, f"m{number}")
    answer = {"jwt": token(room, identity)}
    if door == PUBLIC:
        answer["url"] = "wss://sfu.bench"
    # Not of a private network: those may be proxies.
    address = f"11.{number >> 16 & 255}.{number >> 8 & 255}.{number & 255}"
    query = f"{path}?n={number}"
    body = json.dumps(fields)
    return Ask(number, address, kind, room, query, body, json.dumps(answer), name, door)


DEVICE = "NKQYWXRPLZ"
Written = tuple[dict[str, Any], Identity]
"""The fields of a request, and the identity in the token for it."""


def _get_token(name: str, room: str, member: str) -> Written:
    who = {"id": member, "claimed_user_id": name, "claimed_device_id": DEVICE}
    fields = {"room_id": room, "slot_id": ROOM_SLOT, "openid_token": _openid(member), "member": who}
    return fields, identity_of(UserId(name), DEVICE, member)


def _sfu_get(name: str, room: str, member: str) -> Written:
    fields = {"room": room, "openid_token": _openid(member), "device_id": DEVICE}
    return fields, legacy_identity_of(UserId(name), DEVICE)


def _handed_on(name: str, room: str, member: str) -> Written:
    fields = {"room_id": room, "slot_id": ROOM_SLOT, "member_id": member}
    return {"url": "wss://sfu.bench", **fields}, plain_identity_of(UserId(name), member)


_WRITERS = {"/get_token": _get_token, "/sfu/get": _sfu_get, CLIENT_PATHS[0]: _handed_on}


def _openid(member: str) -> dict[str, Any]:
    return {
        "access_token": f"syt_{member:0>32}",
        "token_type": "Bearer",
        "matrix_server_name": "bench",
        "expires_in": 3600,
    }


def user_of(number: int, user: int) -> str:
    """The user who makes a request."""
    return f"@user{user}-of-{number}:bench"


def token(room: str, identity: Identity) -> str:
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
local browser = {
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
-- What a homeserver sends that hands a request on.
local synapse = { ["Content-Type"] = "application/json", ["User-Agent"] = "Synapse" }
-- ARGS: a file of requests, kept or new, many or one (address), public or homeserver
function init(args)
  local file, style, origin, door = args[1], args[2], args[3], args[4]
  for name, value in pairs(door == "homeserver" and synapse or browser) do
    wrk.headers[name] = value
  end
  if style == "new" then wrk.headers["Connection"] = "close" end
  for line in io.lines(file) do
    local path, who, body = line:match("^(%S+) (%S+) (.*)$")
    if door == "homeserver" then
      wrk.headers["Authorization"] = "Bearer HS_TOKEN"
      wrk.headers["USER_HEADER"] = who
    elseif origin == "many" then
      wrk.headers["X-Forwarded-For"] = who
      wrk.headers["X-Real-IP"] = who
    end
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


def write_script(directory: Path, table: Table) -> dict[tuple[str, str], Path]:
    """Write wrk's script, and the requests of each kind at each door, in an order of no pattern."""
    named = SCRIPT.replace("HS_TOKEN", HS_TOKEN).replace("USER_HEADER", USER_HEADER.decode("ascii"))
    (directory / "load.lua").write_text(named)
    files = {}
    for door, kinds in DOORS.items():
        for kind in kinds:
            asks = table.of(kind, door)
            random.Random(7).shuffle(asks)
            path = files[kind, door] = directory / f"{door}-{kind.replace(' ', '')}.asks"
            who = [ask.user if door == HOMESERVER else ask.address for ask in asks]
            lines = (f"{a.path} {each} {a.body}\n" for a, each in zip(asks, who, strict=True))
            path.write_text("".join(lines))
    return files
