"""How an option of `lotus-guard policy set` changes an event."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from lotus_guard.rules.limit import Limit
from lotus_guard.rules.media import Media
from lotus_guard.rules.option import Count, Switch
from lotus_guard.rules.rule import Rule

CAMERA, SCREEN = "allow_camera", "allow_screenshare"


def written(rule: Rule[Any], content: Any, wishes: Mapping[str, Any]) -> Any:
    """Write what is wished for, by the flags of the command line; what is not a rule's is left."""
    for option in rule.options:
        if option.flag in wishes:
            content = option.write(content, wishes[option.flag])
    return content


@pytest.mark.parametrize(
    ("content", "wishes", "wanted"),
    [
        ({}, {"max-users": 5}, {"max_users": 5}),
        ({"max_users": 2, "note": "x"}, {"max-users": 5}, {"max_users": 5, "note": "x"}),
        ({"max_users": 2, "note": "x"}, {"max-users": None}, {"note": "x"}),
        ({"max_users": 2}, {"camera": False}, {"max_users": 2}),
        ({}, {"max-users": None}, {}),
    ],
)
def test_the_limit_that_is_written(
    content: Any, wishes: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    before = dict(content)
    assert written(Limit(), content, wishes) == wanted
    assert content == before


@pytest.mark.parametrize(
    ("content", "wishes", "wanted"),
    [
        ({}, {"camera": False}, {CAMERA: False}),
        ({}, {"camera": True, "screenshare": True}, {}),
        ({CAMERA: False, "bitrate": 5}, {"camera": True}, {CAMERA: True, "bitrate": 5}),
        ({CAMERA: False}, {"screenshare": False}, {CAMERA: False, SCREEN: False}),
        ({CAMERA: "no", SCREEN: "no"}, {"camera": True}, {CAMERA: True, SCREEN: "no"}),
        ({CAMERA: 0}, {"camera": False}, {CAMERA: False}),
        ({CAMERA: False}, {"max-users": 1}, {CAMERA: False}),
    ],
)
def test_the_sources_that_are_written(
    content: Any, wishes: Mapping[str, Any], wanted: Mapping[str, Any]
) -> None:
    before = dict(content)
    # As JSON, for to Python 0 and false are equal.
    assert json.dumps(written(Media(), content, wishes)) == json.dumps(wanted)
    assert content == before


def test_what_usually_holds_is_written_only_where_the_event_says_otherwise() -> None:
    quiet = Switch("quiet", "quiet", "May nobody speak?", usual=False)
    assert quiet.write({}, False) == {}
    assert quiet.write({}, True) == {"quiet": True}
    assert quiet.write({"quiet": True}, False) == {"quiet": False}


def test_two_options_that_say_the_same_are_one() -> None:
    """`policy set` keeps what is wished for by the option itself."""
    made = [Count("n", "most", "At most N.", "no-most", "Any number.") for _ in range(2)]
    assert len(set(made)) == 1
