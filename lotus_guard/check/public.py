"""The public address, as a client sees it: what does the proxy before the guard do to requests?

Requests that carry a probe are answered by the guard with the method and the target that arrived;
those without go the whole way, as a client's. What a browser needs (fetch standard, CORS): exactly
one Access-Control-Allow-Origin on every answer, refusals too, and a preflight that allows POST and
Content-Type. Every path that a client uses is tried with both of its methods, POST and OPTIONS, and
also as a client asks whose livekit_service_url ends in a slash. No client asks for `/healthz` or
`/sfu_webhook`, so these need not be public.
"""

from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.defer import ensureDeferred, gatherResults

from lotus_guard.check.context import CheckContext
from lotus_guard.check.exchange import describe_answer, describe_outage, errcode_of, request
from lotus_guard.check.finding import Finding, Level, fault, note, ok, warning
from lotus_guard.check.probe import echo_of, probe_headers
from lotus_guard.check.public_client import CLIENT, LIES, judge_client
from lotus_guard.check.public_paths import NAME as PREFIX
from lotus_guard.check.public_paths import judge_paths
from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.http import HttpAnswer

ROUTE, ENDPOINTS = "public-route", "public-endpoints"
SLASHES, CORS = "public-slashes", "public-cors"
PATHS = ("/get_token", "/sfu/get", "/delegate_delayed_leave")
ORIGIN = "https://lotus-guard-check.invalid"
TO_GUARD = "let the proxy send this address to the guard (nginx: proxy_pass {}/;)"
ALL_PATHS = f"let the proxy send {', '.join(PATHS)} to the guard, best the whole prefix"
DOWN = "not checked: lk-jwt-service does not answer the guard"
MERGE = (
    "merge slashes in the proxy (nginx: merge_slashes on), or remove the slash at the end of "
    "livekit_service_url in .well-known/matrix/client"
)
ONCE = (
    "let only the guard set CORS headers: remove add_header, header or hide lines for "
    "Access-Control-* from the proxy, and let OPTIONS through to the guard"
)
PREFLIGHT = {
    "Origin": ORIGIN,
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "content-type",
}
SENT = {"Origin": ORIGIN, "Content-Type": "application/json"}


@frozen
class Exchange:
    """A request to the public address, and what came of it."""

    method: str
    path: str
    """Below the public address."""
    came: HttpAnswer | Outage

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    @property
    def is_down(self) -> bool:
        """Whether upstream is away, which is another finding."""
        return isinstance(self.came, HttpAnswer) and self.came.status >= 500


async def check_public_address(context: CheckContext) -> list[Finding]:
    """Send a client's requests to the public address."""
    base = context.options.public_url.rstrip("/")
    if not base:
        names = (ROUTE, PREFIX, ENDPOINTS, SLASHES, CORS, CLIENT)
        return [note(name, "not checked: no --public-url was given") for name in names]
    probes = await _all(context, PATHS, ["POST"], probe_headers(context))
    outage = next((each.came for each in probes if isinstance(each.came, Outage)), None)
    if outage:
        wanted = "start the proxy, or correct its DNS and certificate"
        return [fault(ROUTE, describe_outage(outage, base), wanted)]
    answers = {each.path: each.came for each in probes if isinstance(each.came, HttpAnswer)}
    echoes = {path: echo for path, answer in answers.items() if (echo := echo_of(answer))}
    if not echoes:
        return [fault(ROUTE, _other(base, answers), TO_GUARD.format(context.guard_url))]
    targets = {path: str(echo["target"]) for path, echo in echoes.items()}
    prefix = judge_paths(urlsplit(base).path, targets, context.guard_url)
    found = [ok(ROUTE, f"{base} leads to the guard"), prefix, _endpoints(base, answers, echoes)]
    if prefix.level is Level.FAULT:
        later = "not checked: the paths do not arrive correctly"
        return [*found, *(note(name, later) for name in (SLASHES, CORS, CLIENT))]
    routed = [path for path in PATHS if path in echoes]
    cors = await _cors(context, routed, answers)
    slashes = await _slashes(context, routed, has_cors=cors.level is Level.OK)
    return [*found, slashes, cors, await _client(context, routed[0])]


async def _all(
    context: CheckContext, paths: Iterable[str], methods: Iterable[str], more: Mapping[str, str]
) -> list[Exchange]:
    """Ask for all of these at the same time."""
    asked = [
        ensureDeferred(_exchange(context, method, path, more))
        for path in paths
        for method in methods
    ]
    return list(await gatherResults(asked))


async def _exchange(
    context: CheckContext, method: str, path: str, more: Mapping[str, str]
) -> Exchange:
    headers, body = (PREFLIGHT, None) if method == "OPTIONS" else (SENT, b"{}")
    url = context.options.public_url.rstrip("/") + path
    try:
        answer = await request(context.http.upstream, method, url, {**headers, **more}, body)
    except Outage as outage:
        return Exchange(method, path, outage)
    return Exchange(method, path, answer)


def _other(base: str, answers: Mapping[str, HttpAnswer]) -> str:
    codes = {errcode_of(answer) for answer in answers.values()}
    if codes & {"M_NOT_JSON", "M_BAD_JSON"}:
        return (
            f"{base} leads to lk-jwt-service and bypasses the guard (or the proxy drops the probe)"
        )
    said = ", ".join(sorted({describe_answer(answer) for answer in answers.values()}))
    return f"{base} does not lead to a guard with this secret: it answers {said}"


