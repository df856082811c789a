"""What the guard relies on in Synapse: the admin API, and OpenID for the service upstream."""

import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from attrs import frozen

from lotus_guard.core.power import CREATE, POWER_LEVELS, read_power
from tests.contract.subject import Response, Server

LIMIT = "io.lotus.voice_limit"


@frozen
class SynapseSubject:
    """A homeserver where `room` was made by the admin, who set LIMIT to {"max_users": 2} in it."""

    server: Server
    room: str
    admin: str
    admin_token: str
    user: str
    """Neither an admin nor a member of the room."""
    user_token: str
    shared: str
    """A room with the alias `alias`, made by the admin; the user is in it, without any power."""
    alias: str
    slow_down: Callable[[], None]
    """From now on the admin sets state too fast."""

    def get(self, path: str, token: str | None = None) -> Response:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return self.server.request("GET", path, headers)

    def put(self, path: str, token: str, body: bytes = b"{}") -> Response:
        return self.server.request("PUT", path, {"Authorization": f"Bearer {token}"}, body)

    def state(self, query: str = "", token: str | None = None, room: str | None = None) -> Response:
        room_id = quote(self.room if room is None else room, safe="")
        path = f"/_synapse/admin/v1/rooms/{room_id}/state{query}"
        return self.get(path, self.admin_token if token is None else token)


def refusal(answer: Response) -> tuple[int, Any]:
    assert answer.headers["content-type"] == "application/json"
    assert isinstance(answer.json()["error"], str)
    return answer.status, answer.json()["errcode"]


