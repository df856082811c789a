"""Who gets in, and who does not: by whatever slot, identity or LiveKit room they come."""

from collections.abc import Callable
from typing import Any

import pytest
import pytest_twisted

from lotus_guard.core.model import RoomId
from lotus_guard.enforce.identity_quota import MOST_IN_ROOM
from lotus_guard.enforce.introduction import MOST_SLOTS
from lotus_guard.enforce.ports import Outage, Reason
from lotus_guard.sandbox.stack import OPEN, TWO, VOICE
from tests.events import LIMIT_EVENT
from tests.recorder import wait
from tests.world import Got, World, token_request


@pytest_twisted.ensureDeferred
async def test_nobody_is_refused_on_a_look_from_before_he_asked(world: World) -> None:
    world.start_guard(LOTUS_GUARD_SEAT_GRACE="0")
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    alice = world.sandbox.sfu.join((await world.ask("alice", TWO)).json()["jwt"])
    assert (await world.ask("bob", TWO)).status == 403
    (livekit_room,) = world.sandbox.sfu.rooms
    world.sandbox.sfu.leave(livekit_room, alice.identity)
    assert (await world.ask("bob", TWO)).status == 200


@pytest_twisted.ensureDeferred
async def test_who_was_let_in_during_an_outage_is_counted_after_it(world: World) -> None:
    world.start_guard()
    presence = world.guard.live.room_pass.presence
    good = presence.service
    presence.service = Dead()  # type: ignore[assignment]
    for name in ("alice", "bob", "carol"):
        assert (await world.ask(name, TWO)).status == 200
    presence.service = good
    got = await world.ask("dave", TWO)
    assert got.json()["io.lotus.limit"] == {"max_users": 2, "users": 3}


class Dead:
    """A LiveKit that is away."""

    async def attendance(self, *_args: Any) -> Any:
        raise Outage(Reason.REFUSED, "made up")

    ping = attendance


@pytest_twisted.ensureDeferred
async def test_an_alias_once_learnt_stays_bound_to_its_room(world: World) -> None:
    """Random aliases, as MSC4195 plans them: nobody talks a room's call away from its policy."""
    world.start_guard()
    world.sandbox.authorization.issuer.livekit_room = lambda _room, _slot: "random-1"  # type: ignore[assignment,return-value]
    assert (await world.ask("alice", VOICE)).sources == ["microphone"]
    assert (await world.ask("alice", OPEN)).sources == ["microphone"]


@pytest_twisted.ensureDeferred
async def test_who_asks_for_anothers_identity_gets_no_seat_by_it_and_takes_none(
    world: World,
) -> None:
    """`@x:sandbox` with the device `8448:D`, and `@x:sandbox:8448` with the device `D`."""
    world.start_guard()
    world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": 1})
    names = {"one": "@x:sandbox:8448", "other": "@x:sandbox"}
    world.sandbox.homeserver.openid.update({f"openid-{n}": u for n, u in names.items()})

    async def ask(name: str, device: str) -> Got:
        server = names[name].partition(":")[2].encode()
        body = token_request(name, TWO, device=device)
        body = body.replace(b'_name": "sandbox"', b'_name": "' + server + b'"')
        return await world.request("POST", "/sfu/get", body)

    world.sandbox.sfu.join((await ask("one", "D")).json()["jwt"])
    assert (await ask("other", "D")).status == 403
    assert (await ask("other", "8448:D")).status == 403
    assert (await ask("one", "NEW")).status == 200, "a rejoin passes"
    assert (await ask("other", "8448:NEW")).status == 403


