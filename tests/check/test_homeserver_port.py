"""The guard's port for the homeserver, as the check sees it."""

import pytest
from pytest_twisted import ensureDeferred

from lotus_guard.check.finding import Finding, Level
from lotus_guard.check.homeserver_port import check_exposure
from lotus_guard.run.config import read_config
from lotus_guard.sandbox.stack import HS_TOKEN
from tests.check.breaks import F, W
from tests.check.checked_stack import CheckedStack, port_of
from tests.real.processes import free_port
from tests.test_docs import GOOD


@pytest.mark.parametrize(
    ("listen", "levels"),
    [
        ("", []),
        ("unix:/run/s", []),
        ("tcp:8069:interface=127.0.0.1", [Level.OK]),
        ("tcp:8069:interface=192.168.1.2", [Level.OK]),
        ("tcp:8069", [W]),
        ("tcp:8069:interface=0.0.0.0", [W]),
        ("tcp:8069:interface=8.8.8.8", [W]),
    ],
)
def test_a_port_that_strangers_reach_is_a_warning(listen: str, levels: list[Level]) -> None:
    config = read_config({**GOOD, "LOTUS_GUARD_HOMESERVER_LISTEN": listen})
    assert [found.level for found in check_exposure(config)] == levels


async def found_of(stack: CheckedStack, interface: str = ":interface=127.0.0.1") -> Finding:
    """Let the check know of the port, and see what it says of what the guard believes."""
    port = port_of(stack.world.homeserver)
    stack.environment["LOTUS_GUARD_HOMESERVER_LISTEN"] = f"tcp:{port}{interface}"
    stack.environment["LIVEKIT_HS_TOKEN"] = ""  # the check sees no credential of the unit
    return (await stack.check())["homeserver-token"]


@ensureDeferred
async def test_a_guard_that_asks_for_the_token_is_seen_to_without_knowing_it(
    stack: CheckedStack,
) -> None:
    stack.world.start_guard(
        LOTUS_GUARD_HOMESERVER_LISTEN="tcp:0:interface=127.0.0.1", LIVEKIT_HS_TOKEN=HS_TOKEN
    )
    assert (await found_of(stack)).level is Level.OK


@pytest.mark.parametrize(("interface", "level"), [(":interface=127.0.0.1", W), ("", F)])
@ensureDeferred
async def test_one_that_believes_everybody_is_a_fault_where_strangers_reach_it(
    stack: CheckedStack, interface: str, level: Level
) -> None:
    stack.world.start_guard(
        LOTUS_GUARD_HOMESERVER_LISTEN="tcp:0:interface=127.0.0.1", LIVEKIT_HS_TOKEN=""
    )
    found = await found_of(stack, interface)
    assert found.level is level
    assert "LIVEKIT_AS_REGISTRATION_FILE" in found.wanted


@pytest.mark.parametrize("is_there", [True, False])
@ensureDeferred
async def test_a_port_where_no_guard_answers_is_a_fault(
    stack: CheckedStack, is_there: bool
) -> None:
    other = stack.world.sandbox.addresses.livekit
    port = port_of(other) if is_there else free_port()
    stack.environment["LOTUS_GUARD_HOMESERVER_LISTEN"] = f"tcp:{port}:interface=127.0.0.1"
    found = await stack.check()
    assert found["homeserver-port"].level is F
    assert "homeserver-token" not in found


@pytest.mark.parametrize(("token", "level"), [("t", Level.OK), ("", Level.NOTE)])
@ensureDeferred
async def test_what_is_no_tcp_port_is_not_asked(
    stack: CheckedStack, token: str, level: Level
) -> None:
    stack.environment["LOTUS_GUARD_HOMESERVER_LISTEN"] = "unix:/run/lotus.sock"
    stack.environment["LIVEKIT_HS_TOKEN"] = token
    assert (await stack.check())["homeserver-token"].level is level
