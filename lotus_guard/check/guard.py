"""The guard itself: does it run, and what does it say of itself on the operators' port?"""

from collections.abc import Set as AbstractSet

from lotus_guard.check.clocks import WANTED as CLOCKS_WANTED
from lotus_guard.check.context import CheckContext
from lotus_guard.check.exchange import describe_answer, describe_outage, request
from lotus_guard.check.finding import Finding, Level, fault, note, ok, warning
from lotus_guard.check.probe import echo_of, probe_headers
from lotus_guard.check.readyz import NotThere, Ready, no_port, read_ready
from lotus_guard.enforce.hints import CLOCKS
from lotus_guard.enforce.ports import Outage
from lotus_guard.rules.push import HEARTBEAT
from lotus_guard.run.address import listening
from lotus_guard.run.config import Config

GUARD, OPERATORS, EXPOSED, PUSHES = "guard", "operators-port", "operators-port-exposed", "pushes"
WORDS = {
    "loop": "the live loop",
    "store": "the state",
    "clock": "the clock",
    "synapse": "Synapse",
    "livekit": "LiveKit",
    "upstream": "lk-jwt-service",
    "pushes": "the Synapse module's pushes",
}
"""How the report names what the guard depends on; what is not here is named as the guard does."""
START = "start the guard (systemctl start voice-limit-guard)"
LOOPBACK = "LOTUS_GUARD_ADMIN_LISTEN=tcp:8072:interface=127.0.0.1"
PUSH_WANTED = (
    "set LOTUS_GUARD_PUSH_SECRET to the secret in push_secret_path (or push_secret) of the "
    "module's config in homeserver.yaml"
)


async def check_guard(context: CheckContext) -> list[Finding]:
    """Ask for the guard where it should listen, then its operators' port."""
    own = listening(context.config.listen)
    if own is None:
        seen = f"not checked: {context.config.listen} is not a TCP port of its own"
        return [note(GUARD, seen), *await _check_operators_port(context)]
    try:
        answer = await request(context.http.upstream, "GET", own.url + "/", probe_headers(context))
    except Outage as outage:
        return [
            fault(GUARD, f"the guard is not running: {describe_outage(outage, own.url)}", START),
            note(OPERATORS, "not checked: the guard is not running"),
        ]
    there = ok(GUARD, f"the guard answers at {own.url}")
    if echo_of(answer) is None:
        seen = f"{own.url} answers {describe_answer(answer)}: not a guard with this secret"
        wanted = "correct LOTUS_GUARD_LISTEN, or restart the guard with these settings"
        there = fault(GUARD, seen, wanted)
    return [there, *await _check_operators_port(context)]


async def _check_operators_port(context: CheckContext) -> list[Finding]:
    """Ask the operators' port how the guard is, and whether pushes are believed."""
    if listening(context.config.admin_listen) is None:
        return [note(OPERATORS, no_port(context.config), LOOPBACK)]
    try:
        ready = await read_ready(context)
    except NotThere as why:
        return [warning(OPERATORS, str(why), f"restart the guard, or set {LOOPBACK}")]
    pushes = _pushes(context.config, ready)
    reported = {PUSHES} if pushes.level is Level.FAULT else set[str]()
    return [_health(ready, reported), pushes]


def check_exposure(config: Config) -> list[Finding]:
    """Check whether others can reach the operators' port; asks nobody."""
    own = listening(config.admin_listen)
    if own is None:
        return []
    if own.is_loopback:
        return [ok(EXPOSED, "only this machine can reach the operators' port")]
    seen = f"other machines can reach the operators' port ({config.admin_listen})"
    return [warning(EXPOSED, seen, LOOPBACK)]


def _health(ready: Ready, reported: AbstractSet[str]) -> Finding:
    """Judge by all that the guard depends on, but for what has been reported already."""
    ill = {
        name: each
        for name, each in ready.states.items()
        if each.get("state") == "trouble" and name not in reported
    }
    if ill:
        said = "; ".join(f"{WORDS.get(n, n)}: {each.get('detail')}" for n, each in ill.items())
        return warning(
            OPERATORS, f"the guard reports problems: {said}", "see docs/troubleshooting.md"
        )
    return ok(OPERATORS, "the operators' port answers, and the guard reports no problems")


def _pushes(config: Config, ready: Ready) -> Finding:
    age, taken_age = ready.refused_age, ready.states.get("pushes", {}).get("age")
    lately = age is not None and age <= 3 * HEARTBEAT
    better_since = isinstance(taken_age, int | float) and age is not None and taken_age < age
    if lately and not (ready.taken and better_since):
        detail = str(ready.states.get("pushes", {}).get("detail"))
        if CLOCKS in detail:
            return fault(
                PUSHES, f"the guard refuses the Synapse module's pushes: {detail}", CLOCKS_WANTED
            )
        why = (
            "it has another secret" if config.push_secret else "LOTUS_GUARD_PUSH_SECRET is not set"
        )
        seen = f"the guard refuses the Synapse module's pushes, as {why} "
        seen += f"({ready.refused} refused, the last {age:.0f} s ago)"
        return fault(PUSHES, seen, PUSH_WANTED)
    if ready.taken:
        return ok(PUSHES, "the guard accepts the Synapse module's pushes")
    if config.push_secret:
        return note(PUSHES, "no push has come from the Synapse module yet; the guard polls")
    return note(PUSHES, "no Synapse module; the guard polls policies")
