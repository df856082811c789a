"""The way behind the homeserver: do clients go it, and does it lead through the guard?

The homeserver announces where calls are (MSC4143), each with a `livekit_service_url`, which clients
ask themselves, or with a `url`: then they ask the homeserver, which hands the request on to the
`proxy_url` of a registration (docs/facts.md, lk-jwt-service: behind a homeserver). A probe in the
query string survives that, a header would not: a guard answers it itself, lk-jwt-service does not.
"""

from typing import Any

from attrs import frozen
from twisted.internet.defer import ensureDeferred, gatherResults

from lotus_guard.check.context import PREFIX, CheckContext
from lotus_guard.check.exchange import describe_answer, errcode_of, fields_of, request
from lotus_guard.check.finding import Finding, fault, note, ok, warning
from lotus_guard.check.probe import echo_of, probe_query
from lotus_guard.core.homeserver_wire import CLIENT_PATHS
from lotus_guard.core.naming import ROOM_SLOT
from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.http import HttpAnswer
from lotus_guard.rules.decision import DECISION_FIELD

WAY, ANNOUNCED, SERVICE = "homeserver-route", "homeserver-announced", "homeserver-service"
SCOPE, URL, BURST = "homeserver-scope", "homeserver-url", "homeserver-burst"
TRANSPORTS_PATH = "/_matrix/client/unstable/org.matrix.msc4143/rtc/transports"
BURST_OF = 12
"""So many requests at once are two joins of Element Call; Synapse's default lets ten through."""
_NOT_ANNOUNCED = "the homeserver announces no call service that clients reach through it"
_ANNOUNCE = (
    "to let them: in homeserver.yaml, experimental_features: msc4143_enabled, and matrix_rtc: "
    "transports"
)
_ONE_REGISTRATION = (
    "give Synapse, lk-jwt-service and the guard one registration, and restart all three after "
    "changing hs_token"
)
_AS_SERVICE = "run lk-jwt-service 0.8 or later, with LIVEKIT_AS_REGISTRATION_FILE"
_TO_GUARD = (
    "in lk-jwt-service's registration, point io.element.msc4512.proxy_url at the guard's "
    "LOTUS_GUARD_HOMESERVER_LISTEN (docs/homeserver.md); then restart Synapse"
)
_PREFIXED = (
    "in the registration: io.element.msc4512.proxy_prefix and io.element.msc4512.proxy_url, with "
    "these prefixes; in homeserver.yaml: experimental_features: msc4512_enabled"
)
_SCOPED = (
    'in the registration: io.element.msc4502.scopes: ["urn:matrix:client:io.element.msc4502:rooms:'
    'is_joined"]; in homeserver.yaml: experimental_features: msc4502_enabled; else lk-jwt-service: '
    "its address of the homeserver, and its as_token"
)
_SAME_URL = "set lk-jwt-service's LIVEKIT_URL exactly as the homeserver announces it"
_UP = "correct io.element.msc4512.proxy_url in the registration, or start what listens there"
_MORE = "in homeserver.yaml: rc_message: {per_second: 5, burst_count: 50}, or more"


@frozen
class _Asker:
    """Asks the homeserver for tokens, as the user; for what lets nobody in, as whoever we are."""

    context: CheckContext

    @property
    def is_user(self) -> bool:
        """Whether there is a user as whom a token may be asked for."""
        return bool(self.context.options.user_token)

    async def get(self, path: str) -> HttpAnswer:
        """Ask for something else."""
        return await self._ask("GET", path, None)

    async def token(self, query: str = "", **fields: str) -> HttpAnswer:
        """Ask for a token; a room of no meaning lets nobody in."""
        body = ", ".join(f'"{name}": "{value}"' for name, value in fields.items())
        return await self._ask("POST", f"{CLIENT_PATHS[1]}{query}", f"{{{body}}}".encode())

    async def probe(self) -> HttpAnswer:
        """Ask whoever stands behind the homeserver whether they are a guard of ours."""
        return await self.token(probe_query(self.context))

    async def _ask(self, method: str, path: str, body: bytes | None) -> HttpAnswer:
        config = self.context.config
        token = self.context.options.user_token or config.synapse_token or config.as_token
        headers = {"Authorization": f"Bearer {token}"}
        if body is not None:
            headers["Content-Type"] = "application/json"
        url = f"{config.synapse_url}{path}"
        return await request(self.context.http.synapse, method, url, headers, body)


async def check_homeserver(context: CheckContext) -> list[Finding]:
    """Go the way behind the homeserver: with `--as-user` to its end."""
    asker = _Asker(context)
    try:
        transports = await asker.get(TRANSPORTS_PATH)
        if transports.status != 200 and not _is_unknown(transports):
            seen = "not checked: the homeserver does not say where calls are"
            return [note(WAY, f"{seen} ({describe_answer(transports)})", "use --as-user")]
        announced = _announced(transports)
        way = _way(await asker.probe(), bool(announced))
        if announced:
            return [way, *await _as_user(asker, announced[0])]
        is_wanted = context.config.homeserver_listen
        return [way, note(ANNOUNCED, _NOT_ANNOUNCED, _ANNOUNCE)] if is_wanted else [way]
    except Outage:
        return [note(WAY, "not checked: Synapse does not answer")]


