"""A rule's event is found among a room's, whatever the homeserver and strangers make of them."""

from typing import Any

import pytest

from lotus_guard.rules.limit import Limit, LimitPolicy
from lotus_guard.rules.state_event import content_of, event_of, read_events, set_at

LIMIT = Limit()


def event(event_type: str = LIMIT.event, state_key: Any = "", **more: Any) -> dict[str, Any]:
    return {"type": event_type, "state_key": state_key, "content": {"max_users": 2}, **more}


def test_the_event_of_the_type_with_the_empty_state_key_is_the_one() -> None:
    wanted = event()
    assert (
        event_of([event("m.room.member"), event(state_key="@u:s"), wanted], LIMIT.event) is wanted
    )


@pytest.mark.parametrize(
    "odd", [None, 1, "io.lotus.voice_limit", [event()], {}, {"type": ["x"]}, event(state_key=None)]
)
def test_what_is_no_such_event_is_passed_over(odd: object) -> None:
    assert event_of([odd], LIMIT.event) is None
    assert read_events(LIMIT, [odd, event()]).policy == LimitPolicy(2)


@pytest.mark.parametrize("content", [None, [], "x", 1])
def test_a_content_that_is_no_object_is_none(content: object) -> None:
    assert content_of({"content": content}) is None
    assert content_of({}) is content_of(None) is None
    assert read_events(LIMIT, [event(content=content)]).policy == LimitPolicy()


def test_a_redacted_event_says_nothing() -> None:
    assert read_events(LIMIT, [event(content={})]).complaints == ()


def test_the_reading_says_when_it_was_set_and_whether_the_room_is_known() -> None:
    reading = read_events(LIMIT, [event(origin_server_ts=1500)])
    assert (reading.policy, reading.set_at, reading.is_unknown) == (LimitPolicy(2), 1.5, False)
    assert read_events(LIMIT, []).is_unknown is False
    unknown = read_events(LIMIT, None)
    assert (unknown.policy, unknown.set_at, unknown.is_unknown) == (LimitPolicy(), None, True)


@pytest.mark.parametrize("stamp", [10**400, -1, 0, 2**53, True, 1.5, "1", None, [1]])
def test_a_senseless_time_of_an_event_is_none(stamp: object) -> None:
    known = set_at({"origin_server_ts": stamp})
    assert known is None or (stamp is True and known == 0.001)
    assert set_at({"origin_server_ts": 1500}) == 1.5
    assert set_at(None) is None
