"""The operators' port: what it tells, to whom, and what it takes in."""

import time
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from lotus_guard.core.webhook import MOST_WEBHOOK
from lotus_guard.rules import RULES
from lotus_guard.rules.push import HEADER, sign_push
from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from tests.calls import fill, join, metric
from tests.events import LIMIT_EVENT
from tests.test_decisions import decisions
from tests.test_edge import hook
from tests.world import World, reactor


@pytest_twisted.ensureDeferred
async def test_readyz_is_200_whatever_is_down_and_says_what(world: World) -> None:
    world.start_guard(
        LOTUS_GUARD_SYNAPSE_URL=world.serve(abort=True),
        LOTUS_GUARD_LIVEKIT_URL=world.serve(abort=True),
    )
    await world.ask("alice", VOICE)
    got = await world.request("GET", "/readyz", base=world.operators)
    states = {each["name"]: each["state"] for each in got.json()["dependencies"]}
    assert got.status == 200
    assert states["upstream"] == "ok"
    assert states["synapse"] == "trouble"
    assert states["loop"] == "unknown"
    assert states["pushes"] == "off"
    names = ("live", *(rule.name for rule in RULES))
    assert got.json()["guard"]["rules"] == dict.fromkeys(names, "enforce")
    world.start_guard(LOTUS_GUARD_UPSTREAM=world.serve(abort=True))
    await world.ask("alice", VOICE)
    got = await world.request("GET", "/readyz", base=world.operators)
    states = {each["name"]: each["state"] for each in got.json()["dependencies"]}
    assert (got.status, states["upstream"]) == (200, "trouble")
    assert (await world.request("GET", "/livez", base=world.operators)).body == b"alive\n"


@pytest_twisted.ensureDeferred
async def test_rooms_shows_who_is_where_and_what_was_done(world: World) -> None:
    world.start_guard()
    world.sandbox.homeserver.set_state(OPEN, LIMIT_EVENT, {})
    world.sandbox.homeserver.set_state(VOICE, "m.room.name", {"name": "Voices"})
    await join(world, "alice", VOICE)
    await join(world, "bob", OPEN)
    await fill(world)
    await world.guard.live.run_pass()
    await world.request("GET", "/rooms", base=world.operators)  # names are asked for by who looks
    await deferLater(reactor, 0.3, lambda: None)
    rooms = (await world.request("GET", "/rooms", base=world.operators)).json()["rooms"]
    by_id = {room["room"]: room for room in rooms}
    assert [room["room"] for room in rooms][-1] == OPEN, "those under a policy come first"
    assert by_id[VOICE]["users"] == ["@alice:sandbox"]
    assert by_id[VOICE]["name"] == "Voices"
    assert by_id[VOICE]["forbidden"] == ["camera", "screen_share", "screen_share_audio"]
    assert by_id[VOICE]["narrowed"] == 1
    assert by_id[OPEN]["people"] == 1
    assert (by_id[TWO]["taken"], by_id[TWO]["max_users"], by_id[TWO]["refused"]) == (2, 2, 1)


@pytest_twisted.ensureDeferred
@pytest.mark.parametrize(
    ("host", "status"),
    [
        ("127.0.0.1:8072", 200),
        ("[::1]:8072", 200),
        ("localhost", 200),
        ("guard:8072", 200),
        ("guard.example.org", 200),
        ("evil.example.com", 421),
        ("evil.example.com.", 421),
        ("127.0.0.1.evil.example:8072", 421),
        ("guard.example.org.evil.example", 421),
        ("[", 421),
    ],
)
async def test_a_rebound_host_name_sees_nobody(world: World, host: str, status: int) -> None:
    world.start_guard(LOTUS_GUARD_ADMIN_HOSTS="guard.example.org, other.example.org")
    await fill(world)
    for page in ("/rooms", "/decisions"):
        got = await world.request("GET", page, headers={"Host": host}, base=world.operators)
        assert got.status == status
        assert (b"@alice:sandbox" in got.body) == (status == 200 and page == "/decisions")


