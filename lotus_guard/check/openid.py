"""Does the homeserver say whose an OpenID token is, where the panel asks it?

On Synapse a listener does so whose resources name `openid` or `federation`; one with `client` alone
does not. A token is asked for that nobody has made: only who serves the path says so.
"""

from lotus_guard.check.context import PREFIX, CheckContext
from lotus_guard.check.exchange import describe_answer, describe_outage, errcode_of, request
from lotus_guard.check.finding import Finding, note, ok, warning
from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.openid import UNKNOWN, USERINFO

NAME = "panel-openid"
LOST = "so the panel can't show moderators who is in a call"
WANTED = (
    "set LOTUS_GUARD_OPENID_URL to a listener that has openid or federation among its resources, "
    "or LOTUS_GUARD_PANEL=off"
)


async def check_openid(context: CheckContext) -> list[Finding]:
    """Ask about a token that nobody has made; nothing where the panel is off."""
    config = context.config
    if not config.panel:
        return []
    base = config.openid_url
    url = f"{base}{USERINFO}?access_token={PREFIX}"
    try:
        answer = await request(context.http.synapse, "GET", url)
    except Outage as outage:
        if base == config.synapse_url:  # which is another finding
            return [note(NAME, "not checked: the homeserver does not answer")]
        return [warning(NAME, f"{describe_outage(outage, base)}, {LOST}", WANTED)]
    if answer.status in (401, 403) and errcode_of(answer) in UNKNOWN:
        return [ok(NAME, "the homeserver tells who an OpenID token belongs to")]
    seen = f"{base} answers {describe_answer(answer)} to openid/userinfo, {LOST}"
    return [warning(NAME, seen, WANTED)]
