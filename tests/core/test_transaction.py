"""What a homeserver's transaction says, whatever is in it."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lotus_guard.core.membership import Membership
from lotus_guard.core.model import RoomId, UserId
from lotus_guard.core.transaction import MOST_EVENTS, Change, read_changes
from tests.events import LIMIT_EVENT, SOURCES_EVENT

NOW = 1_790_000_000.0
ROOM = RoomId("!r:s")
TYPES = (LIMIT_EVENT, SOURCES_EVENT)


def policy(**more: Any) -> dict[str, Any]:
    return {"event_id": "$1", "type": LIMIT_EVENT, "room_id": ROOM, "state_key": "", **more}


def member(**more: Any) -> dict[str, Any]:
    content = {"membership": "ban"}
    same = {"type": "m.room.member", "state_key": "@a:s", "content": content}
    return {"event_id": "$2", "room_id": ROOM, **same, **more}


def read(*events: object) -> list[Change] | None:
    return read_changes(json.dumps({"events": events}).encode(), TYPES, NOW)


def test_policies_and_memberships_are_read_and_nothing_else() -> None:
    message = {"event_id": "$3", "type": "m.room.message", "room_id": ROOM, "content": {}}
    assert read(policy(), message, member()) == [
        Change("$1", ROOM, 0.0),
        Change("$2", ROOM, 0.0, UserId("@a:s"), Membership.BAN),
    ]


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "x",
        policy(state_key="x"),
        policy(state_key=None),
        policy(type=["x"]),
        policy(room_id="r"),
        policy(room_id=7),
        {key: value for key, value in policy().items() if key != "state_key"},
        member(content=None),
        member(content={"membership": 3}),
        member(content={"membership": "unheard"}),
        member(state_key="a:s"),
        member(state_key="@" + "a" * 300),
    ],
)
def test_what_is_neither_is_passed_over(event: object) -> None:
    assert read(event, member()) == read(member())


@pytest.mark.parametrize(
    ("more", "age"),
    [
        ({"unsigned": {"age": 5_000}, "origin_server_ts": 1}, 5.0),
        ({"origin_server_ts": 1000 * (int(NOW) - 90)}, 90.0),
        ({"origin_server_ts": True, "unsigned": {"age": "x"}}, 0.0),
        ({"origin_server_ts": 10**400, "unsigned": []}, 0.0),
        ({"unsigned": {"age": -1}}, 0.0),
    ],
)
def test_how_old_it_is_the_homeserver_says_or_else_the_sender(more: Any, age: float) -> None:
    assert read(policy(**more)) == [Change("$1", ROOM, age)]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"{}", b'{"events": {}}', b"\xff", b"[" * 9999])
def test_what_is_no_transaction_is_none(body: bytes) -> None:
    assert read_changes(body, TYPES, NOW) is None


def test_of_too_many_events_the_first_are_read() -> None:
    found = read(*[policy()] * (MOST_EVENTS + 5))
    assert found is not None
    assert len(found) == MOST_EVENTS


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=8,
)
EVENTS = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from([LIMIT_EVENT, "m.room.member"]) | JSON,
        "room_id": st.just(ROOM) | JSON,
        "state_key": st.sampled_from(["", "@a:s"]) | JSON,
        "content": st.fixed_dictionaries({"membership": st.just("join") | JSON}) | JSON,
        "unsigned": st.fixed_dictionaries({"age": JSON}) | JSON,
        "origin_server_ts": JSON,
        "event_id": JSON,
    },
)


@given(st.lists(EVENTS | JSON, max_size=4) | JSON)
def test_whatever_is_in_a_transaction_reading_it_never_fails(events: object) -> None:
    body = json.dumps({"events": events}).encode()
    assert (read_changes(body, TYPES, NOW) is None) == (not isinstance(events, list))


@given(st.binary(max_size=100))
def test_whatever_bytes_come_reading_them_never_fails(body: bytes) -> None:
    read_changes(body, TYPES, NOW)