@pytest_twisted.ensureDeferred
async def test_another_sites_page_makes_the_guard_do_no_work(world: World) -> None:
    world.start_guard(LOTUS_GUARD_PUSH_SECRET=PUSH_SECRET)
    pages = [("GET", page) for page in ("/rooms", "/decisions?id=aaaaaaaa", "/metrics")]
    asked = [*pages, ("POST", "/policy"), ("POST", "/webhook")]
    for site in ("cross-site", "same-site"):
        for method, page in asked:
            headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Dest": "empty"}
            got = await world.request(method, page, b"", headers, world.operators)
            assert got.status == 403, page
    ready = (await world.request("GET", "/readyz", base=world.operators)).json()
    assert (ready["pushes"]["refused"], ready["webhooks"]["forged"]) == (0, 0)
    for site, dest in (("cross-site", "document"), ("none", "document"), ("same-origin", "empty")):
        headers = {"Sec-Fetch-Site": site, "Sec-Fetch-Dest": dest}
        for method, page in pages:
            got = await world.request(method, page, headers=headers, base=world.operators)
            assert got.status == 200, page


@pytest_twisted.ensureDeferred
async def test_senseless_questions_are_answered_all_the_same(world: World) -> None:
    world.start_guard()
    await fill(world)
    for query in (
        "limit=x",
        "limit=-1",
        "limit=99999999999999",
        "room=%ff",
        "user=",
        "id=",
        "id=%ff&id=x",
    ):
        got = await world.request("GET", f"/decisions?{query}", base=world.operators)
        assert got.status == 200, query
    assert len(await decisions(world, limit="1")) == 1


PUSH_SECRET = "a-push-secret-for-this-test"


async def push(world: World, body: bytes, secret: str = PUSH_SECRET) -> Any:
    headers = {HEADER: sign_push(body, secret, time.time())}
    return await world.request("POST", "/policy", body, headers, world.operators)


@pytest_twisted.ensureDeferred
async def test_a_push_is_taken_in_or_the_sender_hears_why_not(world: World) -> None:
    world.start_guard(LOTUS_GUARD_PUSH_SECRET=PUSH_SECRET)
    assert (await push(world, b"{}")).status == 204
    for body, secret in ((b"{}", "another-secret-of-some-length"), (b"x" * 70_000, PUSH_SECRET)):
        got = await push(world, body, secret)
        assert got.status == 401
        assert got.body
    ready = (await world.request("GET", "/readyz", base=world.operators)).json()
    assert (ready["pushes"]["taken"], ready["pushes"]["refused"]) == (1, 1)


@pytest_twisted.ensureDeferred
async def test_a_webhook_is_answered_alike_whatever_it_was(world: World) -> None:
    world.start_guard()
    body, token = hook(70_000)
    long, its_token = hook(MOST_WEBHOOK)
    for sent, signed in ((body, token), (b"{}", "forged"), (long, its_token)):
        headers = {"Authorization": signed}
        got = await world.request("POST", "/webhook", sent, headers, world.operators)
        assert (got.status, got.body) == (200, b"")
    assert metric(world, "lotus_guard_webhooks_forged_total") == 1.0
    ready = (await world.request("GET", "/readyz", base=world.operators)).json()
    assert ready["webhooks"] == {"genuine": 1, "forged": 1}


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/metrics", 200),
        ("HEAD", "/livez", 200),
        ("GET", "/", 200),
        ("GET", "/status/page.css", 200),
        ("GET", "/status/../secret", 404),
        ("GET", "/nothing", 404),
        ("POST", "/rooms", 405),
        ("GET", "/policy", 405),
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_there_is_and_what_there_is_not(
    world: World, method: str, path: str, status: int
) -> None:
    world.start_guard()
    assert (await world.request(method, path, base=world.operators)).status == status


@pytest_twisted.ensureDeferred
async def test_what_names_people_is_kept_by_no_cache_and_taken_for_no_other_type(
    world: World,
) -> None:
    world.start_guard()
    for path in ("/rooms", "/decisions", "/readyz"):
        got = await world.request("GET", path, base=world.operators)
        assert got.headers["Cache-Control"] == "no-store"
        assert got.headers["X-Content-Type-Options"] == "nosniff"
        assert got.headers["Content-Type"] == "application/json"