class SynapseContract:
    """The suite; each class that runs it has the fixture `subject`."""

    def test_state_of_a_type_is_that_event_alone(self, subject: SynapseSubject) -> None:
        answer = subject.state(f"?type={LIMIT}")
        assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
        (event,) = answer.json()["state"]
        assert event["type"] == LIMIT
        assert event["state_key"] == ""
        assert event["content"] == {"max_users": 2}
        assert event["sender"] == subject.admin
        assert event["room_id"] == subject.room
        assert event["event_id"].startswith("$")
        assert isinstance(event["origin_server_ts"], int)

    def test_state_of_a_type_that_is_not_set_is_empty(self, subject: SynapseSubject) -> None:
        assert subject.state("?type=io.lotus.nothing").json() == {"state": []}

    @pytest.mark.parametrize("query", ["", "?type="])
    def test_state_of_no_type_is_all_of_it(self, subject: SynapseSubject, query: str) -> None:
        types = {event["type"] for event in subject.state(query).json()["state"]}
        assert types >= {"m.room.create", "m.room.member", LIMIT}

    def test_who_may_not_ask(self, subject: SynapseSubject) -> None:
        path = f"/_synapse/admin/v1/rooms/{quote(subject.room, safe='')}/state"
        assert refusal(subject.get(path)) == (401, "M_MISSING_TOKEN")
        assert refusal(subject.get(path, "no-token")) == (401, "M_UNKNOWN_TOKEN")
        assert refusal(subject.get(path, subject.user_token)) == (403, "M_FORBIDDEN")

    @pytest.mark.parametrize("room", ["!nowhere:example.com", "!nowhere", "nowhere"])
    def test_unknown_room(self, subject: SynapseSubject, room: str) -> None:
        assert refusal(subject.state(room=room)) == (404, "M_NOT_FOUND")
        members = f"/_synapse/admin/v1/rooms/{quote(room)}/members"
        assert refusal(subject.get(members, subject.admin_token)) == (404, "M_NOT_FOUND")

    def test_members(self, subject: SynapseSubject) -> None:
        path = f"/_synapse/admin/v1/rooms/{quote(subject.room)}/members"
        answer = subject.get(path, subject.admin_token)
        assert answer.json() == {"members": [subject.admin], "total": 1}
        assert refusal(subject.get(path, subject.user_token)) == (403, "M_FORBIDDEN")

    def test_rooms_come_in_pages(self, subject: SynapseSubject) -> None:
        found: list[str] = []
        start: int | None = 0
        while start is not None:
            path = f"/_synapse/admin/v1/rooms?from={start}&limit=1"
            page = subject.get(path, subject.admin_token).json()
            assert page["offset"] == start
            assert len(page["rooms"]) == 1
            found.extend(room["room_id"] for room in page["rooms"])
            start = page.get("next_batch")
        assert subject.room in found
        assert len(set(found)) == len(found) == page["total_rooms"] > 1

    def test_a_list_of_rooms_says_how_many_state_events_each_has(
        self, subject: SynapseSubject
    ) -> None:
        """One more for an event of a new type; as many as before where one is replaced."""

        def count() -> int:
            page = subject.get("/_synapse/admin/v1/rooms?from=0&limit=1000", subject.admin_token)
            counts = {room["room_id"]: room["state_events"] for room in page.json()["rooms"]}
            found: int = counts[subject.room]
            return found

        def comes_to(wanted: int) -> bool:
            """Whether it says so within some seconds: Synapse counts in the background."""
            ends = time.monotonic() + 10.0
            while time.monotonic() < ends and count() != wanted:
                time.sleep(0.05)
            return count() == wanted

        def put(kind: str, number: int) -> None:
            path = f"/_matrix/client/v3/rooms/{quote(subject.room)}/state/{kind}"
            assert subject.put(path, subject.admin_token, b'{"n": %d}' % number).status == 200

        before = len(subject.state().json()["state"])
        assert comes_to(before)
        put("io.lotus.counted", 1)
        assert comes_to(before + 1)
        put("io.lotus.counted", 2)
        put("io.lotus.counted.too", 1)
        assert comes_to(before + 2)
        put("io.lotus.counted", 3)
        time.sleep(0.5)
        assert count() == before + 2 == len(subject.state().json()["state"])

    def test_rooms_after_the_last(self, subject: SynapseSubject) -> None:
        page = subject.get("/_synapse/admin/v1/rooms?from=99", subject.admin_token).json()
        assert page["rooms"] == []
        assert "next_batch" not in page
        wrong = subject.get("/_synapse/admin/v1/rooms?from=x", subject.admin_token)
        assert refusal(wrong) == (400, "M_INVALID_PARAM")

    def test_whoami(self, subject: SynapseSubject) -> None:
        path = "/_matrix/client/v3/account/whoami"
        assert subject.get(path, subject.user_token).json()["user_id"] == subject.user
        assert refusal(subject.get(path)) == (401, "M_MISSING_TOKEN")
        assert refusal(subject.get(path, "no-token")) == (401, "M_UNKNOWN_TOKEN")

    def test_versions_need_no_token(self, subject: SynapseSubject) -> None:
        assert "v1.11" in subject.get("/_matrix/client/versions").json()["versions"]

    def test_version(self, subject: SynapseSubject) -> None:
        answer = subject.get("/_synapse/admin/v1/server_version", subject.admin_token)
        assert answer.json()["server_version"].startswith("1.")
        assert answer.headers["date"].endswith(" GMT")

    @pytest.mark.parametrize("path", ["/_matrix/client/v3/no", "/_synapse/admin/v1/no"])
    def test_unknown_path(self, subject: SynapseSubject, path: str) -> None:
        assert refusal(subject.get(path, subject.admin_token)) == (404, "M_UNRECOGNIZED")

    def test_other_method(self, subject: SynapseSubject) -> None:
        path = f"/_synapse/admin/v1/rooms/{quote(subject.room)}/state"
        headers = {"Authorization": f"Bearer {subject.admin_token}"}
        answer = subject.server.request("POST", path, headers, b"{}")
        assert refusal(answer) == (405, "M_UNRECOGNIZED")

    @pytest.mark.parametrize("end", ["", "/", "/key"])
    def test_state_that_is_set_is_there(self, subject: SynapseSubject, end: str) -> None:
        headers = {"Authorization": f"Bearer {subject.admin_token}"}
        kind = f"io.lotus.contract{len(end)}"
        path = f"/_matrix/client/v3/rooms/{quote(subject.room)}/state/{kind}{end}"
        assert refusal(subject.get(path, subject.admin_token)) == (404, "M_NOT_FOUND")
        put = subject.server.request("PUT", path, headers, b'{"a": 1}')
        assert put.status == 200
        assert put.json()["event_id"].startswith("$")
        assert subject.get(path, subject.admin_token).json() == {"a": 1}
        (event,) = subject.state(f"?type={kind}").json()["state"]
        assert (event["state_key"], event["content"]) == (end.strip("/"), {"a": 1})
        assert event["event_id"] == put.json()["event_id"]

    def test_state_that_cannot_be_set(self, subject: SynapseSubject) -> None:
        def put(room: str, token: str, body: bytes) -> tuple[int, Any]:
            path = f"/_matrix/client/v3/rooms/{quote(room)}/state/io.lotus.contract"
            headers = {"Authorization": f"Bearer {token}"}
            return refusal(subject.server.request("PUT", path, headers, body))

        forbidden = (403, "M_FORBIDDEN")
        assert put(subject.room, subject.user_token, b"{}") == forbidden
        assert put("!nowhere:example.com", subject.admin_token, b"{}") == forbidden
        assert put(subject.room, subject.admin_token, b"[]") == (400, "M_BAD_JSON")
        assert put(subject.room, subject.admin_token, b"{") == (400, "M_NOT_JSON")

    def test_alias(self, subject: SynapseSubject) -> None:
        path = "/_matrix/client/v3/directory/room/"
        found = subject.get(path + quote(subject.alias, safe=""))
        assert (found.status, found.json()["room_id"]) == (200, subject.shared)
        _, _, server = subject.alias.partition(":")
        for alias, expected in (
            (f"#nowhere:{server}", (404, "M_NOT_FOUND")),
            ("#nowhere", (400, "M_INVALID_PARAM")),
            (f"nowhere:{server}", (400, "M_INVALID_PARAM")),
        ):
            assert refusal(subject.get(path + quote(alias, safe=""))) == expected

    def test_who_has_no_power_sets_no_state(self, subject: SynapseSubject) -> None:
        path = f"/_matrix/client/v3/rooms/{quote(subject.shared)}/state/{LIMIT}/"
        assert refusal(subject.put(path, subject.user_token)) == (403, "M_FORBIDDEN")
        assert subject.put(path, subject.admin_token).status == 200
        assert refusal(subject.put(path, "no-token")) == (401, "M_UNKNOWN_TOKEN")
        (levels,) = subject.state(f"?type={POWER_LEVELS}", room=subject.shared).json()["state"]
        (create,) = subject.state(f"?type={CREATE}", room=subject.shared).json()["state"]
        power = read_power(levels["content"], create)
        assert power.needed(LIMIT) == 50
        assert power.of(subject.user) == 0
        assert power.of(subject.admin) >= 50

    def test_own_membership(self, subject: SynapseSubject) -> None:
        def path(room: str) -> str:
            user = quote(subject.user, safe="")
            return f"/_matrix/client/v3/rooms/{quote(room)}/state/m.room.member/{user}"

        inside = subject.get(path(subject.shared), subject.user_token)
        assert (inside.status, inside.json()["membership"]) == (200, "join")
        outside = subject.get(path(subject.room), subject.user_token)
        assert refusal(outside) == (403, "M_FORBIDDEN")

    def test_who_sets_state_too_fast_is_told_how_long_to_wait(
        self, subject: SynapseSubject
    ) -> None:
        subject.slow_down()
        path = f"/_matrix/client/v3/rooms/{quote(subject.room)}/state/io.lotus.contract"
        for number in range(10):
            answer = subject.put(path, subject.admin_token, b'{"n": %d}' % number)
            if answer.status != 200:
                break
        assert refusal(answer) == (429, "M_LIMIT_EXCEEDED")
        wait = answer.json()["retry_after_ms"]
        assert 0 < wait <= 1000
        assert answer.headers["retry-after"] == "1"

    def test_openid_token(self, subject: SynapseSubject) -> None:
        path = f"/_matrix/client/v3/user/{quote(subject.user)}/openid/request_token"

        def ask(token: str) -> Response:
            headers = {"Authorization": f"Bearer {token}"}
            return subject.server.request("POST", path, headers, b"{}")

        fields = ask(subject.user_token).json()
        assert fields["matrix_server_name"] == subject.user.partition(":")[2]
        assert (fields["token_type"], fields["expires_in"]) == ("Bearer", 3600)
        assert refusal(ask(subject.admin_token)) == (403, "M_FORBIDDEN")

        userinfo = "/_matrix/federation/v1/openid/userinfo"
        known = subject.get(f"{userinfo}?access_token={fields['access_token']}")
        assert known.json() == {"sub": subject.user}
        unknown = subject.get(f"{userinfo}?access_token=no-token")
        assert refusal(unknown) == (401, "M_UNKNOWN_TOKEN")
        assert refusal(subject.get(userinfo)) == (401, "M_MISSING_TOKEN")
