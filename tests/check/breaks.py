"""A stack that is broken in one thing, and the one finding that is to come of it."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from pytest_twisted import ensureDeferred

from lotus_guard.check.finding import Level
from lotus_guard.sandbox.stack import KEY, SECRET
from tests.check.checked_stack import CheckedStack

Break = Callable[[CheckedStack], None]
OTHER_SECRET = "another-secret-for-tests-of-32-bytes-or-more"
W, F = Level.WARNING, Level.FAULT


def each_is_found(breaks: list[tuple[Break, str, Level, str]]) -> Callable[..., Any]:
    """Make the test of them: what breaks, the one finding, its level, some of its words."""

    @pytest.mark.parametrize(
        ("breaks", "name", "level", "words"), breaks, ids=[each[0].__name__ for each in breaks]
    )
    @ensureDeferred
    async def test(stack: CheckedStack, breaks: Break, name: str, level: Level, words: str) -> None:
        breaks(stack)
        found = await stack.check()
        bad = {f.name: f.level for f in found.values() if f.level in (W, F)}
        assert bad == {name: level}, found
        finding = found[name]
        assert words in f"{finding.seen} {finding.wanted}"
        assert finding.wanted, "it says what to change"
        assert stack.world.sandbox.sfu.rooms == {} or name in ("livekit", "user")

    made: Callable[..., Any] = test
    return made


def livekit_yaml(stack: CheckedStack, urls: Any = (), keys: Any = None, **room: Any) -> None:
    """Write LiveKit's configuration, as far as the check reads it."""
    stack.livekit_config = stack.directory / "livekit.yaml"
    fields = {
        "keys": keys or {KEY: SECRET},
        "room": {"auto_create": False, **room},
        "webhook": {"api_key": KEY, "urls": list(urls)},
    }
    stack.livekit_config.write_text(json.dumps(fields))
