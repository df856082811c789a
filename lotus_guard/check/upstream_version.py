"""How old lk-jwt-service is: before 0.8 it does not check all of what a homeserver says of a user.

It does not tell its version, but the way it reads a body does: up to 0.6, in Go, it ignores what
follows the first value, from 0.7 on, in Rust, it refuses that (docs/facts.md, lk-jwt-service: how
it reads JSON). The body names no room, so either refuses it before it asks anybody.
"""

from lotus_guard.check.context import CheckContext
from lotus_guard.check.exchange import describe_answer, errcode_of, request
from lotus_guard.check.finding import Finding, note, ok, warning
from lotus_guard.check.probe import echo_of, probe_headers
from lotus_guard.enforce.ports import Outage

NAME = "upstream-version"
PROBE_PATH, PROBE = "/sfu/get", b'{"room":""} x'
GO, RUST = "go", "rust"
_WANTED = "update to lk-jwt-service 0.8 or later; read its release notes, and docs/homeserver.md"


def generation_of(status: int, errcode: str) -> str:
    """The generation that answers the probe so: `go`, `rust`, or nothing where it is neither."""
    answers = {(400, "M_BAD_JSON"): GO, (400, "M_NOT_JSON"): RUST}
    return answers.get((status, errcode), "")


async def check_version(context: CheckContext) -> list[Finding]:
    """Find out which generation answers."""
    url = f"{context.config.upstream}{PROBE_PATH}"
    headers = {**probe_headers(context), "Content-Type": "application/json"}
    try:
        answer = await request(context.http.upstream, "POST", url, headers, PROBE)
    except Outage:
        return []  # what is wrong with it has been said
    if echo_of(answer):
        return []
    generation = generation_of(answer.status, errcode_of(answer))
    if generation == GO:
        seen = "lk-jwt-service is older than 0.8: it does not check everything a homeserver says"
        seen += " about a user (GHSA-rq24-fh66-rq7x), and the guard trusts it on who is who"
        return [warning(NAME, seen, _WANTED)]
    if generation == RUST:
        seen = "lk-jwt-service is 0.7 or later; only 0.8 checks everything a homeserver says about"
        seen += " a user (GHSA-rq24-fh66-rq7x), and from outside the two look the same"
        return [ok(NAME, seen)]
    return [note(NAME, f"not checked: it answers {describe_answer(answer)} to the probe")]
