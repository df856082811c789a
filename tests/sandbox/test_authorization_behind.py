"""The sandbox's authorization service behind a homeserver: what the contract does not ask for."""

import json
from collections.abc import Mapping
from typing import Any

import jwt
import pytest

from lotus_guard.core.homeserver_wire import CLIENT_PATHS, FEDERATION_PATHS
from lotus_guard.sandbox.authorization import AuthorizationApp
from lotus_guard.sandbox.authorization_behind import DELEGATE_PATHS
from lotus_guard.sandbox.authorization_state import AppService
from tests.contract.subject import InMemory, Response
from tests.sandbox.token_service import SERVER, USER, Service

HEADERS = {"Authorization": "Bearer hs", "X-Matrix-User-Identifier": USER}
FIELDS = {"url": "ws://sfu", "room_id": "!r", "slot_id": "s", "member_id": "m"}


class Behind:
    """The service behind a homeserver, in memory; `joined` is who is in each room."""

    def __init__(self, *joined: str) -> None:
        self.service = Service()
        self.is_broken = False

        async def is_joined(_room: str, who: str) -> bool:
            if self.is_broken:
                raise RuntimeError("no scope")
            return who in joined

        self.behind = AppService("hs", SERVER, is_joined)
        self.service.state.behind = self.behind
        self.server = InMemory(AuthorizationApp(self.service.state).resource())

    def post(self, path: str, headers: Mapping[str, str] = HEADERS, **more: Any) -> Response:
        return self.server.request("POST", path, headers, json.dumps({**FIELDS, **more}).encode())


@pytest.mark.parametrize("path", CLIENT_PATHS)
def test_a_room_is_made_for_each_token_and_no_room_no_token(path: str) -> None:
    behind = Behind(USER)
    assert behind.post(path).status == 200
    assert len(behind.service.made) == 1
    behind.service.broken = True
    assert behind.post(path).status == 500


def test_a_homeserver_that_does_not_say_who_is_in_a_room_is_a_bad_gateway() -> None:
    behind = Behind(USER)
    behind.is_broken = True
    answer = behind.post(CLIENT_PATHS[0])
    assert (answer.status, answer.json()["errcode"]) == (502, "M_UNKNOWN")


def elsewhere(
    *joined: str, says: tuple[int, Any] | None = (200, {"jwt": "theirs"})
) -> tuple[Response, list[Any]]:
    """Ask for a token of the homeserver `far`, which answers what it `says`."""
    asked = []

    async def ask(server: str, fields: Mapping[str, str]) -> tuple[int, Any]:
        asked.append((server, dict(fields)))
        assert says is not None
        return says

    behind = Behind(*joined)
    behind.behind.ask_server = ask if says else None
    return behind.post(CLIENT_PATHS[0], server_name="far", url="ws://theirs"), asked


def test_another_homeserver_is_asked_only_for_who_is_in_the_room_and_where_it_is_too() -> None:
    for joined in ((), (USER,), ("far",)):
        answer, asked = elsewhere(*joined)
        assert (answer.status, asked) == (403, [])
    assert elsewhere(USER, "far", says=None)[0].status == 502
    answer, asked = elsewhere(USER, "far")
    assert answer.json() == {"jwt": "theirs"}
    assert asked == [("far", {"user_id": USER, **FIELDS, "url": "ws://theirs"})]


@pytest.mark.parametrize(
    ("says", "status", "errcode"),
    [
        ((403, {"errcode": "M_FORBIDDEN"}), 403, "M_FORBIDDEN"),
        ((400, {"errcode": "M_INVALID_PARAM"}), 400, "M_INVALID_PARAM"),
        ((429, {"errcode": "M_LIMIT_EXCEEDED"}), 502, "M_UNKNOWN"),
        ((500, None), 502, "M_UNKNOWN"),
    ],
)
def test_of_what_another_homeserver_says_two_refusals_are_relayed(
    says: tuple[int, Any], status: int, errcode: str
) -> None:
    answer, _ = elsewhere(USER, "far", says=says)
    assert (answer.status, answer.json()["errcode"]) == (status, errcode)


def test_users_of_other_servers_ask_where_ours_is_in_the_room_and_may_only_listen() -> None:
    def answer(*joined: str, user: str = "@eve:far", url: str = "ws://sfu") -> Response:
        headers = {"Authorization": "Bearer hs", "X-Matrix-Origin": "far"}
        return Behind(*joined).post(FEDERATION_PATHS[0], headers, user_id=user, url=url)

    assert answer("@eve:far").status == 403, "ours is not in the room"
    assert answer(SERVER).status == 403, "the user is not in the room"
    assert answer(SERVER, "@eve:far", url="ws://x").status == 400, "the address comes last"
    assert answer(SERVER, url="ws://x").status == 403
    good = answer(SERVER, "@eve:far")
    claims = jwt.decode(good.json()["jwt"], options={"verify_signature": False})
    assert claims["video"]["canPublish"] is False


@pytest.mark.parametrize("path", DELEGATE_PATHS)
def test_a_delayed_leave_is_taken_and_dropped(path: str) -> None:
    behind = Behind()
    answer = behind.post(path, delay_id="d")
    assert (answer.status, answer.body) == (200, b"{}")
    assert behind.service.made == []
