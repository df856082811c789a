"""A room's policies in words and as JSON, whatever strangers wrote."""

import json
from typing import Any

from attrs import evolve

from lotus_guard.commands.policy_words import Held, RoomPolicies, as_json, lines_of
from lotus_guard.commands.policy_words import policies_of as policies_in
from lotus_guard.core.model import RoomId
from lotus_guard.rules import RULES
from lotus_guard.rules.rule import Rule
from tests.commands.kitchen import (
    CAMERA,
    HOSTILE,
    LIMIT,
    MEDIA,
    SCREEN,
)
from tests.events import LIMIT_EVENT, SOURCES_EVENT


def policies_of(limit: Any = None, sources: Any = None, **more: Any) -> RoomPolicies:
    def held(rule: Rule[Any], content: Any) -> Held:
        if content is None:
            return Held(rule)
        event = {"sender": "@m:s", "origin_server_ts": 1_700_000_000_000, "content": content}
        return Held(rule, {**event, **more})

    return RoomPolicies(RoomId("!r:s"), (held(LIMIT, limit), held(MEDIA, sources)))


def test_show_tells_who_when_and_what() -> None:
    text = "\n".join(lines_of(policies_of({"max_users": 1}, {CAMERA: False, SCREEN: False})))
    assert "At most 1 person may" in text
    assert f"{LIMIT_EVENT}, set by @m:s on 2023-11-1" in text
    assert "Nobody may publish a camera. Nobody may share a screen." in text
    assert "senseless" not in text
    empty = "\n".join(lines_of(policies_of(None, {})))
    assert f"{LIMIT_EVENT} was never set" in empty
    assert f"{SOURCES_EVENT} is empty, so it has no effect; sent by @m:s on" in empty


def test_show_tells_of_rules_that_an_upgrade_has_lost() -> None:
    found = evolve(policies_of(), lost=evolve(policies_of({"max_users": 3}), room=RoomId("!old:s")))
    text = "\n".join(lines_of(found))
    assert "This room replaced !old:s; the upgrade did not copy that room's rules" in text
    assert "They were: At most 3 different people may be in the room's calls." in text
    assert "Set them again with `lotus-guard policy set`" in text
    assert as_json(found)["rules_lost_of"]["limit"]["content"] == {"max_users": 3}
    assert as_json(policies_of())["rules_lost_of"] is None
    assert "Lost" not in "\n".join(lines_of(policies_of()))


def test_show_complains_and_names_what_is_not_ours() -> None:
    found = policies_of({"max_users": "five", "note": "x"}, {CAMERA: 0, "max_bitrate": 9})
    text = "\n".join(lines_of(found))
    assert "Any number of people" in text
    assert f"warning: {LIMIT_EVENT}: max_users is 'five'; a limit is an integer" in text
    assert f"warning: {SOURCES_EVENT}: allow_camera is 0; only false forbids" in text
    assert 'other fields, left alone: note = "x"' in text
    assert "other fields, left alone: max_bitrate = 9" in text
    told = as_json(found)
    assert told["limit"]["unknown"] == ["note"]
    assert told["sources"]["content"] == {CAMERA: 0, "max_bitrate": 9}
    assert len(told["limit"]["complaints"]) == len(told["sources"]["complaints"]) == 1


def test_a_redaction_is_told_wherever_synapse_has_it() -> None:
    because = {"redacted_because": {"sender": "@admin:s"}}
    for place in (because, {"unsigned": because}):
        text = "\n".join(lines_of(policies_of({}, None, **place)))
        assert "redacted by @admin:s" in text
    assert "redacted" not in "\n".join(lines_of(policies_of({}, unsigned=[], redacted_because=1)))


def test_hostile_text_does_not_reach_the_terminal() -> None:
    found = policies_of(
        {"max_users": HOSTILE, HOSTILE: HOSTILE, **{f"f{n}": n for n in range(99)}},
        {HOSTILE: {HOSTILE: [HOSTILE]}, "long": "x" * 100_000},
        sender=f"@{HOSTILE}:s",
        origin_server_ts=2**60,
    )
    lines = lines_of(evolve(found, room=RoomId(f"!{HOSTILE}")))
    assert all(line.isprintable() for line in lines)
    assert max(map(len, lines)) < 2100
    assert "at an unknown time" in lines[2]
    assert "and 80 more" in "\n".join(lines)
    assert json.loads(json.dumps(as_json(found)))["limit"]["sender"] == f"@{HOSTILE}:s"


def test_an_event_of_several_rules_is_told_of_once_and_no_rules_fields_are_called_strange() -> None:
    content = {CAMERA: False, "max_cameras": 0, "bypass": True, "note": 1}
    event = {"sender": "@m:s", "origin_server_ts": 1_700_000_000_000, "content": content}
    events = {rule.event: event if rule.event == SOURCES_EVENT else None for rule in RULES}
    found = policies_in(RoomId("!r:s"), RULES, events)
    lines = lines_of(found)
    text = "\n".join(lines)
    assert text.count(f"{SOURCES_EVENT}, set by @m:s") == 1
    assert text.count("other fields, left alone: note = 1") == text.count("other fields") == 1
    assert text.count("warning: io.lotus.room_quality: max_cameras is 0") == 1
    at = [line.split()[0] for line in lines].index("Cameras")
    assert lines[at + 1].strip().startswith("warning: ")
    told = as_json(found)
    assert told["sources"]["unknown"] == told["cameras"]["unknown"] == ["note"]
    assert (told["cameras"]["event"], told["cameras"]["max_cameras"]) == (SOURCES_EVENT, None)
    new = found.replaced(SOURCES_EVENT, {"max_cameras": 2})
    assert as_json(new)["cameras"]["max_cameras"] == 2
    assert as_json(new)["sources"]["forbidden"] == []
    assert new.content(SOURCES_EVENT) == {"max_cameras": 2}
    assert new.content(LIMIT_EVENT) == {}
