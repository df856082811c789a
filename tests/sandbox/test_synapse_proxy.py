"""The sandbox's homeserver hands on what Synapse hands on, and nothing else."""

import pytest_twisted

from lotus_guard.core.homeserver_wire import CLIENT_PATHS
from lotus_guard.sandbox.stack import HS_TOKEN
from tests.world import World, http_answer

ANSWER = http_answer(b'{"x":1}', "418 odd").replace(b"418 odd\r\n", b"418 odd\r\nX-Own: 7\r\n")


@pytest_twisted.ensureDeferred
async def test_the_request_goes_on_with_who_asks_and_the_answer_comes_back(world: World) -> None:
    world.sandbox.behind(world.serve(ANSWER))
    proxy = world.sandbox.homeserver.proxy
    assert proxy is not None
    headers = {
        "Authorization": "Bearer alice",
        "Content-Type": "text/odd",
        "Accept-Language": "de",
        "Cookie": "a=b",
        "X-Matrix-User-Identifier": "@bob:sandbox",
        "X-Forwarded-For": "192.0.2.1",
    }
    seen: dict[str, object] = {}
    inner = proxy.hand_on

    async def spy(method: bytes, url: bytes, headers: dict[bytes, bytes], body: bytes) -> object:
        seen.update(method=method, url=url, headers=dict(headers), body=body)
        return await inner(method, url, headers, body)

    world.sandbox.homeserver.proxy = type(proxy)(proxy.url, HS_TOKEN, "as", spy)  # type: ignore[arg-type]
    path = f"{CLIENT_PATHS[0]}?a=%2F&access_token=x&b"
    sent = b'{ "odd" : "\xc3\xa4" }'
    base = world.sandbox.addresses.synapse
    answer = await world.request("POST", path, sent, headers, base)
    assert (answer.status, answer.headers["X-Own"], answer.json()) == (418, "7", {"x": 1})
    assert seen["body"] == sent
    assert seen["url"] == f"{proxy.url}{CLIENT_PATHS[0]}?a=%2F&b".encode()
    assert seen["headers"] == {
        b"Content-Type": b"text/odd",
        b"Accept-Language": b"de",
        b"Authorization": f"Bearer {HS_TOKEN}".encode(),
        b"X-Matrix-User-Identifier": b"@alice:sandbox",
    }


@pytest_twisted.ensureDeferred
async def test_strangers_are_refused_and_a_service_that_is_down_is_an_internal_error(
    world: World,
) -> None:
    base = world.sandbox.addresses.synapse
    headers = {"Authorization": "Bearer alice"}
    assert (await world.request("POST", CLIENT_PATHS[1], b"{}", headers, base)).status == 404
    world.sandbox.behind(world.serve(abort=True))
    assert (await world.request("POST", CLIENT_PATHS[1], b"{}", headers, base)).status == 500
    headers = {"Authorization": "Bearer nobody"}
    assert (await world.request("POST", CLIENT_PATHS[1], b"{}", headers, base)).status == 401
