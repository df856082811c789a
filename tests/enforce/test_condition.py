"""How a part describes how it does."""

import json
from enum import StrEnum

from lotus_guard.enforce.condition import described


class Name(StrEnum):
    REDIS = "redis"


def test_a_condition_is_plain_json() -> None:
    told = described(Name.REDIS, "trouble", 1.5, "away")
    assert told == {"name": "redis", "state": "trouble", "age": 1.5, "detail": "away"}
    assert type(told["name"]) is str
    assert json.loads(json.dumps(described("x", "off", None, ""))) == {
        "name": "x",
        "state": "off",
        "age": None,
        "detail": "",
    }