@pytest_twisted.ensureDeferred
async def test_empty_slots_are_no_flood(world: World) -> None:
    world.start_guard()
    for number in range(70):
        await world.ask("alice", TWO, "/get_token", slot=f"slot{number}")
    assert (await world.ask("bob", TWO)).status == 200
    assert (await world.ask("carol", TWO)).status == 403
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_a_slot_is_the_clients_to_choose_and_opens_no_seat(world: World) -> None:
    world.start_guard()
    for number in range(30):
        name = ("alice", "bob")[number % 2]
        got = await world.ask(name, TWO, "/get_token", slot=f"slot{number}")
        assert got.status == 200
    assert (await world.ask("carol", TWO, "/get_token", slot="another")).status == 403
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_people_in_all_the_slots_that_may_be_are_seen(world: World) -> None:
    world.start_guard()
    for number in range(MOST_SLOTS - 1):
        got = await world.ask("alice", TWO, "/get_token", slot=f"slot{number}")
        world.sandbox.sfu.join(got.json()["jwt"])
    assert (await world.ask("alice", TWO)).status == 200
    assert (await world.ask("bob", TWO)).status == 200
    assert (await world.ask("carol", TWO)).status == 403
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_no_user_opens_more_slots_than_can_be_looked_at(world: World) -> None:
    world.start_guard()
    for number in range(MOST_SLOTS - 1):
        got = await world.ask("alice", OPEN, "/get_token", slot=f"slot{number}")
        assert got.status == 200
    assert (await world.ask("alice", OPEN, "/get_token", slot="one too many")).status == 403
    assert (await world.ask("alice", OPEN, "/get_token", slot="slot1")).status == 200
    assert (await world.ask("bob", OPEN, "/get_token")).status == 200
    assert (await world.ask("bob", OPEN, "/get_token", slot="m.call#room")).status == 200
    assert (await world.ask("bob", OPEN)).status == 200
    assert (await world.ask("alice", VOICE, "/get_token", slot="x")).status == 200


@pytest_twisted.ensureDeferred
async def test_a_bound_that_is_only_observed_opens_no_other_rule(world: World) -> None:
    """Whoever has used up slots or devices is judged as anybody is, and nothing is remembered."""
    world.start_guard(LOTUS_GUARD_OBSERVE="limit")
    directory = world.guard.memory.directory
    for number in range(MOST_SLOTS + 3):
        got = await world.ask("alice", VOICE, "/get_token", slot=f"slot{number}")
        assert (got.status, got.sources) == (200, ["microphone"]), number
    assert len(directory.livekit_rooms_of(RoomId(VOICE))) == MOST_SLOTS
    for number in range(MOST_IN_ROOM + 3):
        got = await world.ask("alice", VOICE, "/get_token", member=f"m-{number}")
        assert (got.status, got.sources) == (200, ["microphone"]), number
    assert world.fail_opens() == {}
    seen = {each.ruling.why for each in world.guard.overview.records.recent if each.observed}
    assert any("slots in use" in why for why in seen)
    assert any("too many devices" in why for why in seen)


@pytest_twisted.ensureDeferred
async def test_agents_and_recorders_are_nobody(world: World) -> None:
    world.start_guard()
    await world.ask("alice", TWO)
    (livekit_room,) = world.sandbox.sfu.rooms
    people = world.sandbox.sfu.rooms[livekit_room]
    token = (await world.ask("alice", TWO)).json()["jwt"]
    agent = world.sandbox.sfu.join(token)
    people["agent"] = type(agent)(identity="agent", kind=type(agent).Kind.AGENT, state=2)
    people["egress"] = type(agent)(identity="egress", kind=type(agent).Kind.EGRESS, state=2)
    await wait(world, 1.1)  # for the next look
    assert (await world.ask("bob", TWO)).status == 200
    assert (await world.ask("carol", TWO)).status == 403


def senseless(value: Any) -> Callable[[World], None]:
    return lambda world: world.sandbox.homeserver.set_state(TWO, LIMIT_EVENT, {"max_users": value})


@pytest.mark.parametrize("value", ["2", True, 0, -1, 2.0, None, [2]])
@pytest_twisted.ensureDeferred
async def test_a_senseless_limit_is_no_limit_and_is_complained_of(world: World, value: Any) -> None:
    world.start_guard()
    senseless(value)(world)
    for name in ("alice", "bob", "carol"):
        assert (await world.ask(name, TWO)).status == 200
    registry = world.guard.metrics.registry
    assert registry.get_sample_value("lotus_guard_policy_complaints_total") == 1.0


@pytest_twisted.ensureDeferred
async def test_no_user_hides_among_identities_of_their_own(world: World) -> None:
    world.start_guard()
    for number in range(MOST_IN_ROOM):
        got = await world.ask("alice", OPEN, "/get_token", member=f"m{number}")
        assert got.status == 200
    assert (await world.ask("alice", OPEN, "/get_token", member="one too many")).status == 403
    assert (await world.ask("alice", OPEN, device="ANOTHER")).status == 403
    assert (await world.ask("alice", OPEN, "/get_token", member="m1")).status == 200
    assert (await world.ask("alice", TWO, "/get_token", member="m1")).status == 200
    assert (await world.ask("bob", OPEN, "/get_token")).status == 200
    assert world.fail_opens() == {}
