"""Synapse's admin API; `tests/contract/synapse.py` asks a real one."""

from typing import Any

import pytest

from lotus_guard.neighbours.synapse_admin import (
    VERSION_PATH,
    events_in,
    is_unknown_room,
    quoted,
    rooms_path,
    state_path,
)


def test_an_id_cannot_leave_its_segment() -> None:
    path = state_path("!a/../b?c=d:e", "m.x&y")
    assert path == "/_synapse/admin/v1/rooms/%21a%2F..%2Fb%3Fc%3Dd%3Ae/state?type=m.x%26y"


def test_the_version_is_where_the_admin_api_is() -> None:
    assert VERSION_PATH == "/_synapse/admin/v1/server_version"


def test_rooms_are_listed_from_the_first_on() -> None:
    assert rooms_path(10) == "/_synapse/admin/v1/rooms?from=0&limit=10"
    assert rooms_path(500, start=1000) == "/_synapse/admin/v1/rooms?from=1000&limit=500"


def test_what_is_no_text_is_still_a_path() -> None:
    assert quoted("!\udcff") == "%21%3F"


@pytest.mark.parametrize(
    ("fields", "events"),
    [({"state": [{"a": 1}]}, [{"a": 1}]), ({"state": []}, []), ({"state": {}}, None), ({}, None)],
)
def test_events_are_a_list(fields: dict[str, Any], events: list[Any] | None) -> None:
    assert events_in(fields) == events


@pytest.mark.parametrize(
    ("status", "errcode", "unknown"),
    [
        (404, "M_NOT_FOUND", True),
        (400, "M_INVALID_PARAM", True),
        (404, "M_UNRECOGNIZED", False),  # no admin API there
        (404, None, False),
        (403, "M_NOT_FOUND", False),
        (500, "M_NOT_FOUND", False),
    ],
)
def test_only_a_homeserver_says_that_there_is_no_room(
    status: int, errcode: object, unknown: bool
) -> None:
    assert is_unknown_room(status, errcode) is unknown
