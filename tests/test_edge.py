"""What comes in from outside: ids and webhooks have a bound, and nobody fills the log."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted
from livekit.protocol import models as lk_models
from livekit.protocol import webhook as lk_webhook
from twisted.logger import formatEvent

from lotus_guard.core.ids import MOST_ID
from lotus_guard.core.model import Identity, RoomId
from lotus_guard.core.naming import livekit_room_of
from lotus_guard.core.strict_json import Unreadable
from lotus_guard.core.token import KeyPair, mint
from lotus_guard.core.webhook import (
    MOST_WEBHOOK,
    Event,
    EventKind,
)
from lotus_guard.core.wire import read_any
from lotus_guard.neighbours.http import Http
from lotus_guard.neighbours.synapse import Synapse
from lotus_guard.rules.limit import Limit
from lotus_guard.sandbox.generation import RUST
from lotus_guard.sandbox.livekit_webhooks import sign_webhook
from lotus_guard.sandbox.reading import read_as_go, read_as_rust
from lotus_guard.sandbox.stack import KEY, OPEN, SECRET, TWO, VOICE
from tests.calls import metric
from tests.recorder import CORS, parts, recording
from tests.world import World, http_answer, token_request

LONG = "x" * MOST_ID
Fields = dict[str, Any]


def modern(name: str = "alice", **more: Any) -> Fields:
    return {**json.loads(token_request(name, TWO, "/get_token")), **more}


def legacy(name: str = "alice", **more: Any) -> Fields:
    return {**json.loads(token_request(name, TWO)), **more}


def member(**more: Any) -> Fields:
    return {**modern()["member"], **more}


# --- what a client names -------------------------------------------------------------------------

TOO_LONG = {
    "room_id": ("/get_token", modern(room_id="!" + LONG)),
    "slot_id": ("/get_token", modern(slot_id=LONG + "x")),
    "id": ("/get_token", modern(member=member(id="ü" * 128))),
    "claimed_user_id": ("/get_token", modern(member=member(claimed_user_id="@" + LONG))),
    "claimed_device_id": ("/get_token", modern(member=member(claimed_device_id="x" * 60_000))),
    "room": ("/sfu/get", legacy(room="!" + "x" * 30_000)),
    "device_id": ("/sfu/get", legacy(device_id=LONG + "x")),
}
ODD: list[Any] = [1, None, True, [], {}, ["m"]]
NO_OBJECTS: list[Any] = [[], ["t", "Bearer", "sandbox", 60], "t", None, 1]
WRONG_TYPES = {
    "room_id": [("/get_token", modern(room_id=value)) for value in ODD],
    "slot_id": [("/get_token", modern(slot_id=value)) for value in ODD],
    "member": [("/get_token", modern(member=value)) for value in NO_OBJECTS],
    "openid_token": [
        (path, fields(openid_token=value))
        for path, fields in (("/get_token", modern), ("/sfu/get", legacy))
        for value in NO_OBJECTS
    ],
    "id": [("/get_token", modern(member=member(id=value))) for value in ODD],
    "claimed_user_id": [("/get_token", modern(member=member(claimed_user_id=7)))],
    "claimed_device_id": [("/get_token", modern(member=member(claimed_device_id=None)))],
    "room": [("/sfu/get", legacy(room=value)) for value in ODD],
    "device_id": [("/sfu/get", legacy(device_id=value)) for value in ODD],
}
NO_ROOMS = ["!r\0:s", "!r\n:s", "!r\x7f:s", "!r\x85:s", "#alias:s", "r:s", "!", "!" + LONG]


@pytest.mark.parametrize("field", TOO_LONG)
@pytest_twisted.ensureDeferred
async def test_what_is_too_long_is_refused_and_named(world: World, field: str) -> None:
    world.start_guard()
    path, fields = TOO_LONG[field]
    got = await world.request("POST", path, json.dumps(fields).encode())
    assert (got.status, got.json()["errcode"]) == (400, "M_INVALID_PARAM")
    assert f"`{field}`" in got.json()["error"]
    assert "255 bytes" in got.json()["error"] or "room" in field
    assert got.headers[CORS] == "*"


@pytest.mark.parametrize("field", WRONG_TYPES)
@pytest_twisted.ensureDeferred
async def test_what_is_of_another_type_is_refused_and_named(world: World, field: str) -> None:
    """`read_as_rust` gives tokens for some of these, and upstream is yet to be asked."""
    world.sandbox.authorization.generation = RUST
    world.start_guard()
    for path, fields in WRONG_TYPES[field]:
        got = await world.request("POST", path, json.dumps(fields).encode())
        assert (got.status, got.json()["errcode"]) == (400, "M_BAD_JSON")
        assert f"`{field}`" in got.json()["error"]
        assert got.headers[CORS] == "*"


@pytest.mark.parametrize("room", NO_ROOMS)
@pytest_twisted.ensureDeferred
async def test_a_room_that_cannot_be_gets_no_token_and_is_never_asked_for(
    world: World, room: str
) -> None:
    world.start_guard()
    for path, fields in (("/get_token", modern(room_id=room)), ("/sfu/get", legacy(room=room))):
        got = await world.request("POST", path, json.dumps(fields).encode())
        assert (got.status, got.json()["errcode"]) == (400, "M_INVALID_PARAM")
    # Where such an id comes from elsewhere, no homeserver is asked either.
    asked: list[str] = []
    neighbour = Synapse(Http(None, None), "http://x", "t", 1.0, on_call=asked.append)  # type: ignore[arg-type]
    assert (await neighbour.policy(RoomId(room), Limit())).policy.max_users is None
    assert asked == []
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_ids_that_are_just_short_enough_get_their_token(world: World) -> None:
    world.start_guard()
    who = member(id="i" * 255, claimed_device_id="ü" * 127)
    fields = modern(room_id=OPEN, member=who, slot_id="s" * 255)
    assert (await world.request("POST", "/get_token", json.dumps(fields).encode())).status == 200
    longest = "!" + "r" * 254
    assert (await world.ask("alice", longest)).status == 200


@pytest_twisted.ensureDeferred
async def test_a_flood_of_long_ids_leaves_nothing_behind(world: World) -> None:
    world.start_guard()
    before = len(list(world.guard.memory.directory.bindings()))
    for number in range(60):
        room, device = f"!{number}{'r' * 30_000}:s", f"{number}{'d' * 60_000}"
        for fields in (modern(room_id=room), legacy(device_id=device), modern(slot_id=room)):
            path = "/get_token" if "member" in fields else "/sfu/get"
            assert (await world.request("POST", path, json.dumps(fields).encode())).status == 400
    assert len(list(world.guard.memory.directory.bindings())) == before
    assert list(world.guard.memory.directory.users()) == []
    assert len(world.guard.overview.records.recent) <= 3


@pytest_twisted.ensureDeferred
async def test_who_has_a_name_too_long_by_their_own_homeserver_gets_no_token(world: World) -> None:
    issuer = world.sandbox.authorization.issuer
    for who in ("@" + "u" * 60_000 + ":evil:D", "@u:evil:" + "D" * 600):
        token = json.dumps(issuer.answer(VOICE, "m.call#ROOM", Identity(who))).encode()
        recording(world, http_answer(token))
        got = await world.ask("alice", VOICE)
        assert (got.status, got.json()["errcode"]) == (400, "M_INVALID_PARAM")
        assert list(world.guard.memory.directory.users()) == []


# --- arrays for structs --------------------------------------------------------------------------


def arrays(name: str, number: int) -> list[bytes]:
    """Write a request in the ways that Rust's serde takes for the object."""
    fields = modern(name, member=member(id=f"m{number}", claimed_user_id=f"@{name}:sandbox"))
    who = list(fields["member"].values())
    openid = [fields["openid_token"]["access_token"], "Bearer", "sandbox", 3600]
    whole = [fields["room_id"], fields["slot_id"], fields["openid_token"], fields["member"]]
    forms: list[Any] = [{**fields, "member": who}, {**fields, "openid_token": openid}, whole]
    return [json.dumps(form).encode() for form in forms]


