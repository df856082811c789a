"""The homeserver's port: whom it serves, and that people are the same at all doors."""

import json
from collections.abc import Mapping
from typing import Any

import jwt
import pytest
import pytest_twisted

from lotus_guard.core.homeserver_wire import CLIENT_PATHS, FEDERATION_PATHS
from lotus_guard.core.model import UserId
from lotus_guard.core.naming import plain_identity_of
from lotus_guard.sandbox.authorization_state import Issuer
from lotus_guard.sandbox.stack import HS_TOKEN, KEY, OPEN, SECRET, TWO, VOICE
from tests.events import LIMIT_EVENT
from tests.recorder import CORS
from tests.world import Got, World

LISTEN = "tcp:0:interface=127.0.0.1"
BEARER = {"Authorization": f"Bearer {HS_TOKEN}"}


def claims_of(token: str) -> Any:
    return jwt.decode(token, options={"verify_signature": False})


def behind(world: World, **settings: str) -> World:
    world.start_guard(LOTUS_GUARD_HOMESERVER_LISTEN=LISTEN, LIVEKIT_HS_TOKEN=HS_TOKEN, **settings)
    return world


def body(room: str, slot: str = "m.call#ROOM", member: str = "m1", **more: Any) -> bytes:
    fields = {"url": "ws://", "room_id": room, "slot_id": slot, "member_id": member, **more}
    return json.dumps(fields).encode()


def asked(world: World, room: str, **more: Any) -> bytes:
    return body(room, **{"url": world.sandbox.authorization.issuer.livekit_url, **more})


async def by_homeserver(
    world: World, name: str, room: str, path: str = CLIENT_PATHS[0], **more: Any
) -> Got:
    """Ask as a client does whose homeserver hands it on."""
    base = world.sandbox.addresses.synapse
    headers = {"Authorization": f"Bearer {name}", "Content-Type": "application/json"}
    return await world.request("POST", path, asked(world, room, **more), headers, base)


async def at_the_door(world: World, sent: bytes, headers: dict[str, str], path: str = "") -> Got:
    """Ask as whoever reaches the port."""
    where = path or CLIENT_PATHS[0]
    return await world.request("POST", where, sent, {**BEARER, **headers}, world.homeserver)


@pytest.mark.parametrize("path", CLIENT_PATHS)
@pytest_twisted.ensureDeferred
async def test_a_user_gets_a_token_by_their_homeserver_and_it_is_judged(
    world: World, path: str
) -> None:
    behind(world)
    got = await by_homeserver(world, "alice", VOICE, path)
    assert got.status == 200
    video = claims_of(got.json()["jwt"])["video"]
    assert video["canPublishSources"] == ["microphone"]
    assert got.headers[CORS] == "*", "upstream's own passes"


@pytest_twisted.ensureDeferred
async def test_a_full_room_is_full_at_every_door_and_who_is_in_is_let_in_at_each(
    world: World,
) -> None:
    behind(world)
    assert (await by_homeserver(world, "alice", TWO)).status == 200
    assert (await world.ask("bob", TWO, "/get_token")).status == 200
    refused = await by_homeserver(world, "carol", TWO)
    assert refused.status == 403
    assert refused.json()["errcode"] == "M_FORBIDDEN"
    assert "This call is full" in refused.json()["error"]
    assert "Lotus-Guard-Decision" in refused.headers
    assert CORS not in refused.headers, "the homeserver's own stand"
    for again in ("m2", "m3"):  # each page load has a new member id
        assert (await by_homeserver(world, "alice", TWO, member=again)).status == 200
        assert (await by_homeserver(world, "bob", TWO, member=again)).status == 200
    for endpoint in ("/sfu/get", "/get_token"):
        assert (await world.ask("alice", TWO, endpoint)).status == 200
        assert (await world.ask("carol", TWO, endpoint)).status == 403


