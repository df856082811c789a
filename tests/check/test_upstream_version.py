"""An lk-jwt-service that is too old to be sure of who is who."""

import pytest
from pytest_twisted import ensureDeferred

from lotus_guard.check.finding import Level
from lotus_guard.check.upstream_version import GO, RUST, generation_of
from lotus_guard.sandbox.generation import GENERATIONS
from tests.check.breaks import Break, W, each_is_found
from tests.check.checked_stack import CheckedStack
from tests.real.processes import free_port

NAME = "upstream-version"


def upstream_is_old(stack: CheckedStack) -> None:
    stack.world.sandbox.authorization.generation = GENERATIONS[GO]


BREAKS: list[tuple[Break, str, Level, str]] = [
    (upstream_is_old, NAME, W, "older than 0.8"),
    (upstream_is_old, NAME, W, "lk-jwt-service 0.8 or later"),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)


@ensureDeferred
async def test_a_newer_one_is_well_and_neither_makes_a_room_for_the_probe(
    stack: CheckedStack,
) -> None:
    made: list[str] = []

    async def create_room(name: str) -> None:
        made.append(name)

    stack.user_token = ""
    stack.world.sandbox.authorization.create_room = create_room
    for generation, level in ((GO, W), (RUST, Level.OK)):
        stack.world.sandbox.authorization.generation = GENERATIONS[generation]
        found = (await stack.check())[NAME]
        assert found.level is level
        assert "GHSA-rq24-fh66-rq7x" in found.seen, "0.7 still has the hole, and looks like 0.8"
    assert made == []


@ensureDeferred
async def test_where_something_else_answers_it_is_not_found_out(stack: CheckedStack) -> None:
    stack.user_token = ""
    stack.before("LOTUS_GUARD_UPSTREAM").page = (200, b"<html>welcome</html>")
    found = (await stack.check())[NAME]
    assert (found.level, "not checked" in found.seen) == (Level.NOTE, True)


@ensureDeferred
async def test_nothing_is_said_of_one_that_is_not_there_or_of_a_guard(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_UPSTREAM"] = f"http://127.0.0.1:{free_port()}"
    assert NAME not in await stack.check()
    stack.environment["LOTUS_GUARD_UPSTREAM"] = stack.public_url
    assert NAME not in await stack.check()


@pytest.mark.parametrize(
    ("status", "errcode", "generation"),
    [(400, "M_BAD_JSON", GO), (400, "M_NOT_JSON", RUST), (400, "", ""), (401, "M_BAD_JSON", "")],
)
def test_what_the_answer_to_the_probe_tells(status: int, errcode: str, generation: str) -> None:
    assert generation_of(status, errcode) == generation
