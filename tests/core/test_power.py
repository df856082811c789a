"""Power levels, read leniently: whatever old rooms hold, it is a level."""

import math
from typing import Any

import pytest

from lotus_guard.core.power import level_needed, level_of

LIMIT_EVENT = "io.lotus.voice_limit"


@pytest.mark.parametrize(
    ("levels", "needed", "has"),
    [
        (None, 0, 0),
        ({}, 50, 0),
        ({"state_default": 20, "users_default": 5}, 20, 5),
        ({"events": {LIMIT_EVENT: 30}, "users": {"@u:s": 100}}, 30, 100),
        ({"events": {LIMIT_EVENT: "30"}, "users": {"@u:s": " 7 "}}, 30, 7),
        ({"events": {LIMIT_EVENT: True}, "users": {"@u:s": None}}, 50, 0),
        ({"events": [], "users": "all", "state_default": "x" * 50}, 50, 0),
        ({"state_default": -1}, -1, 0),
    ],
)
def test_power_levels(levels: Any, needed: int, has: int) -> None:
    assert level_needed(levels, LIMIT_EVENT) == needed
    assert level_of("@u:s", levels, {"sender": "@other:s", "content": {}}) == has


def test_creators_stand_above_from_room_version_12_on() -> None:
    def create(version: object, **more: Any) -> Any:
        return {"sender": "@c:s", "content": {"room_version": version, **more}}

    assert level_of("@c:s", {}, create("12")) == math.inf
    assert level_of("@d:s", {}, create("12", additional_creators=["@d:s"])) == math.inf
    assert level_of("@d:s", {}, create("12", additional_creators="@d:s")) == 0
    assert level_of("@c:s", {}, create("11")) == 0
    assert level_of("@c:s", None, create("11")) == 100
    assert level_of("@c:s", None, create("\u0661\u0662")) == 100
    assert level_of("@c:s", {}, None) == 0
