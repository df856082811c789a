"""The panel at the public address: where it is, and what keeps clients from showing it."""

from typing import Any

import pytest
from attrs import evolve
from pytest_twisted import ensureDeferred

from lotus_guard.check.context import CheckOptions
from lotus_guard.check.finding import Finding, Level
from lotus_guard.check.public_panel import check_public_panel
from tests.check.checked_stack import CheckedStack, context_of


async def looked_at(stack: CheckedStack, url: str | None = None) -> Finding:
    options = CheckOptions(stack.public_url if url is None else url)
    (found,) = await check_public_panel(evolve(context_of(stack), options=options))
    return found


@ensureDeferred
async def test_it_is_where_the_token_service_is(stack: CheckedStack) -> None:
    found = await looked_at(stack)
    assert found.level is Level.OK
    assert f"{stack.public_url}/panel/" in found.seen
    assert (await looked_at(stack, "")).level is Level.NOTE


@ensureDeferred
async def test_a_proxy_that_does_not_send_it_here_is_worth_a_note(stack: CheckedStack) -> None:
    """A proxy may name each path of clients; calls and rules need no panel."""
    stack.public.only = ("/get_token", "/sfu/get", "/delegate_delayed_leave")
    found = await looked_at(stack)
    assert found.level is Level.NOTE
    assert f"location /panel/ {{ proxy_pass {stack.world.url}; }}" in found.wanted
    stack.public.only, stack.public.strips = (), False
    assert (await looked_at(stack)).level is Level.NOTE


@ensureDeferred
async def test_a_guard_that_serves_none_is_worth_a_note(stack: CheckedStack) -> None:
    """The request arrives at a guard, but not at a page."""

    def lose(request: Any, _status: int, got: list[str]) -> list[str]:
        request.setResponseCode(404)
        return got

    stack.public.cors = lose
    found = await looked_at(stack)
    assert (found.level, "404" in found.seen) == (Level.NOTE, True)


@pytest.mark.parametrize(
    "header", [("X-Frame-Options", "SAMEORIGIN"), ("Content-Security-Policy", "Frame-Ancestors x")]
)
@ensureDeferred
async def test_a_proxy_that_forbids_frames_is_found(
    stack: CheckedStack, header: tuple[str, str]
) -> None:
    def add(request: Any, _status: int, got: list[str]) -> list[str]:
        request.responseHeaders.addRawHeader(*header)
        return got

    stack.public.cors = add
    found = await looked_at(stack)
    assert (found.level, "X-Frame-Options" in found.wanted) == (Level.WARNING, True)


@ensureDeferred
async def test_without_the_panel_nothing_is_looked_at(stack: CheckedStack) -> None:
    stack.environment["LOTUS_GUARD_PANEL"] = "off"
    assert await check_public_panel(context_of(stack)) == []