@pytest_twisted.ensureDeferred
async def test_nobody_takes_a_second_seat_by_writing_an_array(world: World) -> None:
    """Read as no user, each such token would be another person: one user took both seats."""
    world.sandbox.authorization.generation = RUST
    world.start_guard()
    upstream = world.sandbox.addresses.authorization
    for number in range(3):
        for body in arrays("alice", number):
            assert (await world.request("POST", "/get_token", body, base=upstream)).status == 200
            got = await world.request("POST", "/get_token", body)
            assert (got.status, got.json()["errcode"]) == (400, "M_BAD_JSON")
            assert got.headers[CORS] == "*"
    assert (await world.ask("bob", TWO)).status == 200
    assert (await world.ask("carol", TWO)).status == 200


@pytest_twisted.ensureDeferred
async def test_an_array_that_got_a_token_on_a_path_we_do_not_know_is_refused(world: World) -> None:
    issuer = world.sandbox.authorization.issuer
    token = json.dumps(issuer.answer(VOICE, "m.call#ROOM", Identity("x"))).encode()
    recording(world, http_answer(token))
    for body in (*arrays("alice", 1), b"[]", b'"text"', b"1", b" "):
        got = await world.request("POST", "/unknown/path", body)
        assert got.status == 400
        assert got.headers[CORS] == "*"
    with pytest.raises(Unreadable):
        read_any(b"\n[1]")
    assert read_any(b"") is None


