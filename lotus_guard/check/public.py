"""The public address, as a client sees it: what does the proxy before the guard do to requests?

Requests that carry a probe are answered by the guard with the method and the target that arrived;
those without go the whole way, as a client's. What a browser needs (fetch standard, CORS): exactly
one Access-Control-Allow-Origin on every answer, refusals too, and a preflight that allows POST and
Content-Type.
"""

from collections.abc import Mapping

from twisted.internet.defer import ensureDeferred, gatherResults

from lotus_guard.adapters.http import HttpAnswer
from lotus_guard.check.ask import (
    Means,
    ask,
    described,
    echo_of,
    errcode_of,
    probe_headers,
    trouble,
)
from lotus_guard.check.finding import Finding, Level, fault, note, ok, warning
from lotus_guard.core.origin import UNCLEAR
from lotus_guard.ports import Outage

ROUTE, PREFIX, ENDPOINTS = "public-route", "public-prefix", "public-endpoints"
SLASHES, CORS, CLIENT = "public-slashes", "public-cors", "public-client"
PATHS = ("/get_token", "/sfu/get", "/delegate_delayed_leave")
ORIGIN = "https://lotus-guard-check.invalid"
TO_GUARD = (
    "in the proxy: send this address to the guard (nginx: proxy_pass http://127.0.0.1:8070/;)"
)
STRIP = (
    "in the proxy: strip the prefix (nginx: a slash at the end of proxy_pass; Caddy: handle_path; "
    "Traefik: stripPrefix)"
)
ALL_PATHS = f"in the proxy: send {', '.join(PATHS)} to the guard, best all of the prefix"
DOWN = "not looked at: lk-jwt-service does not answer the guard"
MERGE = (
    "merge slashes in the proxy (nginx: merge_slashes on), or take the slash off the end of "
    "livekit_service_url in .well-known/matrix/client"
)
FAKE = "192.0.2.77"
"""An address for documentation (RFC 5737): no client's."""
NAME_HIM = (
    "in the proxy: set X-Real-IP or X-Forwarded-For to the address that connects (nginx: "
    "proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for; HAProxy: option forwardfor)"
)
ONCE = (
    "let the guard alone set CORS headers: take add_header, header or hide lines for "
    "Access-Control-* out of the proxy"
)


async def look_at_public_address(means: Means) -> list[Finding]:
    """Send a client's requests to the public address."""
    base = means.public_url.rstrip("/")
    if not base:
        names = (ROUTE, PREFIX, ENDPOINTS, SLASHES, CORS, CLIENT)
        return [note(name, "not looked at: no --public-url was given") for name in names]
    asked = [ensureDeferred(_probe(means, "POST", base + path)) for path in PATHS]
    try:
        answers = dict(zip(PATHS, await gatherResults(asked, consumeErrors=True), strict=True))
    except Exception as failure:
        outage = _outage_in(failure)
        wanted = "start the proxy, or correct its DNS and certificate"
        return [fault(ROUTE, trouble(outage, base), wanted)]
    echoes = {path: echo_of(answer) for path, answer in answers.items()}
    if not any(echoes.values()):
        return [fault(ROUTE, _other(base, answers), TO_GUARD)]
    found = [ok(ROUTE, f"{base} leads to the guard"), _prefix(echoes), _endpoints(base, echoes)]
    if found[1].level is not Level.OK:
        later = "not looked at: the paths do not arrive as they should"
        return [*found, *(note(name, later) for name in (SLASHES, CORS, CLIENT))]
    routed = next(path for path in PATHS if echoes[path])
    slashes = await _slashes(means, base, routed)
    cors = await _cors(means, base + routed, answers[routed])
    return [*found, slashes, cors, await _client(means, base + routed, echoes[routed] or {})]


def _outage_in(failure: Exception) -> Outage:
    """Take the outage out of what gatherResults wraps it in; raises what is none."""
    inner = getattr(getattr(failure, "subFailure", None), "value", failure)
    if isinstance(inner, Outage):
        return inner
    raise failure


def _other(base: str, answers: Mapping[str, HttpAnswer]) -> str:
    codes = {errcode_of(answer) for answer in answers.values()}
    if codes & {"M_NOT_JSON", "M_BAD_JSON"}:
        return f"{base} leads to lk-jwt-service past the guard (or the proxy drops our probe)"
    said = ", ".join(sorted({described(answer) for answer in answers.values()}))
    return f"{base} does not lead to a guard with our secret: it answers {said}"


def _prefix(echoes: Mapping[str, Mapping[str, str] | None]) -> Finding:
    for path, echo in echoes.items():
        if echo and echo["target"] != path:
            seen = f"{path} arrives at the guard as {echo['target']}, where nothing is"
            return fault(PREFIX, seen, STRIP)
    return ok(PREFIX, "paths arrive as they should")


