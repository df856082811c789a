"""lk-jwt-service: is it there, and can it be reached past the guard?

`GET /healthz` of lk-jwt-service answers 200 without a body (docs/facts.md, lk-jwt-service:
endpoints). A guard hands that path on, so what is asked carries a probe, which a guard answers
itself (`core.probe`).
"""

from twisted.internet.defer import ensureDeferred, gatherResults

from lotus_guard.check.context import CheckContext
from lotus_guard.check.exchange import describe_answer, describe_outage, request
from lotus_guard.check.finding import Finding, fault, note, ok
from lotus_guard.check.probe import echo_of, probe_headers
from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.http import HttpAnswer
from lotus_guard.run.address import LOOPBACK, bracketed, host_and_port, leads_to, listening
from lotus_guard.run.config import Config

UPSTREAM, EXPOSED = "upstream", "upstream-exposed"
WANTED = "set LOTUS_GUARD_UPSTREAM=http://127.0.0.1:8071, and LIVEKIT_JWT_BIND=127.0.0.1:8071"
CLOSED = "set LIVEKIT_JWT_BIND=127.0.0.1:8071 for lk-jwt-service, or close that port by a firewall"
KNOCK_SECONDS = 2.0


def check_address(config: Config) -> list[Finding]:
    """Check that the guard does not ask itself; asks nobody."""
    own = listening(config.listen)
    if own is None or not leads_to(config.upstream, own):
        return []
    seen = f"LOTUS_GUARD_UPSTREAM {config.upstream} is LOTUS_GUARD_LISTEN {config.listen} itself"
    return [fault(UPSTREAM, seen, WANTED)]


async def check_upstream(context: CheckContext) -> list[Finding]:
    """Ask lk-jwt-service how it is."""
    if check_address(context.config):
        return []  # that has been said
    base = context.config.upstream
    try:
        answer = await request(
            context.http.upstream, "GET", f"{base}/healthz", probe_headers(context)
        )
    except Outage as outage:
        return [
            fault(UPSTREAM, describe_outage(outage, base), f"start lk-jwt-service, or {WANTED}")
        ]
    if echo_of(answer):
        return [fault(UPSTREAM, f"a guard answers at {base}, not lk-jwt-service", WANTED)]
    if not is_upstream(answer):
        seen = f"{base}/healthz answers {describe_answer(answer)}: not lk-jwt-service"
        return [fault(UPSTREAM, seen, WANTED)]
    return [ok(UPSTREAM, f"lk-jwt-service answers at {base}")]


async def check_from_outside(context: CheckContext) -> list[Finding]:
    """Knock at upstream's port on the addresses that others can reach."""
    hosts = list(context.addresses)
    public = host_and_port(context.options.public_url)[0]
    if public and public not in LOOPBACK:
        hosts.append(public)
    if not hosts:
        return [note(EXPOSED, "not checked: this machine has only its loopback address")]
    port = host_and_port(context.config.upstream)[1]
    urls = [f"http://{bracketed(host)}:{port}" for host in dict.fromkeys(hosts)]
    knocks = [ensureDeferred(_is_open(context, url)) for url in urls]
    opened = await gatherResults(knocks, consumeErrors=True)
    reached = [url for url, is_open in zip(urls, opened, strict=True) if is_open]
    if reached:
        seen = f"lk-jwt-service answers at {', '.join(reached)}: clients can bypass the guard"
        return [fault(EXPOSED, seen, CLOSED)]
    return [ok(EXPOSED, f"lk-jwt-service does not answer at {', '.join(urls)}")]


async def _is_open(context: CheckContext, url: str) -> bool:
    try:
        answer = await request(
            context.http.upstream,
            "GET",
            f"{url}/healthz",
            probe_headers(context),
            seconds=KNOCK_SECONDS,
        )
    except Outage:
        return False
    return is_upstream(answer)


def is_upstream(answer: HttpAnswer) -> bool:
    """Whether `/healthz` was answered as lk-jwt-service answers it."""
    return answer.status == 200 and not answer.body