@pytest.mark.parametrize("missing", ["room_id", "member"])
@pytest_twisted.ensureDeferred
async def test_a_token_for_nobody_or_nowhere_is_one_that_we_have_misread(
    world: World, missing: str
) -> None:
    """Upstream refuses these itself; one that does not has read more than we have."""
    issuer = world.sandbox.authorization.issuer
    token = json.dumps(issuer.answer(VOICE, "m.call#ROOM", Identity("x"))).encode()
    recording(world, http_answer(token))
    fields = {name: value for name, value in modern().items() if name != missing}
    got = await world.request("POST", "/get_token", json.dumps(fields).encode())
    assert (got.status, got.json()["errcode"]) == (400, "M_BAD_JSON")


# --- webhooks ------------------------------------------------------------------------------------


def hook(metadata: int = 0, event: str = "room_finished", name: str = "EV_1") -> tuple[bytes, str]:
    """Sign a webhook about a participant with so many bytes of metadata."""
    who = lk_models.ParticipantInfo(identity="i", sid="PA_1", metadata="m" * metadata)
    room = lk_models.Room(name=livekit_room_of(RoomId(OPEN), "m.call#ROOM"))
    told = lk_webhook.WebhookEvent(event=event, id=name, room=room, participant=who)
    body, token = sign_webhook(told, KEY, SECRET, time.time())
    return body, token


@pytest.mark.parametrize("size", [0, 70_000, 512 * 1024, MOST_WEBHOOK - 2000])
@pytest_twisted.ensureDeferred
async def test_a_long_webhook_goes_through_whole_and_is_a_hint(world: World, size: int) -> None:
    got = recording(world, http_answer(b""))
    events: list[Event] = []
    world.guard.hints.webhooks.on_event = events.append
    body, token = hook(size)
    for base, path in ((world.url, "/sfu_webhook"), (world.operators, "/webhook")):
        events.clear()
        world.guard.hints.webhooks._seen.pop("EV_1")
        answer = await world.request("POST", path, body, {"Authorization": token}, base=base)
        assert answer.status == 200
        assert [(each.kind, each.sid) for each in events] == [(EventKind.FINISHED, "PA_1")]
    (sent,) = got
    _, headers, received = parts(sent)
    assert received == body
    assert headers["authorization"] == token
    assert metric(world, "lotus_guard_webhooks_forged_total") == 0


def forgeries() -> dict[str, str]:
    now = int(time.time())
    ours, join = KeyPair(KEY, SECRET), {"roomJoin": True, "room": "r"}
    client: dict[str, Any] = {"sub": "i", "exp": now + 60, "video": join}
    _, other = hook(70_000)
    return {
        "none": "",
        "a client's token": mint(ours, **client),
        "a client's token of Rust's": mint(ours, **client, sha256=""),
        "no text": mint(ours, **client, sha256=7),
        "another secret": mint(KeyPair(KEY, "y" * 40), sha256="x"),
        "another issuer": mint(KeyPair("z", SECRET), sha256="x"),
        "no JWT": other[:-3],
    }


@pytest.mark.parametrize("name", forgeries())
@pytest_twisted.ensureDeferred
async def test_a_strangers_webhook_may_be_no_longer_than_any_request(
    world: World, name: str
) -> None:
    got = recording(world, http_answer(b""))
    header = {"Authorization": forgeries()[name]}
    answer = await world.request("POST", "/sfu_webhook", b"x" * 70_000, header)
    assert (answer.status, got) == (413, [])
    await world.request("POST", "/webhook", b"x" * 70_000, header, base=world.operators)
    assert metric(world, "lotus_guard_webhooks_forged_total") >= 1


