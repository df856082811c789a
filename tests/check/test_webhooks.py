"""LiveKit's webhooks that do not come, or not from our LiveKit."""

import pytest
from pytest_twisted import ensureDeferred

from lotus_guard.check.finding import Level
from tests.check.breaks import OTHER_SECRET, Break, F, W, each_is_found, livekit_yaml
from tests.check.checked_stack import CheckedStack, port_of


def no_webhooks(stack: CheckedStack) -> None:
    stack.post_webhooks()


def webhooks_to_upstream(stack: CheckedStack) -> None:
    url = f"{stack.environment['LOTUS_GUARD_UPSTREAM']}/sfu_webhook"
    stack.post_webhooks(url)
    livekit_yaml(stack, urls=[url])


def webhooks_nowhere(stack: CheckedStack) -> None:
    stack.post_webhooks()
    livekit_yaml(stack, urls=[])


def webhooks_do_not_arrive(stack: CheckedStack) -> None:
    stack.post_webhooks()
    livekit_yaml(stack, urls=[f"http://guard:{port_of(stack.world.url)}/sfu_webhook"])


def webhooks_with_another_key(stack: CheckedStack) -> None:
    stack.post_webhooks(f"{stack.admin}/webhook", key="another", secret=OTHER_SECRET)


BREAKS: list[tuple[Break, str, Level, str]] = [
    (no_webhooks, "webhooks", W, "webhook: {urls: [http://127.0.0.1:"),
    (webhooks_to_upstream, "webhooks", W, "they bypass the guard"),
    (webhooks_nowhere, "webhooks", W, "is empty"),
    (webhooks_do_not_arrive, "webhooks", W, "can't reach it"),
    (webhooks_with_another_key, "webhooks", F, "another key"),
]


test_what_is_broken_is_what_is_found = each_is_found(BREAKS)


@pytest.mark.parametrize(
    ("wire", "level"),
    [
        (lambda stack: livekit_yaml(stack), W),
        (lambda stack: livekit_yaml(stack, urls=["http://127.0.0.1:8071/sfu_webhook"]), W),
        (lambda stack: livekit_yaml(stack, urls=[f"{stack.world.url}/sfu_webhook"]), Level.NOTE),
    ],
)
@ensureDeferred
async def test_without_an_operators_port_the_file_tells_of_webhooks(
    stack: CheckedStack, wire: Break, level: Level
) -> None:
    stack.environment["LOTUS_GUARD_ADMIN_LISTEN"] = ""
    wire(stack)
    assert (await stack.check())["webhooks"].level is level