def _endpoints(
    base: str, answers: Mapping[str, HttpAnswer], echoes: Mapping[str, Mapping[str, Any]]
) -> Finding:
    lost = [path for path in PATHS if echoes.get(path, {}).get("method") != "POST"]
    if lost:
        said = ", ".join(dict.fromkeys(describe_answer(answers[path]) for path in lost))
        seen = (
            f"POST to {', '.join(base + path for path in lost)} does not reach the guard ({said})"
        )
        return fault(ENDPOINTS, seen, ALL_PATHS)
    return ok(ENDPOINTS, "all paths that clients use reach the guard")


async def _slashes(context: CheckContext, paths: list[str], has_cors: bool) -> Finding:
    """Ask as a client whose livekit_service_url ends in a slash; the whole way, without a probe.

    What browsers need is worth a word here only where it is there without the slash.
    """
    methods = ["POST", "OPTIONS"] if has_cors else ["POST"]
    asked = await _all(context, [f"/{path}" for path in paths], methods, {})
    if any(each.is_down for each in asked):
        return note(SLASHES, DOWN)
    wrong: dict[str, list[str]] = {}
    for each in asked:
        said = _not_served(each, has_cors)
        if said:
            wrong.setdefault(said, []).append(str(each))
    if not wrong:
        return ok(SLASHES, "a slash at the end of livekit_service_url does no harm")
    seen = "; ".join(f"{', '.join(which)}: {said}" for said, which in wrong.items())
    # Where the address that was given ends so, no client gets a token.
    return (fault if context.options.public_url.endswith("/") else warning)(SLASHES, seen, MERGE)


def _not_served(asked: Exchange, has_cors: bool) -> str:
    """What keeps an answer from a browser, or that it is not the token service's."""
    answer = asked.came
    if isinstance(answer, Outage):
        return describe_outage(answer, asked.path)
    if 300 <= answer.status < 400:
        return f"a redirect ({answer.status}), which browsers do not follow"
    is_ours = errcode_of(answer) if asked.method == "POST" else 200 <= answer.status < 300
    if not is_ours:
        return f"answered by {describe_answer(answer)}, not by the token service"
    return "; ".join(_origins("the answer", answer)) if has_cors else ""


async def _cors(
    context: CheckContext, paths: list[str], echoed: Mapping[str, HttpAnswer]
) -> Finding:
    asked = await _all(context, paths, ["POST", "OPTIONS"], {})
    if any(each.is_down for each in asked):
        return note(CORS, DOWN)
    wrong: dict[str, list[str]] = {}
    for path in paths:
        for said in _origins("an answer to POST", echoed[path]):
            wrong.setdefault(said, []).append(path)
    for each in asked:
        if isinstance(each.came, Outage):
            return warning(CORS, describe_outage(each.came, each.path), "run the check again")
        for said in _refused_by_browsers(each.method, each.came):
            wrong.setdefault(said, []).append(each.path)
    if wrong:
        seen = "; ".join(_at(said, which, paths) for said, which in wrong.items())
        return fault(CORS, f"browsers reject the answers: {seen}", ONCE)
    return ok(CORS, "answers, refusals and preflights have each CORS header once")


def _at(said: str, which: list[str], all_of_them: list[str]) -> str:
    return said if which == all_of_them else f"{said} ({', '.join(which)})"


def _refused_by_browsers(method: str, answer: HttpAnswer) -> list[str]:
    if method == "POST":
        return _origins("a refusal", answer)
    return [*_origins("an answer to OPTIONS", answer), *_allowances(answer)]


async def _client(context: CheckContext, path: str) -> Finding:
    (asked,) = await _all(context, [path], ["POST"], {**probe_headers(context), **LIES})
    if isinstance(asked.came, Outage):
        return warning(CLIENT, describe_outage(asked.came, path), "run the check again")
    return judge_client(context, echo_of(asked.came) or {})


def _origins(what: str, answer: HttpAnswer) -> list[str]:
    values = _values(answer, "Access-Control-Allow-Origin")
    if not values:
        return [f"{what} has no Access-Control-Allow-Origin"]
    if len(values) > 1:
        return [f"{what} has Access-Control-Allow-Origin {len(values)} times"]
    if values[0] not in ("*", ORIGIN):
        return [f"{what} allows {values[0]} only (Access-Control-Allow-Origin)"]
    return []


def _allowances(preflight: HttpAnswer) -> list[str]:
    wrong = []
    if not 200 <= preflight.status < 300:
        wrong.append(f"OPTIONS gets {preflight.status}")
    # POST needs no allowance, it is a safelisted method (fetch standard); JSON's Content-Type does.
    allowed = [value.lower() for value in _values(preflight, "Access-Control-Allow-Headers")]
    if not {"content-type", "*"} & set(allowed):
        wrong.append("OPTIONS does not allow Content-Type (Access-Control-Allow-Headers)")
    return wrong


def _values(answer: HttpAnswer, name: str) -> list[str]:
    lines = answer.headers.getRawHeaders(name.encode("ascii"), [])
    return [part.strip() for line in lines for part in line.decode("latin-1").split(",")]
