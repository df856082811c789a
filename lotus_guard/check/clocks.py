"""The clocks of the neighbours against ours, by the Date headers of their answers.

LiveKit takes a token up to 60 s before and after its times (docs/facts.md, LiveKit: clocks), and
lk-jwt-service signs them by its own clock; Synapse's pushes are believed for a minute.
"""

from twisted.internet.defer import ensureDeferred, gatherResults

from lotus_guard.check.context import CheckContext
from lotus_guard.check.exchange import clock_offset_of, request
from lotus_guard.check.finding import Finding, note, ok, warning
from lotus_guard.core.clock import MOST_APART
from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.matrix import VERSIONS_PATH

NAME = "clocks"
WANTED = "let chrony or systemd-timesyncd set the clocks (`timedatectl set-ntp true` on each host)"


async def check_clocks(context: CheckContext) -> list[Finding]:
    """Compare the clocks; the two farthest apart count, and ours is one of them."""
    config = context.config
    places = {
        "Synapse": (context.http.synapse, config.synapse_url + VERSIONS_PATH),
        "LiveKit": (context.http.livekit, f"{config.livekit_api}/"),
        "lk-jwt-service": (context.http.upstream, f"{config.upstream}/healthz"),
    }
    asked = [ensureDeferred(_skew(context, http, url)) for http, url in places.values()]
    skews = await gatherResults(asked, consumeErrors=True)
    known = {name: skew for name, skew in zip(places, skews, strict=True) if skew is not None}
    if not known:
        return [note(NAME, "not checked: no server gave its time")]
    return [judge({"the guard": 0.0, **known})]


def judge(ahead: dict[str, float]) -> Finding:
    """Judge the clocks by how many seconds each is ahead of ours."""
    first, last = min(ahead, key=ahead.__getitem__), max(ahead, key=ahead.__getitem__)
    apart = ahead[last] - ahead[first]
    if apart > MOST_APART:
        seen = f"the clock of {last} is {apart:.0f} s ahead of the clock of {first}"
        return warning(NAME, seen, WANTED)
    return ok(NAME, f"{', '.join(ahead)} agree within {MOST_APART:.0f} s")


async def _skew(context: CheckContext, http: Http, url: str) -> float | None:
    try:
        answer = await request(http, "GET", url)
    except Outage:
        return None
    return clock_offset_of(answer, context.clocks.epoch())
