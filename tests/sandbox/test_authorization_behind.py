"""The sandbox's authorization service behind a homeserver: the order in which it checks."""

import json
from typing import Any

import pytest
import pytest_twisted

from lotus_guard.core.homeserver_wire import CLIENT_PATHS, FEDERATION_PATHS
from lotus_guard.core.naming import livekit_room_of, plain_identity_of
from lotus_guard.sandbox.stack import HS_TOKEN, OPEN
from tests.web.test_homeserver import claims_of
from tests.world import Got, World

USER = "X-Matrix-User-Identifier"
BEARER = {"Authorization": f"Bearer {HS_TOKEN}"}


async def post(
    world: World, sent: Any, headers: dict[str, str], path: str = CLIENT_PATHS[0]
) -> Got:
    where = world.sandbox.addresses.authorization
    return await world.request("POST", path, json.dumps(sent).encode(), headers, where)


def fields(world: World, **more: Any) -> dict[str, Any]:
    url = world.sandbox.authorization.issuer.livekit_url
    return {"url": url, "room_id": OPEN, "slot_id": "m.call#ROOM", "member_id": "m", **more}


@pytest.mark.parametrize(
    ("headers", "more", "errcode"),
    [
        ({}, {}, "M_MISSING_TOKEN"),
        ({"Authorization": "Bearer x"}, {}, "M_UNKNOWN_TOKEN"),
        (BEARER, {}, "M_UNAUTHORIZED"),
        ({**BEARER, USER: "alice"}, {}, "M_INVALID_PARAM"),
        ({**BEARER, USER: "@alice:sandbox"}, {"unknown": 1}, "M_NOT_JSON"),
        ({**BEARER, USER: "@alice:sandbox"}, {"url": "wss://other"}, "M_INVALID_PARAM"),
        ({**BEARER, USER: "@alice:sandbox"}, {"member_id": ""}, "M_BAD_JSON"),
        ({**BEARER, USER: "@nobody:sandbox"}, {}, "M_FORBIDDEN"),
        ({**BEARER, USER: "@alice:sandbox"}, {"room_id": "!none:sandbox"}, "M_FORBIDDEN"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_it_refuses(
    world: World, headers: dict[str, str], more: dict[str, Any], errcode: str
) -> None:
    world.sandbox.behind(world.sandbox.addresses.authorization)
    got = await post(world, fields(world, **more), headers)
    assert got.json()["errcode"] == errcode
    assert "Access-Control-Allow-Origin" not in got.headers


@pytest_twisted.ensureDeferred
async def test_a_token_is_for_the_user_that_the_homeserver_names(world: World) -> None:
    world.sandbox.behind(world.sandbox.addresses.authorization)
    asked = fields(world)
    for sent in (asked, list(asked.values())):  # serde takes an array for a struct
        got = await post(world, sent, {**BEARER, USER: "@alice:sandbox"})
        assert got.json().keys() == {"jwt"}
        claims = claims_of(got.json()["jwt"])
        assert claims["sub"] == plain_identity_of("@alice:sandbox", "m")  # type: ignore[arg-type]
        assert claims["video"]["room"] == livekit_room_of(OPEN, "m.call#ROOM")  # type: ignore[arg-type]


@pytest_twisted.ensureDeferred
async def test_a_remote_user_is_one_of_the_server_that_asks(world: World) -> None:
    world.sandbox.behind(world.sandbox.addresses.authorization)

    async def anybody(_room: str, _who: str) -> bool:
        return True

    assert world.sandbox.authorization.behind is not None
    world.sandbox.authorization.behind.is_joined = anybody
    headers = {**BEARER, "X-Matrix-Origin": "other"}
    good = fields(world, user_id="@eve:other")
    assert (await post(world, good, headers, FEDERATION_PATHS[0])).status == 200
    bad = fields(world, user_id="@eve:sandbox")
    assert (await post(world, bad, headers, FEDERATION_PATHS[0])).status == 400


@pytest.mark.parametrize(
    ("answer", "status", "errcode"),
    [
        ((200, {"jwt": "theirs"}), 200, None),
        ((403, {"errcode": "M_FORBIDDEN"}), 403, "M_FORBIDDEN"),
        ((400, {"errcode": "M_INVALID_PARAM"}), 400, "M_INVALID_PARAM"),
        ((429, {"errcode": "M_LIMIT_EXCEEDED"}), 502, "M_UNKNOWN"),
        ((500, None), 502, "M_UNKNOWN"),
    ],
)
@pytest_twisted.ensureDeferred
async def test_another_homeservers_service_is_asked_for_its_own_token(
    world: World, answer: tuple[int, Any], status: int, errcode: str | None
) -> None:
    asked = []

    async def ask_server(server: str, wanted: Any) -> tuple[int, Any]:
        asked.append((server, dict(wanted)))
        return answer

    async def is_joined(_room: str, who: str) -> bool:
        return who in ("@alice:sandbox", "other")

    service = world.sandbox.authorization.behind
    assert service is not None
    service.is_joined, service.server, service.ask_server = is_joined, "sandbox", ask_server
    wanted = fields(world, server_name="other")
    got = await post(world, wanted, {**BEARER, USER: "@alice:sandbox"})
    assert (got.status, got.json().get("errcode")) == (status, errcode)
    assert status != 200 or got.json() == {"jwt": "theirs"}
    wanted.pop("server_name")
    assert asked == [("other", {"user_id": "@alice:sandbox", **wanted})]
    strange = fields(world, server_name="strange")
    assert (await post(world, strange, {**BEARER, USER: "@alice:sandbox"})).status == 403
    own = fields(world, server_name="sandbox")
    assert (await post(world, own, {**BEARER, USER: "@alice:sandbox"})).status == 200
    assert len(asked) == 1
