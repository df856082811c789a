"""What answers the panel, over the sandbox: who is a moderator by the homeserver's word."""

import json
from typing import Any

import pytest
import pytest_twisted
from twisted.internet.task import Clock

from lotus_guard.core.power import POWER_LEVELS
from lotus_guard.run.config import read_config
from lotus_guard.sandbox.stack import OPEN, TWO
from lotus_guard.web.panel.room import USER, WHY
from tests.calls import fill, join
from tests.run.parts import guard_on
from tests.test_docs import GOOD
from tests.world import Got, World

LEVELS = {"users": {"@alice:sandbox": 50}, "users_default": 0}
MEMBERS = {"LOTUS_GUARD_MEMBERS": "on"}


async def ask(world: World, name: str, room: str = TWO, server: str = "sandbox") -> Got:
    token = {"access_token": f"openid-{name}", "matrix_server_name": server}
    body = json.dumps({"room_id": room, "openid_token": token}).encode()
    return await world.request("POST", "/panel/room", body, {"Content-Type": "text/plain"})


@pytest_twisted.ensureDeferred
async def test_a_moderator_sees_the_call(world: World) -> None:
    world.sandbox.homeserver.set_state(TWO, POWER_LEVELS, LEVELS)
    world.start_guard()
    await join(world, "alice", TWO)
    await join(world, "bob", TWO)
    await fill(world)
    got = await ask(world, "alice")
    assert got.status == 200
    assert got.headers["Access-Control-Allow-Origin"] == "*"
    assert got.headers["Cache-Control"] == "no-store"
    found = got.json()
    assert found["user"] == "@alice:sandbox"
    assert (found["people"], found["count"]) == (["@alice:sandbox", "@bob:sandbox"], 2)
    assert found["limit"] == 2
    assert [(each["kind"], each["user"]) for each in found["decisions"]] == [
        ("refused", "@carol:sandbox")
    ]


@pytest.mark.parametrize("has_rules", [True, False])
@pytest_twisted.ensureDeferred
async def test_of_a_room_without_rules_as_well(world: World, has_rules: bool) -> None:
    world.sandbox.homeserver.set_state(OPEN, POWER_LEVELS, LEVELS)
    if has_rules:
        world.sandbox.homeserver.set_state(OPEN, "io.lotus.voice_limit", {})
    world.start_guard()
    await join(world, "dave", OPEN)
    assert (await ask(world, "alice", OPEN)).json()["people"] == ["@dave:sandbox"]


@pytest_twisted.ensureDeferred
async def test_nobody_else_does(world: World) -> None:
    homeserver = world.sandbox.homeserver
    homeserver.set_state(TWO, POWER_LEVELS, LEVELS)
    homeserver.openid["openid-frank"] = "@frank:sandbox"
    homeserver.openid["openid-eve"] = "@eve:elsewhere"
    homeserver.join(TWO, "@eve:elsewhere")
    world.start_guard()
    found = {}
    asks = [("bob", "sandbox"), ("frank", "sandbox"), ("nobody", "sandbox"), ("eve", "elsewhere")]
    for name, server in [*asks, ("alice", "elsewhere")]:
        got = await ask(world, name, server=server)
        assert got.headers["Access-Control-Allow-Origin"] == "*"
        found[name, server] = (got.status, got.json()[WHY], got.json().get(USER))
        assert "people" not in got.json()
    assert found == {
        ("bob", "sandbox"): (403, "powerless", "@bob:sandbox"),
        ("frank", "sandbox"): (403, "outside", "@frank:sandbox"),
        ("nobody", "sandbox"): (403, "unvouched", None),
        ("eve", "elsewhere"): (403, "unvouched", None),
        ("alice", "elsewhere"): (403, "unvouched", None),
    }
    homeserver.set_membership(TWO, "@alice:sandbox", "leave")
    assert (await ask(world, "alice")).json()[WHY] == "outside"
    assert (await ask(world, "alice", "!unknown:sandbox")).json()[WHY] == "outside"


@pytest_twisted.ensureDeferred
async def test_a_promotion_and_a_demotion_hold_at_once(world: World) -> None:
    world.sandbox.homeserver.set_state(TWO, POWER_LEVELS, LEVELS)
    world.start_guard()
    statuses = []
    for level in (0, 50, 49):
        users = {"users": {"@bob:sandbox": level}}
        world.sandbox.homeserver.set_state(TWO, POWER_LEVELS, users)
        statuses.append((await ask(world, "bob")).status)
    assert statuses == [403, 200, 403]


@pytest.mark.parametrize(
    "away",
    ["LOTUS_GUARD_SYNAPSE_URL", "LOTUS_GUARD_OPENID_URL", "LOTUS_GUARD_LIVEKIT_URL"],
)
@pytest_twisted.ensureDeferred
async def test_an_outage_tells_nobody_anything_and_opens_nothing(world: World, away: str) -> None:
    world.sandbox.homeserver.set_state(TWO, POWER_LEVELS, LEVELS)
    world.start_guard(**{away: world.serve(abort=True)})
    for _ in range(6):
        got = await ask(world, "alice")
        assert (got.status, got.json()[WHY]) == (503, "away")
    if away == "LOTUS_GUARD_OPENID_URL":
        # What is asked about strangers' tokens never opens the breaker to the homeserver.
        assert (await world.ask("dave", TWO)).status == 200
        assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_what_it_asks_is_counted_by_name(world: World) -> None:
    world.start_guard()
    await ask(world, "alice")
    registry = world.guard.metrics.registry
    labels: dict[str, Any] = {"endpoint": "panel", "status": "403"}
    assert registry.get_sample_value("lotus_guard_requests_total", labels) == 1.0


def test_it_can_be_switched_off() -> None:
    assert read_config(GOOD).panel
    assert guard_on(Clock()).public.door.behind._panel is not None  # type: ignore[attr-defined]
    off = guard_on(Clock(), LOTUS_GUARD_PANEL="off")
    assert off.public.door.behind._panel is None  # type: ignore[attr-defined]
