"""lk-jwt-service's key, by the way a client goes: OpenID token, `/sfu/get`, a room of no meaning.

The LiveKit room that lk-jwt-service makes on the way is removed again.
"""

import json
import re
from urllib.parse import quote

import jwt

from lotus_guard.check.context import PREFIX, CheckContext
from lotus_guard.check.exchange import (
    describe_answer,
    errcode_of,
    fields_of,
    outage_in_words,
    request,
)
from lotus_guard.check.finding import Finding, fault, note, ok, warning
from lotus_guard.check.livekit_api import remove_room
from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import ROOM_SLOT, known_livekit_rooms
from lotus_guard.core.token import NotOurs, open_token
from lotus_guard.core.wire import read_answer
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.http import HttpAnswer

USER, KEY = "user", "upstream-key"
SAME = "the same LIVEKIT_KEY and LIVEKIT_SECRET (best: one LIVEKIT_KEY_FILE) for both services"
FEDERATION = "lk-jwt-service must reach the homeserver by federation, with the openid listener"
_USER_ID = re.compile(r"@[\x21-\x7e]{1,253}")
SECONDS = 30.0
"""lk-jwt-service asks the user's homeserver by federation, which may take long."""


class Ended(Exception):
    """The check can go no further; holds the finding."""

    def __init__(self, finding: Finding) -> None:
        super().__init__(finding.seen)
        self.finding = finding


async def check_as_user(context: CheckContext) -> list[Finding]:
    """Get a token as a client would, past the guard, and see who signed it."""
    if not context.options.user_token:
        return []
    try:
        user = await _whoami(context)
        openid = await _openid(context, user)
        room = RoomId(f"!{PREFIX}-{context.new_name()}:{user.partition(':')[2]}")
        answer = await _token(context, room, openid)
    except Ended as ended:
        return [ended.finding]
    except Outage:
        return [note(USER, "not looked at: Synapse does not answer")]
    return [ok(USER, "the user's token is good"), await _judge(context, room, answer)]


async def _whoami(context: CheckContext) -> str:
    url = f"{context.config.synapse_url}/_matrix/client/v3/account/whoami"
    answer = await request(context.http.synapse, "GET", url, _bearer(context))
    user = fields_of(answer).get("user_id")
    if answer.status in (401, 403):
        seen = f"Synapse does not know the user's token ({answer.status} {errcode_of(answer)})"
        raise Ended(warning(USER, seen, "--as-user: a valid access token of any user"))
    if answer.status != 200 or not isinstance(user, str) or not _USER_ID.fullmatch(user):
        seen = f"Synapse does not say whose token it is ({describe_answer(answer)})"
        raise Ended(warning(USER, seen, "LOTUS_GUARD_SYNAPSE_URL: Synapse itself; see its log"))
    return user


async def _openid(context: CheckContext, user: str) -> dict[str, object]:
    path = f"/_matrix/client/v3/user/{quote(user, safe='')}/openid/request_token"
    answer = await request(
        context.http.synapse, "POST", context.config.synapse_url + path, _bearer(context), b"{}"
    )
    fields = fields_of(answer)
    if answer.status != 200 or not isinstance(fields.get("access_token"), str):
        seen = f"Synapse gives the user no OpenID token ({describe_answer(answer)})"
        raise Ended(warning(USER, seen, "--as-user: a token of an ordinary user, no guest"))
    names = ("access_token", "token_type", "matrix_server_name", "expires_in")
    return {name: fields[name] for name in names if name in fields}


async def _token(context: CheckContext, room: RoomId, openid: dict[str, object]) -> HttpAnswer:
    body = json.dumps({"room": room, "openid_token": openid, "device_id": PREFIX}).encode()
    base = context.config.upstream
    headers = {"Content-Type": "application/json"}
    try:
        return await request(
            context.http.upstream, "POST", f"{base}/sfu/get", headers, body, SECONDS
        )
    except Outage as outage:
        raise Ended(_no_answer(outage)) from None


def _no_answer(outage: Outage) -> Finding:
    if outage.reason is Reason.TIMEOUT:
        seen = f"lk-jwt-service gives no token within {SECONDS:g} s: it asks the user's homeserver"
        return fault(KEY, seen, FEDERATION)
    return note(KEY, f"not looked at: {outage_in_words(outage)} at lk-jwt-service")


async def _judge(context: CheckContext, room: RoomId, answer: HttpAnswer) -> Finding:
    encoded = read_answer(answer.body) if answer.status == 200 else None
    if encoded is None:
        return _refused(answer)
    made = _livekit_room_in(encoded)
    # Only what is surely of our making is removed: never a call's room, whatever the token says.
    gone = made in set(known_livekit_rooms(room, ROOM_SLOT)) and await remove_room(context, made)
    left = "" if gone else "; the LiveKit room it made was not removed, it ends in 5 minutes"
    try:
        open_token(encoded, context.config.credentials.livekit.known())
    except NotOurs:
        seen = f"lk-jwt-service signs its tokens with another key or secret than ours{left}"
        return fault(KEY, f"{seen}: no rule holds", SAME)
    return ok(KEY, f"lk-jwt-service signs with our key and secret{left}")


def _refused(answer: HttpAnswer) -> Finding:
    seen = f"lk-jwt-service gives no token: {answer.status} {errcode_of(answer)}"
    if answer.status == 401:
        wanted = FEDERATION
    elif answer.status >= 500:
        wanted = f"its LIVEKIT_URL must lead to LiveKit, and {SAME}"
    else:
        wanted = "see its log"
    return fault(KEY, seen, wanted)


def _livekit_room_in(encoded: str) -> str:
    """Read the LiveKit room off a token, whoever signed it."""
    try:
        claims = jwt.decode(encoded, options={"verify_signature": False})
        return str(claims["video"]["room"])
    except (jwt.PyJWTError, KeyError, TypeError):
        return ""


def _bearer(context: CheckContext) -> dict[str, str]:
    return {
        "Authorization": f"Bearer {context.options.user_token}",
        "Content-Type": "application/json",
    }
