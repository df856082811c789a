"""The guard itself: does it run, and what does it say of itself on the operators' port?

GET /readyz   {"dependencies": [{"name", "state", "age", "detail"}, ...],
               "webhooks": {"genuine": n, "forged": n},
               "pushes": {"taken": n, "refused": n, "refused_age": s or null}, ...}
"""

from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from attrs import field, frozen

from lotus_guard.check.ask import (
    CheckContext,
    ask,
    described,
    echo_of,
    fields_of,
    probe_headers,
    trouble,
)
from lotus_guard.check.clocks import WANTED as CLOCKS_WANTED
from lotus_guard.check.finding import Finding, Level, fault, note, ok, warning
from lotus_guard.core.objects import part_of
from lotus_guard.enforce.hints import CLOCKS
from lotus_guard.enforce.ports import Outage
from lotus_guard.rules.push import HEARTBEAT
from lotus_guard.run.address import Listening, listening
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
START = "start the guard: systemctl start voice-limit-guard"
LOOPBACK = "LOTUS_GUARD_ADMIN_LISTEN=tcp:8072:interface=127.0.0.1"
PUSH_WANTED = (
    "LOTUS_GUARD_PUSH_SECRET: the very secret of push_secret_path (or push_secret) in the "
    "module's config in homeserver.yaml"
)


class NotThere(Exception):
    """The operators' port says nothing that can be used; says why."""


@frozen
class Ready:
    """What /readyz says, as far as the check asks."""

    genuine: int
    forged: int
    taken: int
    refused: int
    refused_age: float | None
    states: Mapping[str, Mapping[str, Any]] = field(factory=dict)
    """By the name of each dependency."""


async def read_ready(means: CheckContext) -> Ready:
    """Read /readyz; raises NotThere."""
    own = listening(means.config.admin_listen)
    if own is None:
        raise NotThere(_no_port(means.config))
    try:
        answer = await ask(means.upstream, "GET", f"{own.url}/readyz")
    except Outage as outage:
        raise NotThere(trouble(outage, own.url)) from None
    if answer.status == 404:
        raise NotThere(f"an older guard serves {own.url}: it has no /readyz")
    fields = fields_of(answer)
    if answer.status != 200 or "webhooks" not in fields:
        raise NotThere(f"{own.url}/readyz answers {described(answer)}, as no guard does")
    webhooks, pushes = part_of(fields, "webhooks"), part_of(fields, "pushes")
    age = pushes.get("refused_age")
    listed = fields.get("dependencies")
    return Ready(
        genuine=_count(webhooks, "genuine"),
        forged=_count(webhooks, "forged"),
        taken=_count(pushes, "taken"),
        refused=_count(pushes, "refused"),
        refused_age=float(age) if isinstance(age, int | float) else None,
        states={
            str(each.get("name")): each
            for each in (listed if isinstance(listed, list) else [])
            if isinstance(each, dict)
        },
    )


async def look_at_guard(means: CheckContext) -> list[Finding]:
    """Ask for the guard where it should listen, then its operators' port."""
    own = listening(means.config.listen)
    if own is None:
        seen = f"not looked at: {means.config.listen} is no TCP port of its own"
        return [note(GUARD, seen), *await _look_at_operators_port(means)]
    try:
        answer = await ask(means.upstream, "GET", own.url + "/", probe_headers(means))
    except Outage as outage:
        return [
            fault(GUARD, f"the guard does not run: {trouble(outage, own.url)}", START),
            note(OPERATORS, "not looked at: the guard does not run"),
        ]
    there = ok(GUARD, f"the guard answers at {own.url}")
    if echo_of(answer) is None:
        seen = f"what answers at {own.url} ({described(answer)}) is no guard with our secret"
        wanted = "LOTUS_GUARD_LISTEN, or restart the guard with this environment"
        there = fault(GUARD, seen, wanted)
    return [there, *await _look_at_operators_port(means)]


async def _look_at_operators_port(means: CheckContext) -> list[Finding]:
    """Ask the operators' port how the guard is, and whether pushes are believed."""
    if listening(means.config.admin_listen) is None:
        return [note(OPERATORS, _no_port(means.config), LOOPBACK)]
    try:
        ready = await read_ready(means)
    except NotThere as why:
        return [warning(OPERATORS, str(why), f"update or restart the guard, or {LOOPBACK}")]
    pushes = _pushes(means.config, ready)
    told = {PUSHES} if pushes.level is Level.FAULT else set[str]()
    return [_health(ready, told), pushes]


def look_at_exposure(config: Config) -> list[Finding]:
    """Find out whether others can reach the operators' port; asks nobody."""
    own = listening(config.admin_listen)
    if own is None:
        return []
    if own.is_loopback:
        return [ok(EXPOSED, "the operators' port is for this machine only")]
    seen = f"other machines can reach the operators' port ({config.admin_listen})"
    return [warning(EXPOSED, seen, LOOPBACK)]


def _health(ready: Ready, told: AbstractSet[str]) -> Finding:
    """Judge by all that the guard depends on, but for what has been told of already."""
    ill = {
        name: each
        for name, each in ready.states.items()
        if each.get("state") == "trouble" and name not in told
    }
    if ill:
        said = "; ".join(f"{WORDS.get(n, n)}: {each.get('detail')}" for n, each in ill.items())
        return warning(OPERATORS, f"the guard is in trouble: {said}", "see docs/troubleshooting.md")
    return ok(OPERATORS, "the operators' port answers, and the guard is well")


def _pushes(config: Config, ready: Ready) -> Finding:
    age, taken_age = ready.refused_age, ready.states.get("pushes", {}).get("age")
    lately = age is not None and age <= 3 * HEARTBEAT
    better_since = isinstance(taken_age, int | float) and age is not None and taken_age < age
    if lately and not (ready.taken and better_since):
        detail = str(ready.states.get("pushes", {}).get("detail"))
        if CLOCKS in detail:
            return fault(
                PUSHES, f"the Synapse module's pushes are refused: {detail}", CLOCKS_WANTED
            )
        why = (
            "with another secret"
            if config.push_secret
            else "and LOTUS_GUARD_PUSH_SECRET is not set"
        )
        seen = f"the Synapse module pushes {why}: {ready.refused} refused, the last {age:.0f} s ago"
        return fault(PUSHES, seen, PUSH_WANTED)
    if ready.taken:
        return ok(PUSHES, "the guard takes the Synapse module's pushes")
    if config.push_secret:
        return note(PUSHES, "no push has come yet; polling does without the Synapse module")
    return note(PUSHES, "no Synapse module: policies are polled")


def _no_port(config: Config) -> str:
    if not config.admin_listen:
        return "there is no operators' port: LOTUS_GUARD_ADMIN_LISTEN is empty"
    return f"the operators' port {config.admin_listen} is no TCP port of its own"


def own_webhook(config: Config) -> str:
    """Give the address that LiveKit's webhooks should go to."""
    own: Listening | None = listening(config.listen)
    return f"{own.url if own else 'http://127.0.0.1:8070'}/sfu_webhook"


def _count(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) else 0
