"""The sandbox's homeserver: what the contract suite does not ask a real one for."""

from typing import Any
from urllib.parse import quote

from lotus_guard.sandbox.synapse import SynapseApp
from lotus_guard.sandbox.synapse_state import SynapseState
from tests.contract.subject import InMemory

POLICY = "io.lotus.voice_limit"


def make() -> tuple[SynapseState, InMemory]:
    state = SynapseState(lambda: "1")
    state.add_account("@admin:s", "admin", admin=True)
    state.add_account("@user:s", "user")
    state.add_room("!r:s", "@admin:s")
    return state, InMemory(SynapseApp(state).app.resource())


def state_of(server: InMemory, query: str) -> list[Any]:
    path = f"/_synapse/admin/v1/rooms/{quote('!r:s', safe='')}/state{query}"
    answer = server.request("GET", path, {"Authorization": "Bearer admin"})
    assert answer.status == 200
    events: list[Any] = answer.json()["state"]
    return events


def test_an_older_release_sends_everything() -> None:
    state, server = make()
    state.set_state("!r:s", POLICY, {"max_users": 2})
    assert [event["type"] for event in state_of(server, f"?type={POLICY}")] == [POLICY]
    state.ignores_type = True
    types = [event["type"] for event in state_of(server, f"?type={POLICY}")]
    assert types == ["m.room.create", "m.room.member", POLICY]


def test_state_replaces_state_of_the_same_key() -> None:
    state, server = make()
    for content, key in (({"max_users": 2}, ""), ({"max_users": 3}, ""), ({}, "other")):
        state.set_state("!r:s", POLICY, content, key)
    events = state_of(server, f"?type={POLICY}")
    assert [(e["state_key"], e["content"]) for e in events] == [
        ("", {"max_users": 3}),
        ("other", {}),
    ]
    assert events[0]["event_id"] != events[1]["event_id"]


def test_who_joins_may_set_state_and_who_left_may_not() -> None:
    state, server = make()
    path = "/_matrix/client/v3/rooms/!r:s/state/m.test"

    def put() -> int:
        return server.request("PUT", path, {"Authorization": "Bearer user"}, b"{}").status

    assert put() == 403
    state.join("!r:s", "@user:s")
    assert state.members("!r:s") == ["@admin:s", "@user:s"]
    assert put() == 200
    state.set_state("!r:s", "m.room.member", {"membership": "leave"}, "@user:s")
    assert put() == 403


def test_a_room_id_that_postgresql_cannot_hold_is_a_server_error() -> None:
    state, server = make()
    path = "/_synapse/admin/v1/rooms/!r%00:s/state"
    headers = {"Authorization": "Bearer admin"}
    assert server.request("GET", path, headers).status == 404
    state.is_postgresql = True
    assert server.request("GET", path, headers).status == 500


def test_what_the_admin_api_was_asked_for_is_kept() -> None:
    state, server = make()
    state_of(server, f"?type={POLICY}")
    server.request("GET", "/_synapse/admin/v1/rooms", {"Authorization": "Bearer admin"})
    assert state.asked == [POLICY, "rooms"]


def test_a_member_reads_the_content_of_an_event_or_all_of_it() -> None:
    _state, server = make()

    def read(query: str) -> Any:
        path = f"/_matrix/client/v3/rooms/!r:s/state/m.room.create/{query}"
        return server.request("GET", path, {"Authorization": "Bearer admin"}).json()

    content = {"room_version": "10", "creator": "@admin:s"}
    assert read("") == read("?format=content") == content
    whole = read("?format=event")
    assert (whole["sender"], whole["type"]) == ("@admin:s", "m.room.create")
    assert (whole["content"], whole["room_id"]) == (content, "!r:s")
