"""lk-jwt-service's key, by the way a client goes: OpenID token, `/sfu/get`, a room of no meaning.

The LiveKit room that lk-jwt-service makes on the way is removed again.
"""

import json
import re

import jwt

from lotus_guard.check.context import PREFIX, CheckContext
from lotus_guard.check.exchange import SECONDS, errcode_of, outage_in_words, request
from lotus_guard.check.finding import Finding, fault, note, ok, warning
from lotus_guard.check.livekit_api import remove_room
from lotus_guard.core.model import RoomId
from lotus_guard.core.naming import ROOM_SLOT, known_livekit_rooms
from lotus_guard.core.token import NotOurs, open_token
from lotus_guard.core.wire import read_answer
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.neighbours.http import HttpAnswer
from lotus_guard.neighbours.matrix import Denied, Matrix

USER, KEY = "user", "upstream-key"
SAME = "give both services the same LIVEKIT_KEY and LIVEKIT_SECRET (best: one LIVEKIT_KEY_FILE)"
FEDERATION = "let lk-jwt-service reach the homeserver by federation, with the openid listener"
_USER_ID = re.compile(r"@[\x21-\x7e]{1,253}")
TOKEN_SECONDS = 30.0
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
        matrix = _matrix(context)
        user = await _whoami(matrix)
        openid = await _openid(matrix, user)
        room = RoomId(f"!{PREFIX}-{context.new_name()}:{user.partition(':')[2]}")
        answer = await _token(context, room, openid)
    except Ended as ended:
        return [ended.finding]
    except Outage:
        return [note(USER, "not checked: Synapse does not answer")]
    return [ok(USER, "Synapse accepts the user's token"), await _judge(context, room, answer)]


def _matrix(context: CheckContext) -> Matrix:
    return Matrix(
        context.http.synapse,
        context.config.synapse_url,
        context.options.user_token,
        seconds=SECONDS,
        patience=0.0,
        user_agent=PREFIX,
    )


async def _whoami(matrix: Matrix) -> str:
    try:
        user = await matrix.whoami()
    except Denied as denied:
        raise Ended(_unknown(denied)) from None
    if not _USER_ID.fullmatch(user):
        raise Ended(_unknown(Denied(200, "", "")))
    return user


def _unknown(denied: Denied) -> Finding:
    if denied.status in (401, 403):
        seen = f"Synapse does not know the user's token ({_in_words(denied)})"
        return warning(USER, seen, "give --as-user a valid access token of any user")
    seen = f"Synapse does not say whose token it is ({_in_words(denied)})"
    return warning(USER, seen, "point LOTUS_GUARD_SYNAPSE_URL at Synapse itself; see its log")


async def _openid(matrix: Matrix, user: str) -> dict[str, object]:
    try:
        fields = await matrix.openid_token(user)
    except Denied as denied:
        seen = f"Synapse gives the user no OpenID token ({_in_words(denied)})"
        wanted = "give --as-user the token of an ordinary user, not a guest"
        raise Ended(warning(USER, seen, wanted)) from None
    names = ("access_token", "token_type", "matrix_server_name", "expires_in")
    return {name: fields[name] for name in names if name in fields}


def _in_words(denied: Denied) -> str:
    return f"{denied.status} {denied.errcode}".strip()


async def _token(context: CheckContext, room: RoomId, openid: dict[str, object]) -> HttpAnswer:
    body = json.dumps({"room": room, "openid_token": openid, "device_id": PREFIX}).encode()
    base = context.config.upstream
    headers = {"Content-Type": "application/json"}
    try:
        return await request(
            context.http.upstream, "POST", f"{base}/sfu/get", headers, body, TOKEN_SECONDS
        )
    except Outage as outage:
        raise Ended(_no_answer(outage)) from None


def _no_answer(outage: Outage) -> Finding:
    if outage.reason is Reason.TIMEOUT:
        late = f"lk-jwt-service gives no token within {TOKEN_SECONDS:g} s"
        return fault(KEY, f"{late}; it may be waiting for the user's homeserver", FEDERATION)
    return note(KEY, f"not checked: lk-jwt-service: {outage_in_words(outage)}")


async def _judge(context: CheckContext, room: RoomId, answer: HttpAnswer) -> Finding:
    encoded = read_answer(answer.body) if answer.status == 200 else None
    if encoded is None:
        return _refused(answer)
    made = _livekit_room_in(encoded)
    # Only what is surely of our making is removed: never a call's room, whatever the token says.
    gone = made in set(known_livekit_rooms(room, ROOM_SLOT)) and await remove_room(context, made)
    left = "" if gone else "; its LiveKit room could not be removed and ends in 5 minutes"
    try:
        open_token(encoded, context.config.credentials.livekit.known())
    except NotOurs:
        seen = f"lk-jwt-service signs its tokens with another key or secret{left}"
        return fault(KEY, f"{seen}: no rule is enforced", SAME)
    return ok(KEY, f"lk-jwt-service signs with this key and secret{left}")


def _refused(answer: HttpAnswer) -> Finding:
    seen = f"lk-jwt-service gives no token: {answer.status} {errcode_of(answer)}"
    if answer.status == 401:
        wanted = FEDERATION
    elif answer.status >= 500:
        wanted = f"point its LIVEKIT_URL at LiveKit, and {SAME}"
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
