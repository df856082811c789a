"""A homeserver's transactions at its door: taken, whatever they are, and from nobody else."""

import json
from typing import Any

import pytest
import pytest_twisted
from attrs import define, field
from twisted.web.http_headers import Headers

from lotus_guard.core.model import RoomId
from lotus_guard.sandbox.stack import HS_TOKEN, TWO
from lotus_guard.web.app_service import MOST_TRANSACTION, AppService, is_transaction
from lotus_guard.web.problems import Problem
from tests.core.test_transaction import member, policy
from tests.events import LIMIT_EVENT
from tests.recorder import CORS
from tests.web.test_homeserver import BEARER, behind
from tests.world import Got, World

PUT = "/_matrix/app/v1/transactions/1"


def serving(world: World) -> World:
    return behind(world, LOTUS_GUARD_TRANSACTIONS="on", LOTUS_GUARD_POLICY_MAX_AGE="60")


async def put(world: World, *events: Any, path: str = PUT, **headers: str) -> Got:
    sent = json.dumps({"events": events}).encode()
    return await world.request("PUT", path, sent, {**BEARER, **headers}, world.homeserver)


def outcomes(world: World) -> dict[str, float]:
    (family,) = world.guard.metrics.requests.transactions.collect()
    samples = [each for each in family.samples if each.name.endswith("_total")]
    return {each.labels["outcome"]: each.value for each in samples}


@pytest.mark.parametrize("path", [PUT, "/transactions/1", f"{PUT}?x=y"])
@pytest_twisted.ensureDeferred
async def test_a_changed_policy_is_asked_for_at_once(world: World, path: str) -> None:
    serving(world)
    assert (await world.ask("alice", TWO)).status == 200
    limit = world.guard.live.candidates.policies.of("limit")
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    assert limit.at_hand(RoomId(TWO)) is not None, "what is known is believed for a while"
    got = await put(world, policy(room_id=TWO, content={"max_users": 99}), path=path)
    assert (got.status, got.json()) == (200, {})
    assert CORS not in got.headers
    assert (await world.ask("bob", TWO)).status == 403, "the homeserver's word, not the event's"
    assert outcomes(world) == {"taken": 1.0}


@pytest_twisted.ensureDeferred
async def test_memberships_are_handed_on(world: World) -> None:
    serving(world)
    told: list[Any] = []
    world.guard.hints.on_member = lambda *what: told.append(what)
    await put(world, member(), member(event_id="$3", state_key="@b:s"))
    await put(world, member())
    assert told == [("!r:s", "@a:s", "ban"), ("!r:s", "@b:s", "ban")]


@pytest.mark.parametrize(
    "sent",
    [b"", b"{", b"[]", b'{"events": 3}', b"x" * (MOST_TRANSACTION + 1)],
)
@pytest_twisted.ensureDeferred
async def test_what_cannot_be_read_is_taken_or_it_would_come_again_for_ever(
    world: World, sent: bytes
) -> None:
    serving(world)
    got = await world.request("PUT", PUT, sent, BEARER, world.homeserver)
    assert (got.status, got.json()) == (200, {})
    assert outcomes(world) == {("too_long" if len(sent) > 9 and b"x" in sent else "unreadable"): 1}


@pytest_twisted.ensureDeferred
async def test_one_that_is_longer_than_clients_may_write_is_read(world: World) -> None:
    serving(world)
    told: list[Any] = []
    world.guard.hints.on_member = lambda *what: told.append(what)
    filling = {"event_id": "$x", "type": "m.room.message", "content": {"body": "x" * 800_000}}
    assert (await put(world, filling, member())).status == 200
    assert len(told) == 1


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/_matrix/app/v1/ping", 200),
        ("GET", "/_matrix/app/v1/users/@a:s", 404),
        ("GET", "/_matrix/app/v1/rooms/%23a:s", 404),
        ("GET", "/users/@a:s", 404),
    ],
)
@pytest_twisted.ensureDeferred
async def test_a_ping_is_answered_and_the_guard_has_no_users(
    world: World, method: str, path: str, status: int
) -> None:
    serving(world)
    got = await world.request(method, path, b"{}", BEARER, world.homeserver)
    assert got.status == status
    assert got.json() == {} if status == 200 else got.json()["errcode"] == "M_NOT_FOUND"


@pytest.mark.parametrize("said", ["Bearer wrong", f"Basic {HS_TOKEN}", "Bearer ", ""])
@pytest_twisted.ensureDeferred
async def test_nobody_else_is_believed(world: World, said: str) -> None:
    serving(world)
    told: list[Any] = []
    world.guard.hints.on_member = lambda *what: told.append(what)
    got = await put(world, member(), Authorization=said)
    assert (got.status, told, outcomes(world)) == (401, [], {})
    refused = {"endpoint": "transactions", "status": "401"}
    sample = world.guard.metrics.registry.get_sample_value
    assert sample("lotus_guard_requests_total", refused) == 1


@pytest_twisted.ensureDeferred
async def test_where_it_is_off_upstream_is_asked_as_ever(world: World) -> None:
    behind(world)
    assert (await put(world, member())).status == 404
    assert outcomes(world) == {}


@pytest_twisted.ensureDeferred
async def test_at_the_public_port_there_is_none(world: World) -> None:
    serving(world)
    for path in (PUT, "/transactions/1"):
        got = await world.request("PUT", path, b'{"events": []}', BEARER)
        assert got.status == 404
    assert outcomes(world) == {}


def test_what_is_a_transaction() -> None:
    assert is_transaction(b"/_matrix/app/v1/transactions/1?access_token=x")
    assert not is_transaction(b"/_matrix/app/v1/transactions")
    assert not is_transaction(b"/x?/transactions/1")


@define(eq=False)
class Nobody:
    """A guard that has no hs_token: nothing proves a homeserver."""

    target: bytes = PUT.encode()
    method: bytes = b"PUT"
    requestHeaders: Headers = field(factory=Headers)

    def is_ours(self, _headers: Headers) -> bool:
        return False


def test_without_a_proof_nothing_is_believed_whoever_was_let_in_at_the_door() -> None:
    asked: Any = Nobody()
    service = AppService(asked, None, None)  # type: ignore[arg-type]
    assert service.bound_of(PUT.encode(), Headers()) is None
    with pytest.raises(Problem) as raised:
        service.answer(asked)
    assert (raised.value.status, raised.value.errcode) == (401, "M_UNKNOWN_TOKEN")
