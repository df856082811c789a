"""The guard's port for the homeserver: is it open, who can reach it, and whom does it believe?

What the guard knows of the homeserver's token may come as a credential of its unit, which `check`
does not see. So the guard itself is asked: a probe without the token gets 401 where it knows it.
"""

from lotus_guard.check.context import PREFIX, CheckContext
from lotus_guard.check.exchange import describe_answer, describe_outage, request
from lotus_guard.check.finding import Finding, fault, note, ok, warning
from lotus_guard.check.probe import echo_of, probe_query
from lotus_guard.core.homeserver_wire import CLIENT_PATHS, USER_HEADER
from lotus_guard.enforce.ports import Outage
from lotus_guard.run.address import listening
from lotus_guard.run.config import Config

PORT, TOKEN = "homeserver-port", "homeserver-token"
_CLOSED = "set LOTUS_GUARD_HOMESERVER_LISTEN=tcp:8069:interface=127.0.0.1, or a private address"
_KNOWN = "set LIVEKIT_AS_REGISTRATION_FILE to lk-jwt-service's registration (docs/homeserver.md)"
_OPEN = "restart the guard; under systemd, give the socket unit this address too"


def check_exposure(config: Config) -> list[Finding]:
    """Check by its address whether strangers can reach the port; asks nobody."""
    own = listening(config.homeserver_listen)
    if own is None:
        return []
    if own.is_private:
        return [ok(PORT, "only this machine or a private network can reach the homeserver's port")]
    seen = f"strangers can reach the homeserver's port ({config.homeserver_listen})"
    return [
        warning(
            PORT,
            f"{seen}: only its token keeps them from asking for other people's tokens",
            _CLOSED,
        )
    ]


async def check_believed(context: CheckContext) -> list[Finding]:
    """Knock at the port as somebody who is no homeserver."""
    listen = context.config.homeserver_listen
    own = listening(listen)
    if not listen:
        return []
    if own is None or not own.port:
        return [_known(context.config)]
    user = {USER_HEADER.decode(): f"@{PREFIX}:invalid", "Content-Type": "application/json"}
    url = f"{own.url}{CLIENT_PATHS[1]}{probe_query(context)}"
    try:
        answer = await request(context.http.upstream, "POST", url, user, b"{}")
    except Outage as outage:
        return [fault(PORT, f"{describe_outage(outage, own.url)}, the homeserver's port", _OPEN)]
    if answer.status == 401:
        return [ok(TOKEN, "the guard refuses requests without the homeserver's token")]
    if echo_of(answer) is None:
        seen = f"{own.url} answers {describe_answer(answer)}: not a guard with this secret"
        return [fault(PORT, seen, _OPEN)]
    seen = "the guard does not know the homeserver's token: anybody who reaches the port may ask"
    return [(warning if own.is_private else fault)(TOKEN, seen, _KNOWN)]


def _known(config: Config) -> Finding:
    if config.credentials.hs_token.value:
        return ok(TOKEN, "the guard knows the homeserver's token")
    return note(TOKEN, "not checked: the homeserver's port is not a TCP port", _KNOWN)