@pytest_twisted.ensureDeferred
async def test_a_client_reads_its_own_language_through_its_homeserver(world: World) -> None:
    """Synapse hands `Accept-Language` on: docs/facts.md, lk-jwt-service: behind a homeserver."""
    behind(world)
    base, sent = world.sandbox.addresses.synapse, asked(world, TWO)
    for name in ("alice", "bob"):
        assert (await by_homeserver(world, name, TWO)).status == 200
    headers = {"Authorization": "Bearer carol", "Accept-Language": "de-AT,de;q=0.9"}
    got = await world.request("POST", CLIENT_PATHS[0], sent, headers, base)
    assert got.status == 403
    assert got.json()["error"].startswith("Dieser Anruf ist voll")
    assert "Referenz" in got.json()["error"]


@pytest.mark.parametrize("slot", ["a<b", "m.call#room", "\u2028&>"])
@pytest_twisted.ensureDeferred
async def test_an_odd_slot_is_the_same_room(world: World, slot: str) -> None:
    behind(world)
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    assert (await by_homeserver(world, "alice", TWO, slot=slot)).status == 200
    assert (await by_homeserver(world, "bob", TWO, slot=slot)).status == 403
    assert (await world.ask("bob", TWO)).status == 403


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"X-Matrix-User-Identifier": "@alice:sandbox"}, 200),
        ({}, 400),
        ({"X-Matrix-User-Identifier": "@alice:sandbox", "X-Matrix-Origin": "other"}, 400),
        ({"X-Matrix-User-Identifier": "@alice:sandbox", "X_Matrix_User_Identifier": "@b:s"}, 400),
        ({"X-Matrix-Origin": "other"}, 400),
        ({"X-Matrix-User-Identifier": "alice"}, 400),
        ({"X-Matrix-User-Identifier": "@alice"}, 400),
        ({"X-Matrix-User-Identifier": "@alice:sandbox", "Authorization": "Bearer wrong"}, 401),
        ({"X-Matrix-User-Identifier": "@alice:sandbox", "Authorization": HS_TOKEN}, 401),
    ],
)
@pytest_twisted.ensureDeferred
async def test_who_asks_must_be_clear_and_said_by_the_homeserver(
    world: World, headers: dict[str, str], status: int
) -> None:
    behind(world)
    assert (await at_the_door(world, asked(world, OPEN), headers)).status == status


@pytest_twisted.ensureDeferred
async def test_the_public_port_believes_no_homeserver_and_serves_none(world: World) -> None:
    behind(world)
    headers = {**BEARER, "X-Matrix-User-Identifier": "@alice:sandbox"}
    for path in (*CLIENT_PATHS, *FEDERATION_PATHS, "/%5fmatrix/x", "//_matrix/x"):
        got = await world.request("POST", path, asked(world, OPEN), headers)
        assert (got.status, got.json()["errcode"]) == (404, "M_UNRECOGNIZED")


@pytest_twisted.ensureDeferred
async def test_a_user_of_another_homeserver_is_judged_like_any_other(world: World) -> None:
    behind(world)
    world.sandbox.homeserver.join(TWO, "@eve:other")
    world.sandbox.homeserver.join(TWO, "@mallory:other")
    world.sandbox.homeserver.join(TWO, "@trudy:other")

    async def ask(user: str, origin: str = "other") -> Got:
        sent = asked(world, TWO, user_id=user)
        return await at_the_door(world, sent, {"X-Matrix-Origin": origin}, FEDERATION_PATHS[0])

    world.sandbox.authorization.behind.is_joined = _always  # type: ignore[union-attr]
    assert (await ask("@eve:other")).status == 200
    assert (await ask("@mallory:other")).status == 200
    assert (await ask("@trudy:other")).status == 403
    assert (await ask("@eve:other")).status == 200
    assert (await ask("@eve:other", "elsewhere")).status == 400, "no user of who asks"


def another_service(world: World, secret: str) -> None:
    """Let there be another homeserver in the room, whose service signs with this secret."""
    issuer = Issuer(KEY, secret, "ws://other")

    async def ask(_server: str, fields: Mapping[str, str]) -> tuple[int, Any]:
        identity = plain_identity_of(UserId(fields["user_id"]), fields["member_id"])
        return 200, issuer.answer(fields["room_id"], fields["slot_id"], identity)

    answers_elsewhere(world, ask)


