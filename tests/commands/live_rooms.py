"""Live rooms as the guard tells of them, made up for a test."""

import json
from typing import Any

from lotus_guard.commands.rooms_table import Room, read_rooms
from lotus_guard.observe.rooms import described
from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.rules.media import Media, SourcePolicy
from lotus_guard.rules.rule import Rule

HOSTILE = "!r\x1b[2J\u202e\n[bold red]\x9b31m:s"


def policy_of(fields: dict[str, Any]) -> list[dict[str, Any]]:
    """The policy of a room as the guard describes it."""
    limit = LimitPolicy(fields.get("max_users"))
    sources = SourcePolicy(frozenset(fields.get("forbidden", ())))
    pairs: list[tuple[Rule[Any], Any]] = [(Limit(), limit), (Media(), sources)]
    return [described(rule, policy) for rule, policy in pairs if policy.restricts]


def room(**fields: Any) -> Room:
    empty = {"room": "!r:s", "people": 1, "policy": policy_of(fields), **fields}
    (found,) = read_rooms(json.dumps({"rooms": [empty]}).encode())
    return found