async def _as_user(asker: _Asker, url: str) -> list[Finding]:
    """Ask for a token, which is for a user to do."""
    if not asker.is_user:
        return [note(name, "not checked: no --as-user was given") for name in (SCOPE, URL, BURST)]
    return [*_judged(await _a_token(asker, url)), await _burst(asker)]


def _announced(answer: HttpAnswer) -> list[str]:
    """The addresses of SFUs for which clients ask the homeserver."""
    fields = fields_of(answer) if answer.status == 200 else {}
    found: Any = fields.get("rtc_transports", fields.get("transports"))
    entries = [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []
    return [each["url"] for each in entries if isinstance(each.get("url"), str) and each["url"]]


def _is_unknown(answer: HttpAnswer) -> bool:
    """Whether Synapse itself says that it serves no such path."""
    return answer.status == 404 and errcode_of(answer) == "M_UNRECOGNIZED"


def _way(answer: HttpAnswer, is_announced: bool) -> Finding:
    """Judge by who answers a probe: a guard of ours echoes it."""
    said = f"({answer.status} {errcode_of(answer)})"
    if echo_of(answer):
        return ok(WAY, "token requests that the homeserver forwards reach the guard")
    if answer.status == 404 and DECISION_FIELD in fields_of(answer):
        seen = "the homeserver forwards token requests to the guard's public port, which does not"
        return fault(WAY, f"{seen} serve them {said}", _TO_GUARD)
    if _is_unknown(answer):
        if not is_announced:
            return ok(
                WAY, "the homeserver forwards no token requests, and announces no call service"
            )
        return fault(
            WAY,
            f"the homeserver announces a call service, but forwards no token requests {said}",
            _PREFIXED,
        )
    if answer.status == 401 and "homeserver" in str(fields_of(answer).get("error")):
        seen = "the service that the homeserver forwards to does not accept its hs_token"
        return fault(WAY, f"{seen} {said}", _ONE_REGISTRATION)
    if answer.status in (500, 502, 504):
        seen = f"nothing answers where the homeserver forwards requests ({describe_answer(answer)})"
        return fault(WAY, seen, _UP)
    if answer.status in (401, 403, 429):
        return note(WAY, f"not checked: the homeserver refuses the request {said}")
    seen = "calls bypass the guard: the homeserver forwards token requests to another service"
    return fault(WAY, f"{seen} {said}", _TO_GUARD)


async def _a_token(asker: _Asker, url: str) -> HttpAnswer:
    room = f"!{PREFIX}-{asker.context.new_name()}:invalid"
    return await asker.token(url=url, room_id=room, slot_id=ROOM_SLOT, member_id=PREFIX)


def _judged(answer: HttpAnswer) -> list[Finding]:
    """Judge by a request for a room that nobody is in: 403 is the right answer."""
    said = f"{answer.status} {errcode_of(answer)}"
    if answer.status == 403:
        return [
            ok(SCOPE, "lk-jwt-service may ask the homeserver who is in a room"),
            ok(URL, "lk-jwt-service knows LiveKit by the announced address"),
        ]
    unseen = [note(name, f"not checked: {said}") for name in (SCOPE, URL)]
    if answer.status == 404:
        seen = "lk-jwt-service does not serve homeservers: nobody gets a token through theirs"
        return [fault(SERVICE, f"{seen} ({said})", _AS_SERVICE), *unseen]
    if answer.status == 401:
        seen = "lk-jwt-service does not accept the homeserver's hs_token: nobody gets a token"
        return [fault(SERVICE, f"{seen} ({said})", _ONE_REGISTRATION), *unseen]
    if answer.status == 502:
        seen = "lk-jwt-service cannot ask the homeserver who is in a room: nobody gets a token"
        return [fault(SCOPE, f"{seen} ({said})", _SCOPED), unseen[1]]
    if answer.status == 400 and errcode_of(answer) == "M_INVALID_PARAM":
        seen = "the homeserver announces another LiveKit than lk-jwt-service knows"
        return [unseen[0], fault(URL, seen, _SAME_URL)]
    return unseen


async def _burst(asker: _Asker) -> Finding:
    """Ask as often as two joins of Element Call do; the probes cost nobody anything."""
    answers = await gatherResults([ensureDeferred(asker.probe()) for _ in range(BURST_OF)])
    late = sum(answer.status == 429 for answer in answers)
    if late:
        seen = f"the homeserver refuses {late} of {BURST_OF} simultaneous token requests (429)"
        return warning(BURST, f"{seen}: somebody who joins twice in a row has to wait", _MORE)
    if not all(map(echo_of, answers)):
        return note(BURST, "not checked: not all requests reach the guard")
    return ok(BURST, f"the homeserver accepts {BURST_OF} simultaneous token requests")
