"""The panel at the public address: does it arrive at the guard, and may a client frame it?

It need not be public. Where it is, a proxy's `X-Frame-Options` or `frame-ancestors`, which many set
for all that they serve, keeps every Matrix client from showing it as a widget.
"""

from lotus_guard.check.context import CheckContext
from lotus_guard.check.exchange import describe_answer, outage_in_words, request
from lotus_guard.check.finding import Finding, note, ok, warning
from lotus_guard.check.probe import echo_of, probe_headers
from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.http import HttpAnswer

NAME = "public-panel"
PATH = "/panel/"
UNFRAMED = "let the proxy set neither X-Frame-Options nor frame-ancestors for /panel/"


async def check_public_panel(context: CheckContext) -> list[Finding]:
    """Ask for the panel's page, with a probe and without; nothing where the panel is off."""
    base = context.options.public_url.rstrip("/")
    if not context.config.panel:
        return []
    if not base:
        return [note(NAME, "not checked: no --public-url was given")]
    url = base + PATH
    try:
        probed = await request(context.http.upstream, "GET", url, probe_headers(context))
        echo = echo_of(probed) or {}
        if echo.get("target") != PATH:
            return [_not_there(context, url, str(echo.get("target") or describe_answer(probed)))]
        page = await request(context.http.upstream, "GET", url)
    except Outage as outage:
        return [_not_there(context, url, outage_in_words(outage))]
    if page.status != 200:
        return [_not_there(context, url, describe_answer(page))]
    if _forbids_frames(page):
        seen = f"a proxy forbids framing {url}, so no client shows it as a widget"
        return [warning(NAME, seen, UNFRAMED)]
    return [ok(NAME, f"moderators find the panel at {url}")]


def _not_there(context: CheckContext, url: str, said: str) -> Finding:
    line = f"location {PATH} {{ proxy_pass {context.guard_url}; }}"
    wanted = f"let the proxy send {PATH} to the guard (nginx: {line})"
    return note(NAME, f"the panel is not at {url} ({said})", wanted)


def _forbids_frames(page: HttpAnswer) -> bool:
    policies = page.headers.getRawHeaders(b"Content-Security-Policy", [])
    by_policy = any(b"frame-ancestors" in policy.lower() for policy in policies)
    return by_policy or page.headers.hasHeader(b"X-Frame-Options")
