"""LiveKit's clock and ours: what is signed goes by its own, and what is apart is named."""

import time
from email.utils import formatdate
from typing import Any

import pytest
import pytest_twisted
from hypothesis import strategies as st

from lotus_guard.rules.push import sign_push
from lotus_guard.sandbox import livekit as sandbox_livekit
from lotus_guard.sandbox.stack import SECRET, TWO, VOICE
from tests.test_credentials import make_rooms_itself
from tests.world import World

SECONDS = st.floats(-1e6, 1e6)
NOW = 1_790_000_000.0


# --- a guard -------------------------------------------------------------------------------------


def shift(world: World, seconds: float) -> None:
    """Put LiveKit's and lk-jwt-service's clock so far ahead of the guard's."""
    world.sandbox.sfu.epoch = lambda: time.time() + seconds
    make_rooms_itself(world)
    world.sandbox.authorization.issuer.epoch = lambda: time.time() + seconds


async def clock_of(world: World) -> dict[str, Any]:
    got = (await world.request("GET", "/readyz", base=world.operators)).json()
    (found,) = [each for each in got["dependencies"] if each["name"] == "clock"]
    return dict(found)


@pytest_twisted.ensureDeferred
async def test_no_clock_opens_a_call_wherever_it_goes(world: World) -> None:
    world.start_guard()
    assert (await clock_of(world))["state"] == "unknown"
    for seconds in (600.0, -600.0, 40_000.0, 0.0):
        shift(world, seconds)
        statuses = [(await world.ask(name, TWO)).status for name in ("alice", "bob", "carol")]
        assert statuses == [200, 200, 403]
        world.sandbox.sfu.create("room")
        assert (await world.ask("alice", VOICE)).sources == ["microphone"]
        found = await clock_of(world)
        assert found["state"] == ("trouble" if seconds else "ok")
    assert world.fail_opens() == {}


@pytest_twisted.ensureDeferred
async def test_the_token_that_goes_out_is_good_by_the_sfus_clock(world: World) -> None:
    world.start_guard()
    shift(world, -600.0)
    token = (await world.ask("alice", TWO)).json()["jwt"]
    assert world.sandbox.sfu.join(token).identity


@pytest_twisted.ensureDeferred
async def test_a_wrong_date_changes_nothing_that_works(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A proxy in between may write the Date: followed is only what LiveKit then takes."""
    later = lambda epoch: formatdate(epoch + 7200.0, usegmt=True).encode()  # noqa: E731
    monkeypatch.setattr(sandbox_livekit, "datetimeToString", later)
    world.start_guard()
    make_rooms_itself(world)
    statuses = [(await world.ask(name, TWO)).status for name in ("alice", "bob", "carol")]
    assert statuses == [200, 200, 403]
    assert world.fail_opens() == {}
    assert "7200 s behind" in (await clock_of(world))["detail"]
    world.sandbox.sfu.secret = "x" * 32  # a refusal that no clock is the reason of
    assert (await world.ask("carol", TWO)).status == 200
    world.sandbox.sfu.secret = SECRET
    assert (await world.ask("dave", TWO)).status == 403, "what was right before is tried first"


@pytest_twisted.ensureDeferred
async def test_a_push_from_another_time_blames_the_clocks(world: World) -> None:
    secret = "a-push-secret-for-this-test"
    world.start_guard(LOTUS_GUARD_PUSH_SECRET=secret)
    for late, words in ((-600.0, "600 s ago"), (600.0, "600 s from now")):
        signed = {"Lotus-Guard-Signature": sign_push(b"{}", secret, time.time() + late)}
        got = await world.request("POST", "/policy", b"{}", signed, world.operators)
        assert got.status == 401
        ready = (await world.request("GET", "/readyz", base=world.operators)).json()
        (pushes,) = [each for each in ready["dependencies"] if each["name"] == "pushes"]
        assert pushes["state"] == "trouble"
        assert words in pushes["detail"]
        assert "the clocks of Synapse and the guard differ" in pushes["detail"]