def answers_elsewhere(world: World, ask: Any) -> None:
    """Let another homeserver's service answer so."""
    world.sandbox.homeserver.join(VOICE, "@eve:other")
    assert world.sandbox.authorization.behind is not None
    world.sandbox.authorization.behind.ask_server = ask


@pytest_twisted.ensureDeferred
async def test_a_token_of_another_service_passes_without_an_alarm(world: World) -> None:
    behind(world)
    other = "another-secret-of-32-characters-or-more"
    another_service(world, other)
    world.sandbox.authorization.issuer.secret = other
    got = await by_homeserver(world, "alice", VOICE, server_name="other")
    assert got.status == 200
    assert world.fail_opens() == {}
    sample = world.guard.metrics.registry.get_sample_value
    assert sample("lotus_guard_elsewhere_total") == 1
    assert (await by_homeserver(world, "alice", VOICE, server_name="sandbox")).status == 200
    assert world.fail_opens() != {}, "ours, by another secret: that is drift"


@pytest_twisted.ensureDeferred
async def test_one_that_we_signed_is_judged_whatever_was_named(world: World) -> None:
    behind(world)
    another_service(world, SECRET)
    got = await by_homeserver(world, "alice", VOICE, server_name="other")
    assert claims_of(got.json()["jwt"])["video"]["canPublishSources"] == ["microphone"]


@pytest.mark.parametrize(
    "sent",
    [
        b"[]",
        b'["ws://x","!two:sandbox","m.call#ROOM","m1"]',
        b'{"room_id":"!two:sandbox","ROOM_ID":"!open:sandbox"}',
        b'{"room_id":["!two:sandbox"]}',
        b'{"member":["m1","@alice:sandbox","D"]}',
        b"{",
    ],
)
@pytest_twisted.ensureDeferred
async def test_what_two_readers_could_read_differently_is_refused(
    world: World, sent: bytes
) -> None:
    behind(world)
    got = await at_the_door(world, sent, {"X-Matrix-User-Identifier": "@alice:sandbox"})
    assert got.status == 400
    assert CORS not in got.headers


@pytest_twisted.ensureDeferred
async def test_a_slot_for_data_takes_no_seat_and_carries_no_media_where_seats_are_counted(
    world: World,
) -> None:
    behind(world, LOTUS_GUARD_DATA_SLOTS="whiteboard")
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    board = await by_homeserver(world, "bob", TWO, slot="whiteboard#1")
    assert board.status == 200
    video = claims_of(board.json()["jwt"])["video"]
    assert (video["canPublish"], video["canPublishData"]) == (False, True)
    assert (await by_homeserver(world, "alice", TWO)).status == 200, "the seat was free"
    assert (await by_homeserver(world, "bob", TWO)).status == 403
    assert (await by_homeserver(world, "bob", TWO, slot="talk#1")).status == 403
    free = await by_homeserver(world, "bob", OPEN, slot="whiteboard#1")
    assert (
        "canPublish" not in claims_of(free.json()["jwt"])["video"]
        or claims_of(free.json()["jwt"])["video"]["canPublish"]
    )


@pytest_twisted.ensureDeferred
async def test_in_a_live_slot_for_data_nobody_talks_where_seats_are_counted(world: World) -> None:
    behind(world, LOTUS_GUARD_DATA_SLOTS="whiteboard")
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {})
    board = await by_homeserver(world, "bob", TWO, slot="whiteboard#1")
    world.sandbox.sfu.join(board.json()["jwt"])
    call = await by_homeserver(world, "alice", TWO)
    world.sandbox.sfu.join(call.json()["jwt"])
    await world.guard.live.run_pass()
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    await world.guard.live.run_pass()
    by_size = {
        person.identity: person.permission
        for room in world.sandbox.sfu.rooms.values()
        for person in room.values()
    }
    assert len(by_size) == 2, "nobody is put out"
    told = sorted(
        (permission.can_publish, permission.can_publish_data) for permission in by_size.values()
    )
    assert told == [(False, True), (True, True)]


async def _always(_room: str, _who: str) -> bool:
    return True
