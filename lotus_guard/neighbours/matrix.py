"""Matrix' client API, as a user of Synapse calls it, and the look at a room's state as an admin.

    GET  /_matrix/client/versions                                    {"versions": […]}; no token
    GET  /_matrix/client/v3/directory/room/{alias}                   {"room_id": "!…"}; no token
    GET  /_matrix/client/v3/account/whoami                           {"user_id": "@…"}
    GET  /_matrix/client/v3/rooms/{room}/state/m.room.member/{user}  {"membership": "join"}
    PUT  /_matrix/client/v3/rooms/{room}/state/{type}/               {"event_id": "$…"}
    POST /_matrix/client/v3/user/{user}/openid/request_token         {"access_token": "…", …}

Refusals are `{"errcode": "M_…", "error": "…"}`; 429 says in `retry_after_ms`, and in the header
`Retry-After` in seconds, how long to wait (docs/facts.md, Synapse: client API).
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import define, field
from twisted.internet.task import deferLater

from lotus_guard.core.ids import is_room_id
from lotus_guard.core.model import RoomId
from lotus_guard.core.objects import json_object
from lotus_guard.neighbours.http import Http, HttpAnswer
from lotus_guard.neighbours.synapse_admin import MOST_BYTES, events_in, quoted, state_path

VERSIONS_PATH = "/_matrix/client/versions"
_LEAST_WAIT = 0.5
_LEAST_HIDDEN = 8
"""Shorter tokens are not looked for in what Synapse says: they are in every other word."""


class Denied(Exception):
    """The homeserver answered, and not with what was wanted.

    `errcode` is empty where what answered is no homeserver. `retry_after`: seconds, of a 429.
    """

    def __init__(self, status: int, errcode: str, error: str, retry_after: float = 0.0) -> None:
        super().__init__(f"{status} {errcode}: {error}")
        self.status = status
        self.errcode = errcode
        self.error = error
        self.retry_after = retry_after


@define(eq=False)
class Matrix:
    """Asks a homeserver with one token. Each call raises Outage, or Denied."""

    http: Http
    url: str
    """Base address such as `http://127.0.0.1:8008`, without a trailing slash."""
    token: str = field(repr=False)
    """Empty for none."""
    seconds: float = 30.0
    """The deadline of one exchange; the homeserver may have to ask another one for an alias."""
    patience: float = 30.0
    """Most seconds that one call waits in all where the homeserver says "later" (429)."""
    on_wait: Callable[[float], None] = lambda _seconds: None
    """Told of each wait before it begins."""
    user_agent: str = ""
    """What it calls itself in the homeserver's log; empty for nothing."""

    async def room_of(self, alias: str) -> RoomId:
        """Find the room of an alias."""
        fields = await self._ask("GET", f"/_matrix/client/v3/directory/room/{quoted(alias)}")
        room = _text(fields, "room_id")
        if not is_room_id(room):
            raise Denied(200, "", "")
        return RoomId(room)

    async def whoami(self) -> str:
        """Ask whose token it is."""
        return _text(await self._ask("GET", "/_matrix/client/v3/account/whoami"), "user_id")

    async def membership(self, room: RoomId, user: str) -> str:
        """A user's membership as they see it themselves; Denied (403) where they were never in."""
        path = f"{_client_state_path(room, 'm.room.member')}{quoted(user)}"
        return _text(await self._ask("GET", path), "membership")

    async def set_state(self, room: RoomId, event_type: str, content: Mapping[str, Any]) -> None:
        """Set a state event with the empty state key."""
        body = json.dumps(dict(content)).encode("ascii")
        await self._ask("PUT", _client_state_path(room, event_type), body)

    async def openid_token(self, user: str) -> dict[str, Any]:
        """Get what proves to others who the user is whose token this is."""
        path = f"/_matrix/client/v3/user/{quoted(user)}/openid/request_token"
        fields = await self._ask("POST", path, b"{}")
        _text(fields, "access_token")
        return fields

    async def events(self, room: RoomId, event_type: str) -> Sequence[Any]:
        """List a room's state events of a type, as an admin; older releases send all types."""
        events = events_in(await self._ask("GET", state_path(room, event_type)))
        if events is None:
            raise Denied(200, "", "")
        return events

    async def _ask(self, method: str, path: str, body: bytes | None = None) -> dict[str, Any]:
        left = self.patience
        while True:
            answer = await self._exchange(method, path, body)
            fields = json_object(answer.body)
            if answer.status == 200 and fields is not None:
                return fields
            denied = self._denied(answer, fields or {})
            wait = max(denied.retry_after, _LEAST_WAIT)
            if denied.status != 429 or wait > left:
                raise denied
            left -= wait
            self.on_wait(wait)
            await deferLater(self.http.clock, wait)

    async def _exchange(self, method: str, path: str, body: bytes | None) -> HttpAnswer:
        headers = {b"Content-Type": b"application/json"} if body is not None else {}
        if self.token:
            headers[b"Authorization"] = b"Bearer " + self.token.encode("ascii")
        if self.user_agent:
            headers[b"User-Agent"] = self.user_agent.encode("ascii")
        return await self.http.exchange(
            method.encode("ascii"),
            f"{self.url}{path}".encode("ascii"),
            headers,
            body,
            seconds=self.seconds,
            most=MOST_BYTES,
        )

    def _denied(self, answer: HttpAnswer, fields: Mapping[str, Any]) -> Denied:
        errcode, error = fields.get("errcode"), fields.get("error")
        said = error if isinstance(error, str) else ""
        if len(self.token) >= _LEAST_HIDDEN:
            said = said.replace(self.token, "***")
        known = errcode if isinstance(errcode, str) else ""
        return Denied(answer.status, known, said, _retry_after(answer, fields))


def _client_state_path(room: RoomId, event_type: str) -> str:
    return f"/_matrix/client/v3/rooms/{quoted(room)}/state/{quoted(event_type)}/"


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str):
        raise Denied(200, "", "")
    return value


def _retry_after(answer: HttpAnswer, fields: Mapping[str, Any]) -> float:
    """Read how many seconds to wait; 0 where that is not said."""
    told = fields.get("retry_after_ms")
    if isinstance(told, int | float) and not isinstance(told, bool):
        seconds = min(told, 1e12) / 1000.0
    else:
        values = answer.headers.getRawHeaders(b"Retry-After", [b""])
        seconds = float(values[0]) if values[0].isdigit() and len(values[0]) < 12 else 0.0
    return seconds if math.isfinite(seconds) and seconds > 0.0 else 0.0
