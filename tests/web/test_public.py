"""The routes of the public port: no spelling of a path gets around one."""

import pytest
import pytest_twisted

from lotus_guard.sandbox.stack import VOICE
from tests.recorder import AMBIGUOUS, CORS, parts, raw, recording
from tests.world import World, http_answer, token_request

SPELLINGS = [
    *("/sfu/get", "/sfu/g%65t", "/sfu/get?x=1", "/%73fu/get", "/sfu/./get"),
    *("/sfu/get;", "/sfu/get?", "/sfu/get;?"),  # the HTTP client drops what is empty
]


@pytest_twisted.ensureDeferred
async def test_a_webhook_goes_through_byte_for_byte(world: World) -> None:
    got = recording(world, http_answer(b""))
    body = b'{ "event" : "room_started",\n "\xc3\xa4": 1 }'
    await world.request("POST", "/sfu_webhook", body, {"Authorization": "a.b.c"})
    _, headers, received = parts(got[0])
    assert received == body
    assert headers["authorization"] == "a.b.c"


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest.mark.parametrize("body", AMBIGUOUS.values(), ids=AMBIGUOUS.keys())
@pytest_twisted.ensureDeferred
async def test_what_two_readers_could_read_differently_is_refused(
    world: World, body: str, spelling: str
) -> None:
    world.start_guard()
    got = await world.request("POST", spelling, body.encode("utf-8"))
    assert got.status == 400
    assert got.json()["errcode"] in ("M_BAD_JSON", "M_NOT_JSON")
    assert got.headers[CORS] == "*"


@pytest.mark.parametrize("spelling", SPELLINGS)
@pytest_twisted.ensureDeferred
async def test_no_spelling_of_the_path_gets_around_a_policy(world: World, spelling: str) -> None:
    world.start_guard()
    got = await world.request("POST", spelling, token_request("alice", VOICE))
    assert got.status in (301, 307, 308, 404) or got.sources == ["microphone"]


ODD_TARGETS = [b"1http://x/sfu/get", b"x?://h/sfu/get", b"_://h/sfu/get", b"sfu/get", b"x:/sfu/get"]


@pytest.mark.parametrize("target", [*ODD_TARGETS, b"http://h/sfu/get", b"HTTPS://h/sfu/get;"])
@pytest_twisted.ensureDeferred
async def test_no_form_of_the_target_gets_around_the_strict_reading(
    world: World, target: bytes
) -> None:
    world.start_guard()
    body = AMBIGUOUS["a key twice"].encode()
    head = b"POST %s HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    answer = await raw(world, head % (target, len(body)) + body)
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Access-Control-Allow-Origin: *" in answer


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize("endpoint", ["/sfu/get", "/get_token"])
async def test_an_address_with_a_slash_at_its_end_works_and_is_judged(
    world: World, endpoint: str
) -> None:
    world.start_guard()
    body = token_request("alice", VOICE, endpoint)
    for spelling in (f"/{endpoint}", f"//{endpoint}?x=1"):
        got = await world.request("POST", spelling, body)
        assert (got.status, got.sources) == (200, ["microphone"])
    assert (await world.request("POST", f"/{endpoint}/", body)).status in (307, 404)
    twice = b'{"room":"a","room":"b"}'
    assert (await world.request("POST", f"/{endpoint}", twice)).status == 400


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    "path", ["/get_token", "/sfu/get", "/delegate_delayed_leave", "/sfu_webhook", "/healthz"]
)
async def test_all_of_upstreams_paths_take_a_slash_before_them(world: World, path: str) -> None:
    """Whose base URL ends in a slash gets what everybody gets: the preflight and CORS as well."""
    world.start_guard()
    for method in ("OPTIONS", "POST", "GET", "HEAD"):
        wanted = await world.request(method, path, b"{}")
        for slashes in ("/", "//"):
            got = await world.request(method, slashes + path + "?x=1", b"{}")
            assert (got.status, got.body) == (wanted.status, wanted.body)
            allowed = "Access-Control-Allow-Origin"
            assert got.headers.get(allowed) == wanted.headers.get(allowed)
    assert (await world.request("POST", f"//x{path}", b"{}")).status in (307, 404)