def _endpoints(base: str, echoes: Mapping[str, Mapping[str, str] | None]) -> Finding:
    lost = [path for path, echo in echoes.items() if not echo or echo["method"] != "POST"]
    if lost:
        seen = f"POST to {', '.join(base + path for path in lost)} does not reach the guard"
        return fault(ENDPOINTS, seen, ALL_PATHS)
    return ok(ENDPOINTS, "all token endpoints reach the guard")


async def _slashes(means: Means, base: str, path: str) -> Finding:
    """Ask as a client whose livekit_service_url ends in a slash; the whole way, without a probe."""
    try:
        answer = await _send(means, "POST", f"{base}/{path}")
    except Outage as outage:
        return warning(SLASHES, trouble(outage, f"{base}/{path}"), MERGE)
    if answer.status >= 500:
        return note(SLASHES, DOWN)
    if 300 <= answer.status < 400:
        seen = f"/{path} is answered by a redirect ({answer.status}), which browsers do not follow"
        return warning(SLASHES, seen, MERGE)
    if not errcode_of(answer):
        seen = f"/{path} is answered by {described(answer)}, not by the token service"
        return warning(SLASHES, seen, MERGE)
    return ok(SLASHES, f"/{path} is served as {path}")


async def _cors(means: Means, url: str, echoed: HttpAnswer) -> Finding:
    try:
        refusal = await _send(means, "POST", url)
        preflight = await ask(means.upstream, "OPTIONS", url, _preflight())
    except Outage as outage:
        return warning(CORS, trouble(outage, url), "look again")
    if refusal.status >= 500 or preflight.status >= 500:
        return note(CORS, DOWN)
    wrong = [
        *_origins("an answer to POST", echoed),
        *_origins("a refusal", refusal),
        *_origins("an answer to OPTIONS", preflight),
        *_allowances(preflight),
    ]
    if wrong:
        return fault(CORS, f"browsers will not take it: {'; '.join(dict.fromkeys(wrong))}", ONCE)
    return ok(CORS, "answers, refusals and preflights have their CORS headers once")


async def _client(means: Means, url: str, echo: Mapping[str, str]) -> Finding:
    """Look whom the guard takes a client for, and whether he can pass for another."""
    lies = {"X-Real-IP": FAKE, "X-Forwarded-For": FAKE}
    try:
        answer = await _send(means, "POST", url, {**probe_headers(means), **lies})
    except Outage as outage:
        return warning(CLIENT, trouble(outage, url), "look again")
    if (echo_of(answer) or {}).get("client") == FAKE:
        seen = (
            "a client can pass for any other: X-Real-IP and X-Forwarded-For arrive as he sent them"
        )
        return warning(CLIENT, seen, NAME_HIM)
    if echo.get("crowd"):
        seen = "the proxy does not say for whom it asks: all clients share one part of the guard"
        return warning(CLIENT, seen, NAME_HIM)
    if echo.get("client", "").startswith(UNCLEAR):
        seen = "X-Real-IP and X-Forwarded-For differ: all clients count as one"
        return warning(CLIENT, seen, NAME_HIM)
    return ok(CLIENT, "the guard is told which client it is")


def _origins(what: str, answer: HttpAnswer) -> list[str]:
    values = _values(answer, "Access-Control-Allow-Origin")
    if not values:
        return [f"{what} has no Access-Control-Allow-Origin"]
    if len(values) > 1:
        return [f"{what} has Access-Control-Allow-Origin {len(values)} times"]
    if values[0] not in ("*", ORIGIN):
        return [f"{what} is for {values[0]} only (Access-Control-Allow-Origin)"]
    return []


def _allowances(preflight: HttpAnswer) -> list[str]:
    wrong = []
    if not 200 <= preflight.status < 300:
        wrong.append(f"OPTIONS is answered by {preflight.status}")
    # POST needs no allowance, it is a safelisted method (fetch standard); JSON's Content-Type does.
    allowed = [value.lower() for value in _values(preflight, "Access-Control-Allow-Headers")]
    if not {"content-type", "*"} & set(allowed):
        wrong.append("OPTIONS does not allow Content-Type (Access-Control-Allow-Headers)")
    return wrong


def _values(answer: HttpAnswer, name: str) -> list[str]:
    lines = answer.headers.getRawHeaders(name.encode("ascii"), [])
    return [part.strip() for line in lines for part in line.decode("latin-1").split(",")]


def _preflight() -> dict[str, str]:
    return {
        "Origin": ORIGIN,
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
    }


async def _probe(means: Means, method: str, url: str) -> HttpAnswer:
    return await _send(means, method, url, probe_headers(means))


async def _send(
    means: Means, method: str, url: str, more: Mapping[str, str] | None = None
) -> HttpAnswer:
    headers = {"Origin": ORIGIN, "Content-Type": "application/json", **(more or {})}
    return await ask(means.upstream, method, url, headers, b"{}")
