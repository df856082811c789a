"""The state events of the rules as tests set them, and pushes of them."""

from collections.abc import Mapping
from typing import Any

from lotus_guard.core.model import RoomId
from lotus_guard.rules import RULES, Rules
from lotus_guard.rules.push import write_push

LIMIT_EVENT = "io.lotus.voice_limit"
SOURCES_EVENT = "io.lotus.room_quality"
BOTH: Rules = [rule for rule in RULES if rule.name in ("limit", "sources")]
"""The two rules that these tests are about, however many there are."""
JUDGING: Rules = [rule for rule in RULES if rule.judges_tokens]
"""Those that are asked when a token is issued."""
UNSET = [
    sentence
    for rule in RULES
    if rule not in BOTH
    for sentence in rule.show(rule.read(None).policy).sentences
]
"""What is said of the others, where nobody has set them."""

Content = Mapping[str, Any] | None


def push_of(room: RoomId, limit: Content, sources: Content) -> bytes:
    """Write a push of a room with these events, and without those of other rules."""
    none: dict[str, Content] = {rule.event: None for rule in RULES}
    return write_push(room, {**none, LIMIT_EVENT: limit, SOURCES_EVENT: sources}, RULES)
