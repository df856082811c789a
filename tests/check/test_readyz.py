"""What a guard says of itself, as far as the check asks."""

import pytest
from pytest_twisted import ensureDeferred

from lotus_guard.check.readyz import NotThere, Ready, no_port, read_ready
from lotus_guard.run.config import read_config
from tests.check.checked_stack import CheckedStack, context_of
from tests.test_docs import GOOD


@ensureDeferred
async def test_counts_and_states_are_read(stack: CheckedStack) -> None:
    stack.operators.genuine, stack.operators.forged = 3, 1
    stack.operators.pushes = {"taken": 2, "refused": 4, "refused_age": 5}
    found = await read_ready(context_of(stack))
    assert (found.genuine, found.forged, found.taken, found.refused) == (3, 1, 2, 4)
    assert found.refused_age == 5.0
    assert found.states["loop"]["state"] == "ok"


@ensureDeferred
async def test_what_cannot_be_read_counts_as_nothing(stack: CheckedStack) -> None:
    stack.operators.pushes = {"taken": "many", "refused_age": None}
    found = await read_ready(context_of(stack))
    assert (found.taken, found.refused, found.refused_age) == (0, 0, None)
    assert isinstance(found, Ready)


@ensureDeferred
async def test_an_older_guard_is_named(stack: CheckedStack) -> None:
    stack.operators.is_old = True
    with pytest.raises(NotThere, match="an older guard"):
        await read_ready(context_of(stack))


@ensureDeferred
async def test_another_program_is_named(stack: CheckedStack) -> None:
    port = stack.environment["LOTUS_GUARD_SYNAPSE_URL"].rpartition(":")[2]
    stack.environment["LOTUS_GUARD_ADMIN_LISTEN"] = f"tcp:{port}"
    with pytest.raises(NotThere, match="it has no /readyz"):
        await read_ready(context_of(stack))


def test_why_there_is_no_port_to_ask() -> None:
    none = read_config({**GOOD, "LOTUS_GUARD_ADMIN_LISTEN": ""})
    assert "is empty" in no_port(none)
    unix = read_config({**GOOD, "LOTUS_GUARD_ADMIN_LISTEN": "unix:/run/x"})
    assert "not a TCP port of its own" in no_port(unix)
