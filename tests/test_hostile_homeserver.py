"""A hostile homeserver, which any user can name: it answers what it likes, when it likes."""

from typing import Any

import pytest
import pytest_twisted
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater

from lotus_guard.core.homeserver_wire import FEDERATION_PATHS
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.overload.fair_share import Bounds
from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from tests.web.test_homeserver import (
    answers_elsewhere,
    asked,
    at_the_door,
    behind,
    by_homeserver,
    claims_of,
)
from tests.world import Got, World, reactor


def answering(world: World, found: Any) -> None:
    """Let the other homeserver answer every request so."""

    async def ask(_server: str, _fields: Any) -> tuple[int, Any]:
        return 200, found

    answers_elsewhere(world, ask)


async def eves_token(world: World, room: str) -> str:
    """Get a token of ours for a user of the other homeserver."""
    service = world.sandbox.authorization.behind
    assert service is not None

    async def always(_room: str, _who: str) -> bool:
        return True

    service.is_joined = always
    sent = asked(world, room, user_id="@eve:other")
    got = await at_the_door(world, sent, {"X-Matrix-Origin": "other"}, FEDERATION_PATHS[0])
    return str(got.json()["jwt"])


@pytest.mark.parametrize(("length", "status"), [(20_000, 400), (200_000, 502)])
@pytest_twisted.ensureDeferred
async def test_what_it_writes_at_length_is_no_token(world: World, length: int, status: int) -> None:
    behind(world)
    answering(world, {"jwt": "x" * length})
    got = await by_homeserver(world, "alice", VOICE, server_name="other")
    assert got.status == status
    assert "jwt" not in got.json()
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_a_token_of_ours_that_it_plays_back_is_still_of_whom_it_was_for(
    world: World,
) -> None:
    behind(world)
    token = await eves_token(world, TWO)
    identity = claims_of(token)["sub"]
    answering(world, {"jwt": token})
    assert (await by_homeserver(world, "alice", VOICE, server_name="other")).status == 200
    directory = world.guard.memory.directory
    assert directory.person(identity) == "@eve:other"


@pytest_twisted.ensureDeferred
async def test_one_for_a_room_that_we_do_not_know_is_refused_and_binds_no_room(
    world: World,
) -> None:
    behind(world)
    token = await eves_token(world, OPEN)
    livekit_room = claims_of(token)["video"]["room"]
    world.guard.memory.directory._bindings.pop(livekit_room)  # as after a start without a state
    answering(world, {"jwt": token})
    got = await by_homeserver(world, "alice", VOICE, server_name="other")
    assert got.status == 400
    assert world.guard.memory.directory.binding_of(livekit_room) is None
    assert world.fail_opens() == {}, "nobody opens the guard so"


@pytest_twisted.ensureDeferred
async def test_an_old_token_does_not_set_back_from_when_on_the_last_one_is_valid(
    world: World,
) -> None:
    behind(world)
    old = await eves_token(world, TWO)
    world.sandbox.authorization.issuer.epoch = lambda: claims_of(old)["nbf"] + 5.0
    await eves_token(world, TWO)
    answering(world, {"jwt": old})
    assert (await by_homeserver(world, "alice", VOICE, server_name="other")).status == 200
    begins = exchange_of(world).admission.issued.begins
    assert begins.get(claims_of(old)["sub"]) == claims_of(old)["nbf"] + 5


def exchange_of(world: World) -> Any:
    return getattr(world.guard.homeserver.door.behind, "exchange")  # noqa: B009


@pytest_twisted.ensureDeferred
async def test_one_that_hangs_is_no_outage_of_ours(world: World) -> None:
    behind(world)
    exchange_of(world).way.upstream.seconds = 0.2
    hanging: list[Deferred[Any]] = []

    async def ask(_server: str, _fields: Any) -> tuple[int, Any]:
        hanging.append(Deferred())
        return await hanging[-1]  # type: ignore[no-any-return]

    answers_elsewhere(world, ask)
    got = await by_homeserver(world, "alice", VOICE, server_name="other")
    assert got.status == 504
    assert "other homeserver" in got.json()["error"]
    failures = world.guard.metrics.requests.upstream_failures
    failures.labels(Reason.TIMEOUT)  # is exposed from now on: a name that is none would say nothing
    sample = world.guard.metrics.registry.get_sample_value
    assert sample("lotus_guard_upstream_failures_total", {"reason": Reason.TIMEOUT.value}) == 0
    hanging.pop().callback((403, {}))


@pytest_twisted.ensureDeferred
async def test_those_who_ask_it_wait_for_each_other_and_nobody_else_does(world: World) -> None:
    behind(world)
    places = world.guard.public.load.elsewhere
    places.shares.bounds = Bounds(most=2, each=1, crowd=1, line=1, waiting=2, cap=1)
    places.seconds = 0.2
    hanging: list[Deferred[Any]] = []

    async def ask(_server: str, _fields: Any) -> tuple[int, Any]:
        hanging.append(Deferred())
        return await hanging[-1]  # type: ignore[no-any-return]

    answers_elsewhere(world, ask)
    first = by_homeserver(world, "alice", VOICE, server_name="other")
    asking = [world_deferred(first)]
    while not hanging:
        await deferLater(reactor, 0.01)
    late = await by_homeserver(world, "alice", VOICE, server_name="other")
    assert (late.status, late.json()["errcode"]) == (429, "M_LIMIT_EXCEEDED")
    assert (await by_homeserver(world, "alice", VOICE)).status == 200
    assert (await world.ask("alice", VOICE)).status == 200
    hanging[0].callback((403, {"errcode": "M_FORBIDDEN"}))
    (got,) = await gatherResults(asking)
    assert got.status == 403
    assert places.shares.used == 0


def world_deferred(asking: Any) -> Deferred[Got]:
    return Deferred.fromCoroutine(asking)


@pytest_twisted.ensureDeferred
async def test_one_that_is_down_is_told_as_upstream_tells_it(world: World) -> None:
    behind(world)

    async def ask(_server: str, _fields: Any) -> tuple[int, Any]:
        raise Outage(Reason.REFUSED, "down")

    answers_elsewhere(world, ask)
    got = await by_homeserver(world, "alice", VOICE, server_name="other")
    assert got.status >= 500
    assert world.fail_opens() == {}
