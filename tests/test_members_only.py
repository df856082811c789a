"""Members only, through a guard in front of the sandbox: at each endpoint and by each source."""

import json
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import deferLater

from lotus_guard.sandbox.acting import ApplicationService
from lotus_guard.sandbox.stack import OPEN, TWO
from lotus_guard.sandbox.temper import CONTINUWUITY, DENDRITE, SYNAPSE, TUWUNEL, Temper
from tests.calls import join, metric, people
from tests.world import Got, World, reactor

BOTH = ("/get_token", "/sfu/get")
ON = {"LOTUS_GUARD_MEMBERS": "on"}
AS_TOKEN = "as-token-of-a-reader"


def start_with_application_service(world: World, temper: Temper) -> None:
    """Start a guard that has an application service's token and no admin's."""
    state = world.sandbox.homeserver
    state.temper = temper
    state.services.append(ApplicationService(AS_TOKEN, "@_reader:sandbox", "@.*:sandbox"))
    registration = world.directory / "registration.yaml"
    users = [{"exclusive": False, "regex": "@.*:sandbox"}]
    fields = {"as_token": AS_TOKEN, "hs_token": "x" * 32, "namespaces": {"users": users}}
    registration.write_text(json.dumps(fields))
    world.start_guard(
        LOTUS_GUARD_SYNAPSE_TOKEN="", LOTUS_GUARD_AS_REGISTRATION_FILE=str(registration), **ON
    )


def stranger(world: World, name: str = "eve") -> str:
    world.sandbox.homeserver.openid[f"openid-{name}"] = f"@{name}:sandbox"
    world.sandbox.homeserver.add_account(f"@{name}:sandbox", f"token-{name}")
    return name


def is_refused(got: Got) -> bool:
    if got.status != 403:
        return False
    assert got.json()["errcode"] == "M_FORBIDDEN"
    return bool(got.json()["error"].startswith("You are not a member of this room."))


@pytest.mark.parametrize("endpoint", BOTH)
@pytest_twisted.ensureDeferred
async def test_an_admins_token_tells_who_is_a_member(world: World, endpoint: str) -> None:
    world.start_guard(**ON)
    eve = stranger(world)
    assert is_refused(await world.ask(eve, OPEN, endpoint))
    assert (await world.ask("alice", OPEN, endpoint)).status == 200
    world.sandbox.homeserver.join(OPEN, f"@{eve}:sandbox")
    assert (await world.ask(eve, OPEN, endpoint)).status == 200
    assert world.fail_opens() == {}


@pytest.mark.parametrize("endpoint", BOTH)
@pytest.mark.parametrize("temper", [SYNAPSE, TUWUNEL, CONTINUWUITY, DENDRITE])
@pytest_twisted.ensureDeferred
async def test_an_application_service_tells_it_on_every_homeserver(
    world: World, temper: Temper, endpoint: str
) -> None:
    start_with_application_service(world, temper)
    eve = stranger(world)
    state = world.sandbox.homeserver
    assert is_refused(await world.ask(eve, OPEN, endpoint))
    assert (await world.ask("alice", OPEN, endpoint)).status == 200
    for membership in ("invite", "knock", "leave", "ban"):
        state.set_membership(OPEN, f"@{eve}:sandbox", membership)
        assert is_refused(await world.ask(eve, OPEN, endpoint)), membership
    state.set_membership(OPEN, f"@{eve}:sandbox", "join")
    assert (await world.ask(eve, OPEN, endpoint)).status == 200
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_outsiders_hold_no_seats(world: World) -> None:
    world.start_guard(**ON)
    for number in range(5):
        assert is_refused(await world.ask(stranger(world, f"eve{number}"), TWO))
    assert [(await world.ask(name, TWO)).status for name in ("alice", "bob")] == [200, 200]


@pytest_twisted.ensureDeferred
async def test_without_the_rule_outsiders_take_the_seats_of_the_members(world: World) -> None:
    world.start_guard(LOTUS_GUARD_MEMBERS="off")
    for number in range(2):
        assert (await world.ask(stranger(world, f"eve{number}"), TWO)).status == 200
    assert (await world.ask("alice", TWO)).status == 403


@pytest_twisted.ensureDeferred
async def test_where_it_only_observes_it_is_on_record_and_they_come_in(world: World) -> None:
    world.start_guard(LOTUS_GUARD_MEMBERS="observe")
    assert (await world.ask(stranger(world), OPEN)).status == 200
    (decision,) = world.guard.overview.records.recent
    assert (decision.observed, decision.ruling.rule) == (True, "members")
    assert decision.ruling.inputs == {"membership": "unheard", "is_local": True, "source": "admin"}


@pytest_twisted.ensureDeferred
async def test_a_homeserver_that_is_out_opens_it_and_is_counted(world: World) -> None:
    world.start_guard(
        **ON, LOTUS_GUARD_SYNAPSE_URL=world.serve(b"HTTP/1.1 500 No\r\nContent-Length: 0\r\n\r\n")
    )
    assert (await world.ask(stranger(world), OPEN)).status == 200
    assert ("members", "server_error") in world.fail_opens()


async def soon(test: Any) -> None:
    for _ in range(100):
        if test():
            return
        await deferLater(reactor, 0.05, lambda: None)
    raise AssertionError("it did not come")


@pytest.mark.parametrize("how", ["leave", "ban"])
@pytest_twisted.ensureDeferred
async def test_who_is_no_longer_a_member_is_put_out_by_the_passes(world: World, how: str) -> None:
    world.start_guard(**ON)
    await join(world, "alice", OPEN)
    bob = await join(world, "bob", OPEN)
    world.sandbox.homeserver.set_membership(OPEN, "@bob:sandbox", how)
    await world.guard.loop.run_pass()
    await soon(lambda: len(people(world, OPEN)) == 1)
    assert bob.identity not in people(world, OPEN)

    def counted() -> float:
        return metric(world, "lotus_guard_live_steps_total", step="expel", outcome="done")

    await soon(lambda: counted() == 1.0)  # LiveKit's answer is on its way to the guard
