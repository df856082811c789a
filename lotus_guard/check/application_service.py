"""The application service by which rooms are read: is its token good, and whom may it act as?

Its namespaces cannot be seen, only tried: with `--as-user` as that user. And who answers what: the
homeserver may be asked by an application service, as an admin, or both (docs/facts.md, Any
homeserver: who may ask what about a room).
"""

from lotus_guard.check.context import CheckContext
from lotus_guard.check.exchange import describe_answer, errcode_of, fields_of, request
from lotus_guard.check.finding import Finding, fault, note, ok, warning
from lotus_guard.core.membership import server_of
from lotus_guard.core.model import UserId
from lotus_guard.enforce.ports import Outage
from lotus_guard.neighbours.bearer import WHOAMI_PATH
from lotus_guard.neighbours.http import HttpAnswer
from lotus_guard.neighbours.synapse_admin import quoted

TOKEN, USERS = "application-service-token", "application-service-users"
POLICIES, MEMBERSHIP, ROOMS = "asked-policies", "asked-membership", "asked-rooms"
SERVICE, ADMIN = "the application service", "Synapse's admin API"
REGISTERED = (
    "list its registration in the homeserver's configuration, with the same as_token, and restart "
    "the homeserver after a change"
)
NAMESPACE = "in its registration: namespaces: users: [{regex: '@.*:SERVER', exclusive: false}]"


async def check_application_service(context: CheckContext) -> list[Finding]:
    """See whether it is taken for one, and as whom it may ask; nothing where there is none."""
    if not context.config.as_token:
        return []
    try:
        own = await _whoami(context, context.config.as_token)
        if not _user_in(own):
            return [_refused(context, own)]
        taken = ok(TOKEN, f"the homeserver accepts the token of {SERVICE} ({_user_in(own)})")
        return [taken, await _users(context), *_who_is_asked(context)]
    except Outage:
        return [note(TOKEN, "not checked: the homeserver does not answer")]


def _refused(context: CheckContext, answer: HttpAnswer) -> Finding:
    code = errcode_of(answer)
    if answer.status in (401, 403) and code:
        seen = f"the homeserver does not know the token of {SERVICE} ({answer.status} {code})"
        return _bad(context, TOKEN, seen, REGISTERED)
    seen = f"the homeserver does not say who {SERVICE} is ({describe_answer(answer)})"
    return _bad(context, TOKEN, seen, "point LOTUS_GUARD_SYNAPSE_URL at the homeserver itself")


async def _users(context: CheckContext) -> Finding:
    """Try to act as the user; without one nothing can be tried."""
    if not context.options.user_token:
        return note(
            USERS,
            f"not checked: whom {SERVICE} may act as can be tried only with a user's token",
            "use --as-user",
        )
    user = _user_in(await _whoami(context, context.options.user_token))
    if not user:
        return note(USERS, "not checked: the homeserver does not know the --as-user token")
    answer = await _whoami(context, context.config.as_token, user)
    if _user_in(answer) == user:
        return ok(USERS, f"{SERVICE} may act as {user}")
    said = f"({answer.status} {errcode_of(answer)})"
    wanted = NAMESPACE.replace("SERVER", server_of(UserId(user)))
    return _bad(context, USERS, f"{SERVICE} may not act as {user} {said}", wanted)


def _who_is_asked(context: CheckContext) -> list[Finding]:
    """Name who answers what, and what is answered by nobody."""
    has_admin = bool(context.config.synapse_token)
    asked = f"{SERVICE}, then {ADMIN}" if has_admin else f"{SERVICE} alone"
    ours = "" if has_admin else ", where it knows one of this homeserver's users in the room"
    found = [
        ok(POLICIES, f"policies come from {asked}{ours}"),
        ok(MEMBERSHIP, f"memberships come from {asked}"),
    ]
    if has_admin:
        return [*found, ok(ROOMS, f"the list of rooms comes from {ADMIN}")]
    seen = "no list of rooms: calls that began before the guard started stay unknown"
    return [*found, note(ROOMS, seen, "on Synapse, set LOTUS_GUARD_SYNAPSE_TOKEN as well")]


def _bad(context: CheckContext, name: str, seen: str, wanted: str) -> Finding:
    """A fault; with an admin's token beside it only a warning, for all is asked by that."""
    return (warning if context.config.synapse_token else fault)(name, seen, wanted)


async def _whoami(context: CheckContext, token: str, user: str = "") -> HttpAnswer:
    query = f"?user_id={quoted(user)}" if user else ""
    url = f"{context.config.synapse_url}{WHOAMI_PATH}{query}"
    return await request(context.http.synapse, "GET", url, {"Authorization": f"Bearer {token}"})


def _user_in(answer: HttpAnswer) -> str:
    """The user that it names; empty where it names none."""
    user = fields_of(answer).get("user_id") if answer.status == 200 else None
    return user if isinstance(user, str) and user.startswith("@") and ":" in user else ""
