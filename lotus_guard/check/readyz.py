"""What a guard says of itself on the operators' port, as far as the check asks.

GET /readyz   {"dependencies": [{"name", "state", "age", "detail"}, ...],
               "webhooks": {"genuine": n, "forged": n},
               "pushes": {"taken": n, "refused": n, "refused_age": s or null}, ...}
"""

from collections.abc import Mapping
from typing import Any

from attrs import field, frozen

from lotus_guard.check.context import CheckContext
from lotus_guard.check.exchange import describe_answer, describe_outage, fields_of, request
from lotus_guard.core.objects import part_of
from lotus_guard.enforce.ports import Outage
from lotus_guard.run.address import listening
from lotus_guard.run.config import Config


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


async def read_ready(context: CheckContext) -> Ready:
    """Read /readyz; raises NotThere."""
    own = listening(context.config.admin_listen)
    if own is None:
        raise NotThere(no_port(context.config))
    try:
        answer = await request(context.http.upstream, "GET", f"{own.url}/readyz")
    except Outage as outage:
        raise NotThere(describe_outage(outage, own.url)) from None
    if answer.status == 404:
        raise NotThere(f"an older guard is running at {own.url}: it has no /readyz")
    fields = fields_of(answer)
    if answer.status != 200 or "webhooks" not in fields:
        raise NotThere(f"{own.url}/readyz answers {describe_answer(answer)}: not a guard")
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


def no_port(config: Config) -> str:
    """Why there is no operators' port to ask."""
    if not config.admin_listen:
        return "there is no operators' port: LOTUS_GUARD_ADMIN_LISTEN is empty"
    return f"the operators' port {config.admin_listen} is not a TCP port of its own"


def _count(fields: Mapping[str, Any], name: str) -> int:
    value = fields.get(name)
    return value if isinstance(value, int) else 0