@pytest_twisted.ensureDeferred
async def test_the_token_of_a_webhook_opens_no_other_path_to_long_bodies(world: World) -> None:
    world.start_guard()
    _, token = hook()
    for path in ("/get_token", "/sfu/get", "/x"):
        got = await world.request("POST", path, b"x" * 70_000, {"Authorization": token})
        assert got.status == 413


@pytest_twisted.ensureDeferred
async def test_a_webhook_over_its_bound_is_refused_and_not_called_forged(world: World) -> None:
    got = recording(world, http_answer(b""))
    body, token = hook(MOST_WEBHOOK)
    answer = await world.request("POST", "/sfu_webhook", body, {"Authorization": token})
    assert (answer.status, got) == (413, [])
    assert str(MOST_WEBHOOK) in answer.json()["error"]
    assert metric(world, "lotus_guard_webhooks_forged_total") == 0


@pytest_twisted.ensureDeferred
async def test_livekit_waits_in_nobodys_line(world: World) -> None:
    """All clients may come by the address that LiveKit comes by."""
    recording(world, http_answer(b""))
    shares = world.guard.public.load.requests.shares
    shares.bounds = shares.bounds.__class__(most=0, each=0, crowd=0, line=0, waiting=0, cap=0)
    body, token = hook(70_000)
    answer = await world.request("POST", "/sfu_webhook", body, {"Authorization": token})
    assert answer.status == 200
    assert (await world.request("POST", "/sfu_webhook", body, {"Authorization": "x"})).status != 200


# --- the log -------------------------------------------------------------------------------------


async def forged_webhooks(world: World) -> None:
    await world.request("POST", "/sfu_webhook", b"{}", {"Authorization": "a.b.c"})


async def forged_webhooks_on_the_desk(world: World) -> None:
    await world.request("POST", "/webhook", b"{}", {"Authorization": "x"}, base=world.operators)


async def unsigned_pushes(world: World) -> None:
    await world.request(
        "POST", "/policy", b"{}", {"Lotus-Guard-Signature": "x"}, base=world.operators
    )


async def long_bodies(world: World) -> None:
    await world.request("POST", "/get_token", b"x" * 70_000)


async def bad_json(world: World) -> None:
    await world.request("POST", "/get_token", b"{")


async def long_rooms(world: World) -> None:
    await world.ask("alice", "!" + "x" * 300)


async def odd_targets(world: World) -> None:
    await world.request("GET", "/%ff/../x?y=%00")


async def another_host(world: World) -> None:
    await world.request("GET", "/rooms", headers={"Host": "evil.example"}, base=world.operators)


async def odd_arguments(world: World) -> None:
    await world.request("GET", "/decisions?limit=%ff&room=%ff&user=%ff", base=world.operators)


async def unknown_tokens(world: World) -> None:
    await world.request("POST", "/unknown/path", b"[]")


async def changed_tokens(world: World) -> None:
    await world.ask("alice", VOICE)


async def refused_seats(world: World) -> None:
    await world.ask("carol", TWO)


OUTSIDERS: list[Callable[[World], Any]] = [
    forged_webhooks,
    forged_webhooks_on_the_desk,
    unsigned_pushes,
    long_bodies,
    bad_json,
    long_rooms,
    odd_targets,
    another_host,
    odd_arguments,
    unknown_tokens,
    changed_tokens,
    refused_seats,
]


@pytest.mark.parametrize("outsider", OUTSIDERS, ids=[each.__name__ for each in OUTSIDERS])
@pytest_twisted.ensureDeferred
async def test_no_outsider_fills_the_log(
    world: World, outsider: Callable[[World], Any], logged: list[Any]
) -> None:
    """Two hundred times, whatever part writes; the last ration (`Rationed`) is not even there."""
    world.start_guard(LOTUS_GUARD_PUSH_SECRET="a-push-secret-for-tests")
    for name in ("alice", "bob"):
        await world.ask(name, TWO)
    logged.clear()
    for _ in range(200):
        await outsider(world)
    lines = [formatEvent(each) for each in logged if "Starting factory" not in formatEvent(each)]
    lines = [line for line in lines if "Stopping factory" not in line]
    assert len(lines) <= 6, lines


def test_both_readings_agree_on_what_a_client_really_sends() -> None:
    from lotus_guard.sandbox.reading import GET_TOKEN

    body = json.dumps(modern()).encode()
    assert read_as_go(body, GET_TOKEN) == read_as_rust(body, GET_TOKEN)
