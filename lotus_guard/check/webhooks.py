"""LiveKit's webhooks: do they come to the guard, and signed with our key?

A room is made and removed again. livekit-server 1.13.3 sends `room_started` for it some 7 ms
later (measured), which the guard counts on its operators' port.
"""

from twisted.internet.task import deferLater

from lotus_guard.check.context import PREFIX, CheckContext
from lotus_guard.check.finding import Finding, fault, note, ok, warning
from lotus_guard.check.livekit_api import call_livekit, remove_room
from lotus_guard.check.readyz import NotThere, Ready, read_ready
from lotus_guard.enforce.ports import Outage
from lotus_guard.run.address import host_and_port, listening

NAME = "webhooks"
PAUSE = 0.1
EMPTY_SECONDS = 5
"""LiveKit removes the room by itself after so long, should we not come to it."""


async def check_webhooks(context: CheckContext) -> list[Finding]:
    """Make a room and see whether the guard hears of it."""
    try:
        before = await read_ready(context)
    except NotThere as why:
        return [_unseen(context, str(why))]
    room = f"{PREFIX}-{context.new_name()}"
    wanted = {"name": room, "empty_timeout": EMPTY_SECONDS, "departure_timeout": 1}
    try:
        made = await call_livekit(context, "CreateRoom", {"roomCreate": True}, wanted)
    except Outage:
        return [note(NAME, "not checked: LiveKit does not answer")]
    if made.status != 200:
        return [note(NAME, f"not checked: LiveKit refuses to create a room ({made.status})")]
    try:
        after = await _change(context, before)
    except NotThere as why:
        return [note(NAME, f"not checked: {why}")]
    finally:
        await remove_room(context, room)
    return [_judge(context, before, after)]


async def _change(context: CheckContext, before: Ready) -> Ready:
    """Wait until a counter rises, or patience ends."""
    end = context.clocks.now() + context.options.webhook_seconds
    while True:
        ready = await read_ready(context)
        counts = (ready.genuine, ready.forged)
        if counts != (before.genuine, before.forged) or context.clocks.now() >= end:
            return ready
        await deferLater(context.clocks.reactor, PAUSE)


def _judge(context: CheckContext, before: Ready, after: Ready) -> Finding:
    if after.genuine > before.genuine:
        return ok(NAME, "LiveKit's webhooks reach the guard")
    if after.forged > before.forged:
        seen = (
            "LiveKit's webhooks reach the guard, but are signed with another key than LIVEKIT_KEY"
        )
        return fault(NAME, seen, _lines(context))
    waited = f"no webhook within {context.options.webhook_seconds:g} s"
    seen = f"{waited}{_why(context)}; the guard polls instead"
    return warning(NAME, seen, _lines(context))


def _unseen(context: CheckContext, why: str) -> Finding:
    """Go by the file where the guard cannot tell."""
    file = context.livekit_file
    if file is None:
        return note(NAME, f"not checked: {why}")
    if not any(_is_ours(context, url) for url in file.urls):
        return warning(
            NAME, f"LiveKit's webhooks don't reach the guard{_why(context)}", _lines(context)
        )
    if file.api_key != context.config.key:
        seen = f"webhook.api_key in {file.path} is not LIVEKIT_KEY"
        return fault(NAME, seen, _lines(context))
    return note(NAME, f"{file.path} sends them here; not tried: {why}")


def _why(context: CheckContext) -> str:
    file = context.livekit_file
    if file is None:
        return " (sent nowhere, or past the guard; --livekit-config tells which)"
    if not file.urls:
        return f": webhook.urls in {file.path} is empty"
    past = [url for url in file.urls if _is_upstreams(context, url)]
    if past:
        return f": they bypass the guard, {', '.join(past)} is lk-jwt-service"
    if not any(_is_ours(context, url) for url in file.urls):
        return f": they bypass the guard and go to {', '.join(file.urls)}"
    return f": webhook.urls in {file.path} names the guard, but LiveKit can't reach it"


def _is_upstreams(context: CheckContext, url: str) -> bool:
    try:
        return host_and_port(url) == host_and_port(context.config.upstream)
    except ValueError:
        return False


def _is_ours(context: CheckContext, url: str) -> bool:
    config = context.config
    places = [(config.listen, "/sfu_webhook"), (config.admin_listen, "/webhook")]
    for endpoint, path in places:
        own = listening(endpoint)
        if own and url.endswith(f":{own.port}{path}"):
            return True
    public = context.options.public_url.rstrip("/")
    return bool(public) and url == f"{public}/sfu_webhook"


def _lines(context: CheckContext) -> str:
    return (
        f"in livekit.yaml, set webhook: {{urls: [{context.guard_url}/sfu_webhook], "
        f"api_key: {context.config.key}}}"
    )
