"""LiveKit's webhooks: do they come to the guard, and signed with our key?

A room is made and removed again. livekit-server 1.13.3 sends `room_started` for it some 7 ms
later (measured), which the guard counts on its operators' port.
"""

from twisted.internet.task import deferLater

from lotus_guard.check.ask import PREFIX, CheckContext
from lotus_guard.check.finding import Finding, fault, note, ok, warning
from lotus_guard.check.guard import NotThere, Ready, own_webhook, read_ready
from lotus_guard.check.livekit import call
from lotus_guard.check.livekit_file import LiveKitFile
from lotus_guard.enforce.ports import Outage
from lotus_guard.run.address import host_and_port, listening

NAME = "webhooks"
PAUSE = 0.1
EMPTY_SECONDS = 5
"""LiveKit removes the room by itself after so long, should we not come to it."""


async def look_at_webhooks(means: CheckContext, file: LiveKitFile | None) -> list[Finding]:
    """Make a room and see whether the guard hears of it."""
    try:
        before = await read_ready(means)
    except NotThere as why:
        return [_unseen(means, file, str(why))]
    room = f"{PREFIX}-{means.new_name()}"
    wanted = {"name": room, "empty_timeout": EMPTY_SECONDS, "departure_timeout": 1}
    try:
        made = await call(means, "CreateRoom", {"roomCreate": True}, wanted)
    except Outage:
        return [note(NAME, "not looked at: LiveKit does not answer")]
    if made.status != 200:
        return [note(NAME, f"not looked at: LiveKit makes no room for us ({made.status})")]
    try:
        after = await _change(means, before)
    except NotThere as why:
        return [note(NAME, f"not looked at: {why}")]
    finally:
        await remove_room(means, room)
    return [_judge(means, file, before, after)]


async def remove_room(means: CheckContext, room: str) -> bool:
    """Remove a room that the check made; tells whether it is gone."""
    try:
        answer = await call(means, "DeleteRoom", {"roomCreate": True}, {"room": room})
    except Outage:
        return False
    return answer.status in (200, 404)


async def _change(means: CheckContext, before: Ready) -> Ready:
    """Wait until a counter rises, or patience ends."""
    end = means.now() + means.patience
    while True:
        ready = await read_ready(means)
        counts = (ready.genuine, ready.forged)
        if counts != (before.genuine, before.forged) or means.now() >= end:
            return ready
        await deferLater(means.clock, PAUSE)


def _judge(means: CheckContext, file: LiveKitFile | None, before: Ready, after: Ready) -> Finding:
    if after.genuine > before.genuine:
        return ok(NAME, "LiveKit's webhooks come to the guard")
    if after.forged > before.forged:
        seen = "LiveKit's webhooks come, but signed with another key than LIVEKIT_KEY"
        return fault(NAME, seen, _lines(means))
    seen = f"no webhook within {means.patience:g} s{_why(means, file)}; polling goes on without"
    return warning(NAME, seen, _lines(means))


def _unseen(means: CheckContext, file: LiveKitFile | None, why: str) -> Finding:
    """Go by the file where the guard cannot tell."""
    if file is None:
        return note(NAME, f"not looked at: {why}")
    if not any(_is_ours(means, url) for url in file.urls):
        return warning(
            NAME, f"LiveKit's webhooks do not come here{_why(means, file)}", _lines(means)
        )
    if file.api_key != means.config.key:
        seen = f"webhook.api_key in {file.path} is another key than LIVEKIT_KEY"
        return fault(NAME, seen, _lines(means))
    return note(NAME, f"wired by {file.path}; not tried, for {why}")


def _why(means: CheckContext, file: LiveKitFile | None) -> str:
    if file is None:
        return " (wired nowhere, or past the guard: --livekit-config tells which)"
    if not file.urls:
        return f": webhook.urls in {file.path} is empty, they are wired nowhere"
    past = [url for url in file.urls if _is_upstreams(means, url)]
    if past:
        return f": wired past the guard, {', '.join(past)} is lk-jwt-service"
    if not any(_is_ours(means, url) for url in file.urls):
        return f": wired past the guard, to {', '.join(file.urls)}"
    return f": webhook.urls in {file.path} names the guard, but LiveKit does not reach it"


def _is_upstreams(means: CheckContext, url: str) -> bool:
    try:
        return host_and_port(url) == host_and_port(means.config.upstream)
    except ValueError:
        return False


def _is_ours(means: CheckContext, url: str) -> bool:
    config = means.config
    places = [(config.listen, "/sfu_webhook"), (config.admin_listen, "/webhook")]
    for endpoint, path in places:
        own = listening(endpoint)
        if own and url.endswith(f":{own.port}{path}"):
            return True
    public = means.public_url.rstrip("/")
    return bool(public) and url == f"{public}/sfu_webhook"


def _lines(means: CheckContext) -> str:
    return (
        f"in livekit.yaml: webhook: {{urls: [{own_webhook(means.config)}], "
        f"api_key: {means.config.key}}}"
    )
