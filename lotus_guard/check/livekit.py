"""LiveKit: is its API there, does it know our key, and does it make rooms for anybody?

Answers of livekit-server 1.13.3, measured: a key that it does not know or a secret that is another
is 401 in plain text (which repeats the token, so it is never shown); `GET /rtc/validate` with a
join token is 200 `success` where a join would do and 404 `requested room does not exist` where
`room.auto_create` is off and there is no such room. It joins nobody and makes nothing.
"""

from lotus_guard.check.context import PREFIX, CheckContext
from lotus_guard.check.exchange import describe_answer, describe_outage, fields_of, header, request
from lotus_guard.check.finding import Finding, fault, note, ok, warning
from lotus_guard.check.livekit_api import authorization, call_livekit
from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.http import HttpAnswer

API, KEY, AUTO_CREATE = "livekit", "livekit-key", "auto-create"
WANTED = (
    "set LOTUS_GUARD_LIVEKIT_URL=http://127.0.0.1:7880 (LiveKit itself, not the proxy before it)"
)
SAME_KEY = (
    "set LIVEKIT_KEY and LIVEKIT_SECRET (or LIVEKIT_KEY_FILE) to a pair from `keys` in livekit.yaml"
)
NO_AUTO_CREATE = "in livekit.yaml, set room: {auto_create: false}"


async def check_api(context: CheckContext) -> list[Finding]:
    """List rooms, as the guard does."""
    base = context.config.livekit_api
    try:
        answer = await call_livekit(context, "ListRooms", {"roomList": True}, {"names": [PREFIX]})
    except Outage as outage:
        return [fault(API, describe_outage(outage, base), f"start LiveKit, or {WANTED}")]
    if _refuses_token(answer):
        return [
            ok(API, f"LiveKit's API answers at {base}"),
            fault(KEY, "LiveKit does not know LIVEKIT_KEY, or has another secret for it", SAME_KEY),
        ]
    if answer.status != 200 or "rooms" not in fields_of(answer):
        seen = f"{base} answers {describe_answer(answer)} to /twirp/…: not LiveKit's API"
        return [fault(API, seen, WANTED)]
    return [
        ok(API, f"LiveKit's API answers at {base}"),
        ok(KEY, "LiveKit accepts LIVEKIT_KEY and LIVEKIT_SECRET"),
    ]


async def check_auto_create(context: CheckContext) -> list[Finding]:
    """Ask whether a join would make a room; without joining."""
    room, file = f"{PREFIX}-{context.new_name()}", context.livekit_file
    grant = {"roomJoin": True, "room": room}
    try:
        answer = await request(
            context.http.livekit,
            "GET",
            f"{context.config.livekit_api}/rtc/validate",
            authorization(context, grant),
        )
    except Outage:
        answer = None
    makes = None if answer is None else _would_make(answer)
    where = "LiveKit"
    if makes is None and file is not None:
        makes, where = file.auto_create, file.path
    if makes is None:
        return [note(AUTO_CREATE, "not checked: LiveKit does not say what a join would do")]
    if makes:
        seen = f"{where} creates a room for anybody who joins: room.auto_create is on"
        return [warning(AUTO_CREATE, seen, NO_AUTO_CREATE)]
    return [ok(AUTO_CREATE, f"{where} does not create a room when somebody joins")]


def _would_make(answer: HttpAnswer) -> bool | None:
    if answer.status == 200 and answer.body == b"success":
        return True
    if answer.status == 404 and b"room does not exist" in answer.body:
        return False
    return None


def _refuses_token(answer: HttpAnswer) -> bool:
    """Whether LiveKit itself refuses the token, and not a proxy that wants a password."""
    return answer.status == 401 and not header(answer, "WWW-Authenticate")
